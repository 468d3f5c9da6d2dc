//! What becomes of reserved headers that the application set itself, by the policy in the constructor's name.
#![cfg(all(feature = "origin", feature = "audit", feature = "provenance"))]

use std::sync::Arc;

use franking_core::{
    Code, Failure, InterceptorLayer, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::{audit::Audit, origin::Origin, provenance::Provenance};
use tower_layer::Layer;

const ID: &str = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
const OTHERS: &str = "service.name=other,service.instance.id=other-1";

fn builder() -> franking_middleware::origin::OriginBuilder {
    Origin::builder().service_name("gateway").instance_id("g-1")
}

fn record(headers: &[(&str, &str)]) -> Record {
    let mut record = Record::new("orders").value("v");
    for (name, value) in headers {
        record.headers.append(name, *value).unwrap();
    }
    record
}

#[test]
fn if_not_present_keeps_what_can_be_read() {
    let origin = Origin::if_not_present(builder()).unwrap();
    let audit = Audit::builder()
        .instance_id(origin.instance_id())
        .instance_on_all()
        .build();
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new((origin, audit)).layer(engine.clone());
    let path = "shop/a@t-0:1";
    for headers in [
        &[("prov-id", "x"), ("prov-id", ID), ("prov-origin", OTHERS)][..],
        &[("prov-id", ID), ("prov-path", path)],
        &[("prov-id", "rubbish"), ("prov-origin", "rubbish")],
        &[],
    ] {
        send(&mut stack, record(headers)).unwrap();
    }
    let stored = engine.stored();
    let read = |index: usize| Provenance::read(&stored[index].parts.headers);
    let id = |index| read(index).id.unwrap().to_string();
    let service = |index| read(index).service().unwrap().to_owned();
    assert_eq!((&*id(0), &*service(0)), (ID, "other"));
    assert_eq!((&*id(1), &*service(1)), (ID, "gateway"));
    assert_eq!(read(1).path.unwrap().hops.len(), 1);
    assert_eq!(service(2), "gateway");
    assert_eq!(service(3), "gateway");
    for index in 0..4 {
        let read = read(index);
        assert!(read.notes.is_empty(), "{index}: {:?}", read.notes);
        // Whoever the origin names: the gateway counted.
        assert_eq!(read.instance(), Some("g-1"));
    }
}

#[test]
fn refusing_says_which_header() {
    let origin = Arc::new(Origin::refusing(builder()).unwrap());
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(Arc::clone(&origin)).layer(engine.clone());
    let error = send(&mut stack, record(&[("mine", "1"), ("prov-rev", "7")])).unwrap_err();
    assert_eq!(*error.code(), Code::Refused);
    assert!(!error.is_transient());
    assert_eq!(error.attempts(), 0);
    assert!(error.to_string().contains("\"prov-rev\""), "{error}");
    let back = error.into_record().unwrap();
    assert_eq!(back.headers.len(), 2, "never half-stamped");
    send(&mut stack, record(&[("mine", "1")])).unwrap();
    assert_eq!(engine.stored().len(), 1);
}

#[test]
fn what_came_back_in_an_error_is_no_conflict() {
    let refusing = Arc::new(Origin::refusing(builder()).unwrap());
    let overriding = Arc::new(Origin::overriding(builder()).unwrap());
    let keeping = Arc::new(Origin::if_not_present(builder()).unwrap());
    for (origin, same) in [(refusing, false), (overriding, false), (keeping, true)] {
        let engine = Scripted::new();
        let mut stack = InterceptorLayer::new(Arc::clone(&origin)).layer(engine.clone());
        engine.script(Answer::fail(Failure::new(Code::TimedOut)));
        let failed = send(&mut stack, record(&[])).unwrap_err();
        let back = failed.into_record().unwrap();
        let first = back.headers.get_str("prov-id").unwrap().to_owned();
        send(&mut stack, back).unwrap();
        let headers = &engine.stored()[0].parts.headers;
        assert_eq!(headers.get_str("prov-id") == Some(&*first), same);
        assert_eq!(headers.len(), 2);
        assert_eq!(origin.reserved_removed(), 0);
    }
}

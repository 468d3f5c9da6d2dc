//! What becomes of the provenance of a record that goes on: forwarded, or made into another one.
#![cfg(all(
    feature = "trace",
    feature = "origin",
    feature = "audit",
    feature = "provenance"
))]

use franking_core::{
    Code, ConsumerRecord, Failure, Headers, InterceptorLayer, Parts, Produce, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::trace::Trace;
use franking_middleware::{
    audit::Audit,
    origin::{Origin, OriginBuilder},
    provenance::{Header, Names, Provenance, Reader, Seen, Writers},
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use proptest::prelude::*;
use tower_layer::Layer;

fn service(name: &str) -> OriginBuilder {
    Origin::builder()
        .service_namespace("shop")
        .service_name(name)
        .instance_id(format!("{name}-1"))
}

/// Origin and audit of a service, and its engine.
fn stack(origin: OriginBuilder) -> (Scripted, impl Produce) {
    let origin = origin.build().unwrap();
    let audit = Audit::builder().instance_id(origin.instance_id()).build();
    let engine = Scripted::new();
    let stack = InterceptorLayer::new((origin, audit)).layer(engine.clone());
    (engine, stack)
}

/// What a record says after a service sent it.
fn sent_by(origin: OriginBuilder, record: Record) -> Parts {
    let (engine, mut stack) = stack(origin);
    send(&mut stack, record).unwrap();
    engine.stored()[0].parts.clone()
}

fn consumed<'m>(from: &'m Parts, topic: &'m str, offset: i64) -> ConsumerRecord<'m, &'m Headers> {
    ConsumerRecord::new(topic, 2, offset, &from.headers)
        .key(from.key.as_deref())
        .value(from.value.as_deref())
        .timestamp(from.timestamp)
}

fn path(parts: &Parts) -> Option<&str> {
    parts.headers.get_str("prov-path")
}

#[test]
fn a_forwarded_record_keeps_who_it_is_and_says_where_it_was() {
    let mut order = Record::new("orders").key("k").value("v");
    order.headers.append("tenant", "acme").unwrap();
    order.headers.append("prov-sig", "removed").unwrap();
    let first = sent_by(service("checkout"), order);
    let record = Record::new("orders.eu").forward(consumed(&first, "orders", 17));
    let second = sent_by(service("mirror"), record);

    for name in ["prov-id", "prov-origin", "tenant"] {
        assert_eq!(second.headers.get(name), first.headers.get(name), "{name}");
    }
    assert_eq!((&second.key, &second.value), (&first.key, &first.value));
    assert_eq!(second.timestamp, first.timestamp);
    assert_eq!(path(&second), Some("shop/mirror@orders-2:17"));
    // The number is the mirror's own.
    assert_eq!(second.headers.get_str("prov-seq"), Some("1@mirror-1"));
    let read = Provenance::read(&second.headers);
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    assert_eq!(read.instance(), Some("mirror-1"));
    assert_eq!(second.headers.len(), 5);

    let record = Record::new("archive").forward(consumed(&second, "orders.eu", 3));
    let third = sent_by(service("archive"), record);
    assert_eq!(
        path(&third),
        Some("shop/mirror@orders-2:17;shop/archive@orders.eu-2:3")
    );
    let mut writers = Writers::new();
    for (topic, parts) in [("orders", &first), ("orders", &second), ("archive", &third)] {
        let seen = writers.see(topic, &Provenance::read(&parts.headers));
        assert_eq!(seen, Seen::New, "each counts its own");
    }
}

#[test]
fn a_derived_record_is_a_new_one_with_the_path() {
    let first = sent_by(service("checkout"), Record::new("orders").value("v"));
    let record = Record::new("orders.eu").forward(consumed(&first, "orders", 17));
    let second = sent_by(service("mirror"), record);
    let mut invoice = Record::new("invoices").value("i");
    invoice.headers.append("prov-path", "forged").unwrap();
    let invoice = invoice.derive(consumed(&second, "orders.eu", 5));
    let third = sent_by(service("billing"), invoice);

    assert_ne!(
        third.headers.get_str("prov-id"),
        first.headers.get_str("prov-id")
    );
    assert_eq!(Provenance::read(&third.headers).service(), Some("billing"));
    assert_eq!(
        path(&third),
        Some("shop/mirror@orders-2:17;shop/billing@orders.eu-2:5")
    );
    assert_eq!(third.headers.get_str("prov-seq"), Some("1"));
}

#[test]
fn a_path_has_at_most_eight_hops() {
    let roomy = |name: &str| service(name).header_budget(1024);
    let mut parts = sent_by(roomy("s"), Record::new("t0").value("v"));
    for hop in 1..=10 {
        let topic = format!("t{}", hop - 1);
        let record = Record::new(format!("t{hop}")).forward(consumed(&parts, &topic, hop));
        parts = sent_by(roomy("s"), record);
        let read = Provenance::read(&parts.headers);
        let read = read.path.unwrap();
        assert_eq!(read.hops.len(), hop.min(8) as usize);
        assert_eq!(read.cut, hop > 8);
        assert_eq!(read.hops.last().unwrap().offset, hop);
    }
    assert!(path(&parts).unwrap().starts_with("…;shop/s@t2-2:3;"));
}

/// The bytes of the stack's headers on the wire.
fn size(parts: &Parts) -> usize {
    let mut ours = Headers::new();
    for (name, value) in &parts.headers {
        let named = [
            "traceparent",
            "tracestate",
            "prov-id",
            "prov-origin",
            "prov-seq",
            "prov-path",
        ];
        if named.contains(&name) {
            ours.append(name, value).unwrap();
        }
    }
    ours.wire().len()
}

#[test]
fn hops_go_then_the_state_then_nothing() {
    let state = format!("vendor={}", "x".repeat(100));
    let record = |hops: &str, state: &str| {
        let headers = [
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("tracestate", state),
            ("prov-id", "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e"),
            ("prov-origin", "service.name=checkout,service.instance.id=i"),
            ("prov-path", hops),
        ];
        let headers = headers.map(|(name, value)| (name, Some(value.as_bytes())));
        Record::new("out").forward(ConsumerRecord::new("orders", 0, 9, headers))
    };
    let hops = |n: usize| vec!["shop/service-with-a-name@some.topic-3:184467"; n].join(";");
    let has_state = |parts: &Parts| parts.headers.get("tracestate").is_some();
    let count = |parts: &Parts| {
        let read = Provenance::read(&parts.headers);
        read.path.map_or(0, |path| path.hops.len())
    };
    for given in 0..=8 {
        for budget in [200, 250, 300, 350, 400, 512, 700, 900] {
            let sent = sent_by(
                service("s").header_budget(budget),
                record(&hops(given), &state),
            );
            let left = count(&sent);
            assert!(left >= 1, "the newest hop stays within the limit");
            assert_eq!(
                sent.headers.get_str("prov-origin"),
                Some("service.name=checkout,service.instance.id=i")
            );
            assert!(sent.headers.get("traceparent").is_some());
            assert!(sent.headers.get("prov-id").is_some());
            let size = size(&sent);
            if left > 1 || has_state(&sent) {
                assert!(size <= budget, "{size} of {budget}, {left} hops");
            }
            if !has_state(&sent) {
                assert_eq!(left, 1, "hops go before the state");
            }
        }
    }
    // A topic with the longest name, and a service too: only then the newest hop goes.
    let topic = "t".repeat(249);
    let service = Origin::builder()
        .service_name("é".repeat(100))
        .instance_id("i");
    let consumed = ConsumerRecord::new(&topic, 0, 0, std::iter::empty::<(&str, _)>());
    let sent = sent_by(service, Record::new("out").forward(consumed));
    assert_eq!(path(&sent), None);
    assert!(size(&sent) <= 1024);
}

#[test]
fn a_new_record_loses_a_state_that_is_too_long() {
    for (length, stays) in [(50, true), (500, false)] {
        let origin = std::sync::Arc::new(service("s").build().unwrap());
        let engine = Scripted::new();
        let mut stack = InterceptorLayer::new(std::sync::Arc::clone(&origin)).layer(engine.clone());
        let mut record = Record::new("t");
        let state = format!("vendor={}", "x".repeat(length));
        record.headers.append("tracestate", state).unwrap();
        send(&mut stack, record).unwrap();
        let headers = &engine.stored()[0].parts.headers;
        assert_eq!(headers.get("tracestate").is_some(), stays);
        assert_eq!(origin.shed(), u64::from(!stays));
    }
}

#[test]
fn what_cannot_be_read_does_not_go_on() {
    let long = format!("service.name={}", "x".repeat(2_000));
    let hostile: [(&str, &[u8]); 5] = [
        ("prov-id", b"not an id"),
        ("prov-origin", long.as_bytes()),
        ("prov-path", b"rubbish;shop/a@t-0:1;\xff"),
        ("prov-seq", b"77"),
        ("prov-id", b"\xff"),
    ];
    let headers = hostile.map(|(name, value)| (name, Some(value)));
    let consumed = ConsumerRecord::new("not a topic", -1, -7, headers);
    let sent = sent_by(service("s"), Record::new("out").forward(consumed));
    let read = Provenance::read(&sent.headers);
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    assert!(read.id.unwrap().millis().is_some());
    assert_eq!(read.service(), Some("s"), "the first who can be named");
    assert_eq!(read.path, None, "no place, no hop");
    let hops = [("prov-path", Some(&b"rubbish;shop/a@t-0:1;/@"[..]))];
    let consumed = ConsumerRecord::new("in", 0, 1, hops);
    let sent = sent_by(service("s"), Record::new("out").forward(consumed));
    assert_eq!(path(&sent), Some("shop/a@t-0:1;shop/s@in-0:1"));
}

#[test]
fn names_with_signs_come_back() {
    let odd = Origin::builder()
        .service_namespace("a/b;c")
        .service_name("d@e/f=%")
        .instance_id("x@y z");
    let nothing = std::iter::empty::<(&str, Option<&[u8]>)>;
    let consumed = ConsumerRecord::new("in", 0, 1, nothing());
    let sent = sent_by(odd, Record::new("out").forward(consumed));
    let read = Provenance::read(&sent.headers);
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    assert_eq!(read.instance(), Some("x@y z"));
    let hop = &read.path.unwrap().hops[0];
    assert_eq!(hop.namespace.as_deref(), Some("a/b;c"));
    assert_eq!(hop.service, "d@e/f=%");
    // And it goes through the next service unharmed.
    let text = path(&sent).unwrap().to_owned();
    let next = ConsumerRecord::new("out", 0, 2, &sent.headers);
    let sent = sent_by(service("s"), Record::new("far").forward(next));
    assert_eq!(path(&sent), Some(&*format!("{text};shop/s@out-0:2")));
    let alone = Origin::builder().service_name("a/b");
    let consumed = ConsumerRecord::new("in", 0, 1, nothing());
    let sent = sent_by(alone, Record::new("out").forward(consumed));
    let read = Provenance::read(&sent.headers);
    let hop = &read.path.unwrap().hops[0];
    assert_eq!((hop.namespace.as_deref(), &*hop.service), (None, "a/b"));
}

#[test]
fn a_forwarded_record_that_failed_keeps_its_history_when_it_is_sent_again() {
    let first = sent_by(service("checkout"), Record::new("orders").value("v"));
    let (engine, mut mirror) = stack(service("mirror"));
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let record = Record::new("orders.eu").forward(consumed(&first, "orders", 17));
    let failed = send(&mut mirror, record).unwrap_err();
    send(&mut mirror, failed.into_record().unwrap()).unwrap();
    let headers = &engine.stored()[0].parts.headers;
    assert_eq!(headers.get("prov-id"), first.headers.get("prov-id"));
    assert_eq!(
        headers.get_str("prov-path"),
        Some("shop/mirror@orders-2:17")
    );
}

#[test]
fn without_an_instance_a_forwarded_record_has_no_number() {
    let engine = Scripted::new();
    let both = (service("s").build().unwrap(), Audit::new());
    let mut stack = InterceptorLayer::new(both).layer(engine.clone());
    let headers = [("prov-seq", Some(&b"9"[..]))];
    let consumed = ConsumerRecord::new("in", 0, 1, headers);
    send(&mut stack, Record::new("out").forward(consumed)).unwrap();
    assert_eq!(engine.stored()[0].parts.headers.get("prov-seq"), None);
}

#[test]
fn an_organisations_names_are_written_and_read() {
    let names = Header::ALL.iter().fold(Names::new(), |names, header| {
        match header {
            // Those of W3C are everybody's.
            Header::TraceParent | Header::TraceState => names,
            header => names
                .name(*header, header.name().replace("prov-", "x-acme-"))
                .unwrap(),
        }
    });
    let origin = service("s").names(names.clone()).build().unwrap();
    let audit = Audit::builder()
        .instance_id("s-1")
        .names(names.clone())
        .build();
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new((origin, audit)).layer(engine.clone());
    let headers = [
        ("x-acme-path", Some(&b"shop/a@t-0:1"[..])),
        ("x-acme-id", Some(b"01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e")),
    ];
    let consumed = ConsumerRecord::new("in", 0, 1, headers);
    send(&mut stack, Record::new("out").forward(consumed)).unwrap();
    let mut forged = Record::new("out");
    forged.headers.append("x-acme-mark", "forged").unwrap();
    forged.headers.append("prov-mark", "forged too").unwrap();
    send(&mut stack, forged).unwrap();

    let stored = engine.stored();
    let read = |index: usize| {
        let parts: &Parts = &stored[index].parts;
        let names: Vec<_> = parts.headers.iter().map(|(name, _)| name).collect();
        names
    };
    assert_eq!(
        read(0),
        ["x-acme-id", "x-acme-origin", "x-acme-path", "x-acme-seq"]
    );
    assert_eq!(read(1), ["x-acme-id", "x-acme-origin", "x-acme-seq"]);
    let reader = Reader::new().names(names);
    let read = reader.read(&stored[0].parts.headers);
    assert_eq!(
        read.id.unwrap().to_string(),
        "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e"
    );
    assert_eq!(read.path.unwrap().hops.len(), 2);
    assert_eq!(read.sequence.unwrap().number, 1);
    assert!(Provenance::read(&stored[0].parts.headers).is_empty());
}

/// Values that look like what stands in the headers, and others.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let hop = "(shop/)?[a-z@/%;=]{0,9}@[a-z.]{0,4}-?[0-9]{0,3}:?[0-9]{0,3}";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]".prop_map(String::into_bytes),
        "([a-z]{1,3}=[a-z]{0,200},){1,4}".prop_map(String::into_bytes),
        "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
            .prop_map(String::into_bytes),
        "(…;)?([a-z.]{1,4}=[a-z%]{0,400},?){0,4}".prop_map(String::into_bytes),
        proptest::collection::vec(hop, 0..12).prop_map(|hops| hops.join(";").into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever was consumed: what is sent can be read, is in its budget, and has one header of each name of ours.
    #[test]
    fn whatever_was_consumed_goes_on_well(
        headers in proptest::collection::vec((0..Header::ALL.len(), proptest::option::of(value())), 0..14),
        forwarded in any::<bool>(),
    ) {
        let headers = headers
            .iter()
            .map(|(header, value)| (Header::ALL[*header].name(), value.as_deref()));
        let consumed = ConsumerRecord::new("in", 0, 1, headers.collect::<Vec<_>>());
        let record = match forwarded {
            true => Record::new("out").forward(consumed),
            false => Record::new("out").derive(consumed),
        };
        let provider = SdkTracerProvider::builder().build();
        let origin = service("s").build().unwrap();
        let audit = Audit::builder().instance_id("s-1").build();
        let engine = Scripted::new();
        let all = (Trace::new(provider.tracer("test")), origin, audit);
        send(&mut InterceptorLayer::new(all).layer(engine.clone()), record).unwrap();
        let sent = engine.stored()[0].parts.clone();

        prop_assert!(size(&sent) <= 1024);
        let read = Provenance::read(&sent.headers);
        prop_assert!(read.trace.is_some());
        prop_assert!(read.id.is_some());
        prop_assert!(!read.origin.is_empty());
        prop_assert_eq!(read.instance(), Some("s-1"));
        match read.path {
            Some(path) => {
                prop_assert!(path.hops.len() <= 8);
                let last = path.hops.last().unwrap();
                prop_assert_eq!((&*last.service, last.topic, last.offset), ("s", "in", 1));
            }
            // Not even the newest hop has room beside such an origin, which never goes.
            None => prop_assert!(sent.headers.get_str("prov-origin").unwrap().len() > 800),
        }
        // What we wrote ourselves is as it is written; what goes on as it was can have its faults.
        let ours = [Header::TraceParent, Header::TraceState, Header::Sequence, Header::Path];
        for note in read.notes.iter() {
            prop_assert!(!note.header.is_some_and(|header| ours.contains(&header)), "{}", note);
        }
    }
}

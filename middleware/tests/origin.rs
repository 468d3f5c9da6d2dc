//! What a record says about its origin.
#![cfg(feature = "origin")]

use std::{collections::HashSet, process::Command, thread};

use franking_core::{
    Code, Failure, InterceptorLayer, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::origin::{Origin, parse};
use tower_layer::Layer;

fn checkout() -> Origin {
    Origin::builder()
        .service_name("checkout")
        .instance_id("i-1")
        .build()
        .unwrap()
}

#[test]
fn every_record_says_who_wrote_it() {
    let engine = Scripted::new();
    let origin = Origin::builder()
        .attribute("cloud.region", "eu, north")
        .environment("prod")
        .instance_id("i-1")
        .service_version("4.2.0")
        .service_name("check=out")
        .service_namespace("shöp")
        .build()
        .unwrap();
    let mut stack = InterceptorLayer::new(origin).layer(engine.clone());
    send(&mut stack, Record::new("orders")).unwrap();
    let header = engine.stored()[0].parts.headers.clone();
    let header = header.get_str("prov-origin").unwrap();
    assert_eq!(
        header,
        "service.namespace=sh%C3%B6p,service.name=check%3Dout,service.version=4.2.0,service.instance.id=i-1,\
         deployment.environment.name=prod,cloud.region=eu%2C%20north"
    );
    let read = parse(header);
    assert_eq!(read[0].1, "shöp");
    assert_eq!(read[5].1, "eu, north");
}

#[test]
fn an_instance_without_an_id_gets_one_of_its_own() {
    let (one, other) = (Origin::new("a").unwrap(), Origin::new("a").unwrap());
    assert_ne!(one.instance_id(), other.instance_id());
    let expected = format!("service.name=a,service.instance.id={}", one.instance_id());
    assert_eq!(one.header(), expected);
}

#[test]
fn the_reserved_names_are_the_stacks_own() {
    let engine = Scripted::new();
    let origin = std::sync::Arc::new(checkout());
    let mut stack = InterceptorLayer::new(std::sync::Arc::clone(&origin)).layer(engine.clone());
    let mut record = Record::new("orders");
    for (name, value) in [
        ("prov-id", "forged"),
        ("mine", "1"),
        ("prov-origin", "forged"),
        ("prov-id", "forged again"),
        ("prov-path", "x"),
        ("proven", "2"),
    ] {
        record.headers.append(name, value).unwrap();
    }
    send(&mut stack, record).unwrap();
    let stored = engine.stored();
    let names: Vec<_> = stored[0]
        .parts
        .headers
        .iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["mine", "proven", "prov-id", "prov-origin"]);
    assert_ne!(stored[0].parts.headers.get_str("prov-id"), Some("forged"));
    assert_eq!(origin.reserved_removed(), 4);
}

#[test]
fn the_id_and_the_timestamp_are_of_one_moment() {
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(checkout()).layer(engine.clone());
    send(&mut stack, Record::new("orders")).unwrap();
    send(&mut stack, Record::new("orders").timestamp(5)).unwrap();
    let stored = engine.stored();
    let millis = |index: usize| {
        let id = stored[index].parts.headers.get_str("prov-id").unwrap();
        let digits: String = id.chars().filter(|c| *c != '-').take(12).collect();
        i64::from_str_radix(&digits, 16).unwrap()
    };
    assert_eq!(stored[0].parts.timestamp, Some(millis(0)));
    // An application's own time is the event's; the id keeps the time of the send.
    assert_eq!(stored[1].parts.timestamp, Some(5));
    assert!(millis(1) >= millis(0));
}

#[test]
fn a_record_that_the_application_sends_again_is_another() {
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(checkout()).layer(engine.clone());
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let failed = send(&mut stack, Record::new("orders")).unwrap_err();
    let record = failed.into_record().unwrap();
    let first = record.headers.get_str("prov-id").unwrap().to_owned();
    send(&mut stack, record).unwrap();
    let headers = &engine.stored()[0].parts.headers;
    assert_ne!(headers.get_str("prov-id"), Some(&*first));
    assert_eq!(headers.len(), 2);
}

#[test]
fn ids_are_unique_across_threads_and_grow_within_one() {
    const EACH: usize = 20_000;
    let engine = Scripted::new();
    let stack = InterceptorLayer::new(checkout()).layer(engine.clone());
    thread::scope(|scope| {
        for partition in 0..8 {
            let mut stack = stack.clone();
            scope.spawn(move || {
                for _ in 0..EACH {
                    send(&mut stack, Record::new("orders").partition(partition)).unwrap();
                }
            });
        }
    });
    let stored = engine.stored();
    let ids: Vec<_> = stored
        .iter()
        .map(|stored| stored.parts.headers.get_str("prov-id").unwrap())
        .collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 8 * EACH);
    // Only a clock that is set back breaks the growth, and a test must not depend on it: nearly all.
    let mut shrunk = 0;
    for partition in 0..8 {
        let mut own = stored
            .iter()
            .zip(&ids)
            .filter(|(stored, _)| stored.partition == partition);
        let mut last = own.next().unwrap().1;
        for (_, id) in own {
            shrunk += usize::from(id <= last);
            last = id;
        }
    }
    assert!(shrunk <= 8, "{shrunk} ids did not grow");
}

/// The example reads the environment, in a process whose environment is ours to set.
#[test]
fn the_environment_is_read() {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let run = |vars: &[(&str, &str)]| {
        let mut child = Command::new(target.join("examples/origin_from_env"));
        child
            .env_remove("OTEL_SERVICE_NAME")
            .env_remove("OTEL_RESOURCE_ATTRIBUTES")
            .envs(vars.iter().copied());
        let output = child.output().expect("cargo test builds the example");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let attributes = "service.instance.id=i,service.namespace=shop,host.name=h";
    let out = run(&[
        ("OTEL_SERVICE_NAME", "checkout"),
        ("OTEL_RESOURCE_ATTRIBUTES", attributes),
    ]);
    let expected = "service.namespace=shop,service.name=checkout,service.instance.id=i\n";
    assert_eq!(out, expected);
    assert!(run(&[]).contains("MissingServiceName"));
}

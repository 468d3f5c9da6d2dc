//! The CloudEvents profile, against the examples and rules of the specification: "Kafka Protocol Binding for
//! CloudEvents" 1.0.2, section 3.2, and "CloudEvents" 1.0.2, section 3.
#![cfg(feature = "origin")]

use std::collections::BTreeMap;

use franking_core::{
    ConsumerRecord, InterceptorLayer, Parts, Record,
    testing::{Scripted, send},
};
use franking_middleware::origin::{Origin, OriginBuilder, OriginError};
use tower_layer::Layer;

fn builder() -> OriginBuilder {
    Origin::builder()
        .service_namespace("shop")
        .service_name("checkout")
        .instance_id("i")
        .cloud_events("com.example.someevent")
}

fn sent(origin: OriginBuilder, record: Record) -> Parts {
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(origin.build().unwrap()).layer(engine.clone());
    send(&mut stack, record).unwrap();
    engine.stored()[0].parts.clone()
}

/// What a CloudEvents reader makes of a record in binary mode: its attributes, or which rule is broken.
fn event(parts: &Parts) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in &parts.headers {
        let attribute = match name.strip_prefix("ce_") {
            Some(attribute) => attribute,
            None if name == "content-type" => "datacontenttype",
            None => continue,
        };
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if attribute.is_empty() || !attribute.bytes().all(legal) {
            return Err(format!("the name {attribute:?}"));
        }
        let value = value.ok_or("a null value")?;
        let value = std::str::from_utf8(value).map_err(|_| "no UTF-8")?;
        if attributes
            .insert(attribute.to_owned(), value.to_owned())
            .is_some()
        {
            return Err(format!("{attribute} twice"));
        }
    }
    for required in ["id", "source", "specversion", "type"] {
        if attributes.get(required).is_none_or(String::is_empty) {
            return Err(format!("no {required}"));
        }
    }
    if attributes["specversion"] != "1.0" {
        return Err("the version".into());
    }
    let uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%:".contains(&byte);
    if !attributes["source"].bytes().all(uri) {
        return Err(format!("the source {:?}", attributes["source"]));
    }
    Ok(attributes)
}

/// The example of section 3.2.5: an application that brings an event of its own.
fn example() -> Record {
    let mut record = Record::new("mytopic")
        .key("mykey")
        .value("... application data ...");
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_type", "com.example.someevent"),
        ("ce_source", "/mycontext/subcontext"),
        ("ce_id", "1234-1234-1234"),
        ("ce_time", "2018-04-05T03:56:24Z"),
        ("content-type", "application/avro"),
    ] {
        record.headers.append(name, value).unwrap();
    }
    record
}

#[test]
fn the_specifications_example_stays_as_it_is() {
    let given = example();
    let sent = sent(builder(), given.clone());
    let ours = |name: &str| name.starts_with("prov-");
    let left: Vec<_> = sent
        .headers
        .iter()
        .filter(|(name, _)| !ours(name))
        .collect();
    assert_eq!(left, given.headers.iter().collect::<Vec<_>>());
    let event = event(&sent).unwrap();
    assert_eq!(event["id"], "1234-1234-1234");
    assert_eq!(event["datacontenttype"], "application/avro");
}

#[test]
fn a_record_becomes_an_event_like_it() {
    let mut record = Record::new("mytopic").key("mykey").value("data");
    record
        .headers
        .append("content-type", "application/avro")
        .unwrap();
    record.headers.append("ce_subject", "cup").unwrap();
    let sent = sent(builder(), record);
    let event = event(&sent).unwrap();
    assert_eq!(event["type"], "com.example.someevent");
    assert_eq!(event["source"], "//shop/checkout");
    assert_eq!(Some(&*event["id"]), sent.headers.get_str("prov-id"));
    assert_eq!(event["subject"], "cup");
    assert_eq!(event["datacontenttype"], "application/avro");
    // The value is the data as it is.
    assert_eq!(sent.value.as_deref(), Some(&b"data"[..]));
    // The example's names and ours are the same.
    let names = |parts: &Parts| {
        let mut names: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| name.starts_with("ce_"))
            .collect();
        names.retain(|name| name != "ce_subject" && name != "ce_time");
        names.sort();
        names
    };
    assert_eq!(names(&sent), names(&example()));
}

/// The example of section 3.3.4: its attributes are in its value.
#[test]
fn a_structured_event_stays_as_it_is() {
    let mut record = Record::new("mytopic").key("mykey").value("{}");
    let content = "application/cloudevents+json; charset=UTF-8";
    record.headers.append("content-type", content).unwrap();
    let sent = sent(builder(), record);
    let names: Vec<_> = sent.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["content-type", "prov-id", "prov-origin"]);
}

#[test]
fn the_type_can_be_the_records_own() {
    let mut record = Record::new("t");
    record
        .headers
        .append("ce_type", "com.example.other")
        .unwrap();
    let event = event(&sent(builder(), record)).unwrap();
    assert_eq!(event["type"], "com.example.other");
}

#[test]
fn every_name_makes_a_source() {
    for (namespace, name, source) in [
        ("", "checkout", "/checkout"),
        ("a/b", "c d", "//a%2Fb/c%20d"),
        ("shöp", "x?#[]", "//sh%C3%B6p/x%3F%23%5B%5D"),
    ] {
        let origin = builder().service_namespace(namespace).service_name(name);
        let event = event(&sent(origin, Record::new("t"))).unwrap();
        assert_eq!(event["source"], source);
    }
    let error = builder().cloud_events("").build().unwrap_err();
    assert_eq!(error, OriginError::MissingEventType);
}

#[test]
fn a_forwarded_record_is_the_event_of_who_wrote_it() {
    let id = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
    let headers = [
        ("prov-id", Some(id.as_bytes())),
        (
            "prov-origin",
            Some(b"service.namespace=far,service.name=away"),
        ),
    ];
    let consumed = ConsumerRecord::new("in", 0, 1, headers);
    let event_of = event(&sent(builder(), Record::new("out").forward(consumed))).unwrap();
    assert_eq!(event_of["source"], "//far/away");
    assert_eq!(event_of["id"], id);

    let first = sent(builder(), example());
    let consumed = ConsumerRecord::new("mytopic", 0, 1, &first.headers);
    let second = sent(
        builder().cloud_events("another"),
        Record::new("out").forward(consumed),
    );
    assert_eq!(event(&second).unwrap(), event(&first).unwrap());
}

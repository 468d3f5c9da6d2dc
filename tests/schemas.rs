//! Schemas in a registry: what is asked, when, what a send waits for, and what it says if there is no id.
//!
//! The registry is a double on loopback, the broker a real one.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use franking::serializers::registry::{HttpRegistry, Reference, Schema, SchemaError, Subject};
use franking::serializers::{AvroSerializer, MessageIndexes, ProtobufSerializer, StringSerializer};
use franking::{Code, Interrupt, Persistence, Producer, ProducerRecord, SendError};
use serde_json::json;
use support::{RegistryDouble, eventually, kafka, read, runs_out, topic};

const SCHEMA: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "cups", "type": "int"}]}"#;

#[derive(Clone, serde::Serialize)]
struct Order {
    cups: i32,
}

type Orders = Producer<String, Order>;

fn orders(registry: HttpRegistry, properties: &[(&str, &str)]) -> Orders {
    let avro = AvroSerializer::new(SCHEMA).unwrap();
    let avro = avro.in_registry(registry, Subject::TopicValue).unwrap();
    Producer::builder()
        .property("bootstrap.servers", kafka())
        .properties(properties.iter().copied())
        .key_serializer(StringSerializer)
        .value_serializer(avro)
        .build()
        .unwrap()
}

fn registering(double: &RegistryDouble) -> HttpRegistry {
    HttpRegistry::registering(&double.url()).unwrap()
}

fn order(topic: &str, cups: i32) -> ProducerRecord<String, Order> {
    ProducerRecord::new(topic.to_owned()).value(Order { cups })
}

fn schema_error(error: &SendError) -> &SchemaError {
    assert_eq!(*error.code(), Code::Serialization, "{error}");
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.failure().setting_name(), Some("value.serializer"));
    let source = error.failure().source().expect("a source");
    source.downcast_ref().expect("a SchemaError")
}

fn nothing_was_sent(producer: &Orders) {
    assert_eq!(producer.room().outstanding(), 0);
    assert_eq!(producer.room().totals().settled(), 0);
}

// === what is asked and what is stored ===

#[tokio::test]
async fn a_schema_is_registered_once_a_topic_and_its_id_stands_before_each_value() {
    let double = RegistryDouble::start();
    double.count_from(0x01_02_03);
    let producer = Arc::new(orders(registering(&double), &[]));
    let topics = [
        topic(kafka(), "avro", 1, &[]),
        topic(kafka(), "avro", 1, &[]),
    ];
    let mut sends = vec![];
    for cups in 0..100 {
        for topic in &topics {
            let (producer, record) = (Arc::clone(&producer), order(topic, cups));
            sends.push(tokio::spawn(async move { producer.send(record).await }));
        }
    }
    for send in sends {
        send.await.unwrap().unwrap();
    }
    // A null has no schema.
    let tombstone = ProducerRecord::new(topics[0].clone()).key("k".into());
    producer.send(tombstone).await.unwrap();

    let mut asked = double.asked();
    asked.sort_by(|a, b| a.path.cmp(&b.path));
    let mut paths = topics
        .clone()
        .map(|it| format!("/subjects/{it}-value/versions"));
    paths.sort();
    assert_eq!(asked.len(), 2, "one look-up each, for 100 sends at a time");
    for (asked, path) in asked.iter().zip(paths) {
        assert_eq!((asked.method.as_str(), &asked.path), ("POST", &path));
        let expected = "application/vnd.schemaregistry.v1+json";
        assert_eq!(asked.content_type.as_deref(), Some(expected));
        // Avro is what a registry takes a schema for that says nothing.
        assert_eq!(asked.body, json!({"schema": SCHEMA}));
    }
    for topic in &topics {
        let mut cups: Vec<_> = read(kafka(), topic)
            .iter()
            .filter_map(|stored| stored.value.as_deref())
            .map(|value| {
                // Both topics' subjects hold one schema, so it has one id.
                assert_eq!(value[..5], [0, 0, 1, 2, 4]);
                // An int of Avro's: zigzag.
                value[5..]
                    .iter()
                    .rev()
                    .fold(0, |n, byte| n << 7 | u32::from(byte & 0x7f))
                    >> 1
            })
            .collect();
        cups.sort_unstable();
        assert_eq!(cups, (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn looking_up_registers_nothing_and_says_what_is_missing() {
    let double = RegistryDouble::start();
    let topic = topic(kafka(), "avro", 1, &[]);
    let registry = HttpRegistry::looking_up(&format!("{}/", double.url())).unwrap();
    let registry = registry.basic_auth("shop", "käse").unwrap().normalizing();
    let producer = orders(registry, &[]);

    let subject = format!("{topic}-value");
    let error = producer.prepare(&topic).await.unwrap_err();
    assert_eq!(
        *schema_error(&error),
        SchemaError::refused(40401, "Subject not found")
    );
    assert!(!error.is_transient());
    double.register(&subject, r#"{"type": "string"}"#);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = producer.send(order(&topic, 1)).await.unwrap_err();
    assert_eq!(
        *schema_error(&error),
        SchemaError::refused(40403, "Schema not found")
    );
    nothing_was_sent(&producer);

    let id = double.register(&subject, SCHEMA);
    tokio::time::sleep(Duration::from_secs(1)).await;
    producer.send(order(&topic, 1)).await.unwrap();
    let expected = [&[0][..], &id.to_be_bytes(), &[2]].concat();
    assert_eq!(read(kafka(), &topic)[0].value.as_ref(), Some(&expected));

    for asked in double.asked() {
        assert_eq!(asked.path, format!("/subjects/{subject}?normalize=true"));
        assert_eq!(
            asked.authorization.as_deref(),
            Some("Basic c2hvcDprw6RzZQ==")
        );
    }
    assert_eq!(double.asked().len(), 3);
}

#[tokio::test]
async fn protobuf_is_registered_with_its_format_and_references() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Cups {
        #[prost(int32, tag = "1")]
        cups: i32,
    }
    const PROTO: &str = r#"syntax = "proto3"; package shop; import "money.proto";
        message Price { Money of = 1; } message Cups { int32 cups = 1; }"#;
    let double = RegistryDouble::start();
    let schema = Schema::protobuf(PROTO)
        .named("shop.Cups")
        .reference(Reference {
            name: "money.proto".into(),
            subject: "money".into(),
            version: 3,
        });
    let registry = registering(&double).bearer("token").unwrap();
    let by = ProtobufSerializer::new()
        .in_registry(
            registry,
            Subject::RecordName,
            schema,
            MessageIndexes::new(&[1]),
        )
        .unwrap();
    let topic = topic(kafka(), "protobuf", 1, &[]);
    let producer = Producer::builder()
        .property("bootstrap.servers", kafka())
        .key_serializer(StringSerializer)
        .value_serializer(by)
        .build()
        .unwrap();
    let record = ProducerRecord::new(topic.clone()).key("k".to_owned());
    producer.send(record.value(Cups { cups: 2 })).await.unwrap();

    let asked = &double.asked()[0];
    assert_eq!(asked.path, "/subjects/shop.Cups/versions");
    assert_eq!(asked.authorization.as_deref(), Some("Bearer token"));
    let references = json!([{"name": "money.proto", "subject": "money", "version": 3}]);
    assert_eq!(
        asked.body,
        json!({"schema": PROTO, "schemaType": "PROTOBUF", "references": references})
    );
    let stored = read(kafka(), &topic);
    assert_eq!(
        stored[0].value.as_deref(),
        Some(&b"\0\0\0\0\x01\x02\x02\x08\x02"[..])
    );
}

#[tokio::test]
async fn a_subjects_name_is_one_segment_of_the_path() {
    let double = RegistryDouble::start();
    let by = AvroSerializer::<Order>::new(SCHEMA).unwrap();
    let named = Subject::Named("a/b ü?x=1".into());
    let producer: Orders = Producer::builder()
        .property("bootstrap.servers", kafka())
        .key_serializer(StringSerializer)
        .value_serializer(by.in_registry(registering(&double), named).unwrap())
        .build()
        .unwrap();
    producer.prepare("t").await.unwrap();
    assert_eq!(
        double.asked()[0].path,
        "/subjects/a%2Fb%20%C3%BC%3Fx%3D1/versions"
    );
}

// === when there is no id ===

#[tokio::test]
async fn what_the_registry_says_is_a_typed_error_and_nothing_is_sent() {
    let double = RegistryDouble::start();
    let producer = orders(registering(&double), &[]);
    let incompatible =
        r#"{"error_code": 409, "message": "Schema being registered is incompatible"}"#;
    let answers = [
        (409, incompatible, Some(409)),
        (
            422,
            r#"{"error_code": 42201, "message": "Invalid schema"}"#,
            Some(42201),
        ),
        // Without the registry's own words, as from something before it.
        (401, "", Some(401)),
        (404, "<html>", Some(404)),
        // What may go better later.
        (429, "", None),
        (
            500,
            r#"{"error_code": 50001, "message": "Error in the backend"}"#,
            None,
        ),
        (200, "{}", None),
        (200, r#"{"id": -1}"#, None),
        (200, "no json", None),
    ];
    for (n, (status, body, refused)) in answers.into_iter().enumerate() {
        double.answer_next(status, body);
        let error = producer.send(order(&format!("t{n}"), 1)).await.unwrap_err();
        let later = error.is_transient();
        match (schema_error(&error), refused) {
            (SchemaError::Refused { code, .. }, Some(expected)) => {
                assert_eq!((*code, later), (expected, false));
            }
            (SchemaError::Unreachable { .. }, None) => assert!(later),
            (other, _) => panic!("{status}: {other:?}"),
        }
        nothing_was_sent(&producer);
    }
    assert_eq!(double.asked().len(), answers.len());
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_asked_for_each_record() {
    let double = RegistryDouble::start();
    double.out_of_order(true);
    let topic = topic(kafka(), "avro", 1, &[]);
    let producer = orders(registering(&double), &[]);
    let began = Instant::now();
    for cups in 0..1_000 {
        let error = producer.send(order(&topic, cups)).await.unwrap_err();
        assert!(matches!(
            schema_error(&error),
            SchemaError::Unreachable { .. }
        ));
    }
    let took = began.elapsed();
    let asked = double.asked().len();
    println!(
        "1,000 sends while the registry is out of order: {took:?}, it was asked {asked} times"
    );
    // Once a second.
    assert!(asked as u64 <= 1 + took.as_secs(), "{asked}");
    nothing_was_sent(&producer);

    double.out_of_order(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    producer.send(order(&topic, 1)).await.unwrap();
}

#[tokio::test]
async fn the_next_address_is_asked_if_one_does_not_answer() {
    let double = RegistryDouble::start();
    let topic = topic(kafka(), "avro", 1, &[]);
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let producer = orders(HttpRegistry::registering(&nobody).unwrap(), &[]);
    let error = producer.send(order(&topic, 1)).await.unwrap_err();
    assert!(matches!(
        schema_error(&error),
        SchemaError::Unreachable { .. }
    ));
    assert!(error.is_transient());

    let both = format!("{nobody}, {}", double.url());
    let producer = orders(HttpRegistry::registering(&both).unwrap(), &[]);
    producer.send(order(&topic, 1)).await.unwrap();
    assert_eq!(double.asked().len(), 1);

    // But a refusal is an answer.
    double.answer_next(409, "");
    let both = format!("{},{}", double.url(), double.url());
    let producer = orders(HttpRegistry::registering(&both).unwrap(), &[]);
    producer.send(order(&topic, 1)).await.unwrap_err();
    assert_eq!(double.asked().len(), 2);
}

// === when the registry is slow ===

#[tokio::test]
async fn a_registry_that_does_not_answer_in_its_time_is_a_typed_error() {
    let double = RegistryDouble::start();
    double.hold();
    let promised = Duration::from_secs(2);
    let producer = orders(registering(&double).timeout(promised), &[]);
    let began = Instant::now();
    let error = producer.send(order("t", 1)).await.unwrap_err();
    assert!(runs_out(promised, began.elapsed()), "{:?}", began.elapsed());
    assert!(matches!(
        schema_error(&error),
        SchemaError::Unreachable { .. }
    ));
    assert!(error.is_transient());
    assert_eq!(double.asked().len(), 1);
    nothing_was_sent(&producer);
}

/// On one thread: were that one held up, nothing else would go on.
#[tokio::test(flavor = "current_thread")]
async fn a_slow_registry_holds_up_nobody_else() {
    let double = RegistryDouble::start();
    let topic = topic(kafka(), "avro", 1, &[]);
    let producer = orders(registering(&double), &[]);
    double.hold();
    let sending = tokio::spawn({
        let (producer, record) = (producer.clone(), order(&topic, 1));
        async move { producer.send(record).await }
    });
    let asked = async {
        while double.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(60), asked).await;
    asked.expect("the send asks the registry");
    // Meanwhile: who never waits hears so at once, and a record without a value goes through.
    let began = Instant::now();
    let error = producer.try_send(order(&topic, 2)).err().unwrap();
    let at_once = began.elapsed();
    let subject = format!("{topic}-value");
    assert_eq!(*schema_error(&error), SchemaError::NotReady { subject });
    assert!(error.is_transient());
    let tombstone = ProducerRecord::new(topic.clone()).key("k".into());
    producer.send(tombstone).await.unwrap();
    assert!(!sending.is_finished());

    double.release();
    sending.await.unwrap().unwrap();
    producer.try_send(order(&topic, 2)).unwrap().await.unwrap();
    assert_eq!(double.asked().len(), 1);
    assert!(at_once < Duration::from_millis(500), "{at_once:?}");
    assert_eq!(read(kafka(), &topic).len(), 3);
}

#[tokio::test]
async fn try_send_alone_begins_the_look_up() {
    let double = RegistryDouble::start();
    let topic = topic(kafka(), "avro", 1, &[]);
    let producer = orders(registering(&double), &[]);
    let mut refused = 0;
    let sent = eventually(|| match producer.try_send(order(&topic, 1)) {
        Ok(_) => true,
        Err(error) => {
            let not_ready = matches!(schema_error(&error), SchemaError::NotReady { .. });
            assert!(not_ready, "{error}");
            refused += 1;
            false
        }
    });
    assert!(sent);
    producer.flush().await;
    assert_eq!((read(kafka(), &topic).len(), double.asked().len()), (1, 1));
    assert!(refused > 0, "the first one cannot have an id");
}

#[tokio::test]
async fn a_send_waits_for_the_registry_no_longer_than_max_block_ms() {
    let double = RegistryDouble::start();
    let producer = orders(registering(&double), &[("max.block.ms", "2000")]);
    double.hold();
    let promised = Duration::from_secs(2);
    for topic in ["a", "b"] {
        let began = Instant::now();
        let error = match topic {
            "a" => producer.send(order(topic, 1)).await.unwrap_err(),
            _ => {
                let producer = producer.clone();
                let blocking = move || producer.blocking().send(order("b", 1)).unwrap_err();
                tokio::task::spawn_blocking(blocking).await.unwrap()
            }
        };
        assert!(runs_out(promised, began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(*error.code(), Code::Serialization, "{error}");
        assert_eq!(error.failure().setting_name(), Some("max.block.ms"));
        assert!(error.is_transient());
    }
    nothing_was_sent(&producer);
    double.release();
}

#[test]
fn a_blocking_send_needs_no_runtime_and_heeds_its_own_limits() {
    let double = RegistryDouble::start();
    let topic = topic(kafka(), "avro", 1, &[]);
    let producer = orders(registering(&double), &[]);
    double.hold();
    let promised = Duration::from_secs(2);
    let began = Instant::now();
    let error = producer
        .blocking()
        .timeout(promised)
        .send(order(&topic, 1))
        .unwrap_err();
    assert!(runs_out(promised, began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::NotPersisted);

    let interrupt = Interrupt::new();
    let error = thread::scope(|scope| {
        let send = scope.spawn(|| {
            let blocking = producer.blocking().interrupted_by(&interrupt);
            blocking.send(order(&topic, 1)).unwrap_err()
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!send.is_finished());
        interrupt.interrupt();
        send.join().unwrap()
    });
    assert_eq!(*error.code(), Code::Interrupted);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    nothing_was_sent(&producer);

    double.release();
    producer.blocking().send(order(&topic, 1)).unwrap();
    assert_eq!(double.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_send_among_tasks_does_not_wait() {
    let double = RegistryDouble::start();
    let producer = orders(registering(&double), &[]);
    double.hold();
    let error = producer.blocking().send(order("t", 1)).unwrap_err();
    assert!(matches!(schema_error(&error), SchemaError::NotReady { .. }));
    double.release();
}

// === values that do not fit ===

#[tokio::test]
async fn a_value_that_does_not_fit_its_schema_is_a_typed_error_and_nothing_is_sent() {
    let producer: Producer<String, &'static str> = Producer::builder()
        .property("bootstrap.servers", kafka())
        .key_serializer(StringSerializer)
        .value_serializer(AvroSerializer::new(SCHEMA).unwrap())
        .build()
        .unwrap();
    let record = ProducerRecord::new("t").value("hunter2");
    let error = producer.send(record).await.unwrap_err();
    assert_eq!(*error.code(), Code::Serialization);
    assert!(!error.is_transient());
    assert_eq!(error.failure().setting_name(), Some("value.serializer"));
    let source = error.failure().source().unwrap();
    assert!(source.is::<apache_avro::Error>(), "{source}");
    assert!(!support::sources(&error).contains("hunter2"), "{error}");
    assert_eq!(producer.room().totals().settled(), 0);
}

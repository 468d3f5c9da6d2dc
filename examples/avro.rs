//! Avro with a schema registry: the schema is registered once, and its id stands before each value.
//!
//! `scripts/kafka start`, a schema registry, then `cargo run --example avro -- BOOTSTRAP REGISTRY`. In a program of yours,
//! this takes the cargo features `avro` and `schema-registry`.

use std::time::Duration;

use franking::{
    Producer, ProducerRecord,
    serializers::{
        AvroSerializer, StringSerializer,
        registry::{HttpRegistry, Subject},
    },
};

const SCHEMA: &str = r#"{
    "type": "record", "name": "Reading", "namespace": "greenhouse", "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "celsius", "type": "double"},
        {"name": "humidity", "type": ["null", "int"], "default": null}
    ]
}"#;

#[derive(serde::Serialize)]
struct Reading {
    sensor: String,
    celsius: f64,
    humidity: Option<i32>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or("localhost:9092".into());
    let registry = args.next().unwrap_or("http://localhost:8081".into());

    // `looking_up` for where schemas are registered by review.
    let registry = HttpRegistry::registering(&registry)?;
    let readings = AvroSerializer::new(SCHEMA)?.in_registry(registry, Subject::TopicValue)?;
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(StringSerializer)
        .value_serializer(readings)
        .build()?;

    // Now, and not with the first record: a schema that is refused ends the program here.
    producer.prepare("readings").await?;
    println!("registered: readings-value");

    let reading = Reading {
        sensor: "north".into(),
        celsius: 21.5,
        humidity: Some(60),
    };
    let record = ProducerRecord::new("readings").key(reading.sensor.clone());
    let metadata = producer.send(record.value(reading)).await?;
    println!(
        "sent: {} bytes to {}",
        metadata.serialized_value_size.unwrap_or_default(),
        metadata.topic
    );
    producer.close(Duration::from_secs(10)).await;
    Ok(())
}

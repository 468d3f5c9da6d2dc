//! Records that are CloudEvents events, in the binary mode of its Kafka binding: the value is the data as it is, and the
//! headers say the rest. One line where the stack is made; the application sends as before.
//!
//! `scripts/kafka start`, then `cargo run --example cloud_events -- BOOTSTRAP`

use std::time::Duration;

use franking::{
    DefaultStack, Producer, ProducerRecord,
    middleware::origin::Origin,
    provenance::Consumed,
    serializers::{JsonSerializer, StringSerializer},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

#[derive(serde::Serialize)]
struct Order {
    cups: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let origin = Origin::builder()
        .service_namespace("shop")
        .service_name("checkout")
        .cloud_events("com.example.order.placed")
        .build()?;
    let producer = Producer::builder()
        .property("bootstrap.servers", &bootstrap)
        .key_serializer(StringSerializer)
        .value_serializer(JsonSerializer)
        .layer(DefaultStack::new(origin))
        .build()?;
    let order = ProducerRecord::new("events.orders")
        .key("table-7".to_owned())
        .value(Order { cups: 2 })
        .header("content-type", "application/json");
    let at = producer.send(order).await?;

    // What any consumer sees.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("group.id", "cloud_events")
        .create()?;
    let mut place = TopicPartitionList::new();
    let offset = Offset::Offset(at.offset.ok_or("no offset")?);
    place.add_partition_offset(&at.topic, at.partition, offset)?;
    consumer.assign(&place)?;
    let event = consumer.poll(Duration::from_secs(30));
    let event = event.ok_or("nothing came")??;
    for (name, value) in event.raw_headers() {
        let text = |bytes| String::from_utf8_lossy(bytes);
        println!("{}: {}", text(name), text(value.unwrap_or_default()));
    }
    println!(
        "{}",
        String::from_utf8_lossy(event.payload().unwrap_or_default())
    );
    Ok(())
}

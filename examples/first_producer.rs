//! A first producer: typed records, and the ways to send.
//!
//! `scripts/kafka start`, then `cargo run --example first_producer -- BOOTSTRAP`

use std::time::Duration;

use franking::{
    Producer, ProducerRecord,
    serializers::{JsonSerializer, StringSerializer},
};

#[derive(serde::Serialize)]
struct Order {
    drink: &'static str,
    cups: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(StringSerializer)
        .value_serializer(JsonSerializer)
        .build()?;
    let order = |drink, cups| {
        ProducerRecord::new("orders")
            .key(format!("table-{cups}"))
            .value(Order { drink, cups })
            .header("source", "examples")
    };

    // Wait for the acknowledgement.
    let metadata = producer.send(order("espresso", 2)).await?;
    println!(
        "sent: {} partition {} offset {:?}",
        metadata.topic, metadata.partition, metadata.offset
    );

    // Queue now, wait later: what most programs with many records want.
    let first = producer.enqueue(order("latte", 3)).await?;
    let second = producer.enqueue(order("mocha", 4)).await?;
    println!(
        "queued: {:?} and {:?}",
        first.await?.offset,
        second.await?.offset
    );

    // Be called back.
    producer
        .send_with(order("flat white", 5), |result| match result {
            Ok(metadata) => println!("called back: partition {}", metadata.partition),
            Err(error) => eprintln!("called back: {error}"),
        })
        .await;

    // Fire and forget; `close` delivers what is outstanding.
    producer.send_and_forget(order("americano", 6)).await?;
    println!("closed: {}", producer.close(Duration::from_secs(10)).await);
    Ok(())
}

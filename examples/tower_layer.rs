//! tower's own layers on the stack: at most 100 sends are waited for at once, and nobody waits longer than 2 seconds.
//!
//! `scripts/kafka start`, then `cargo run --example tower_layer -- BOOTSTRAP`

use std::time::Duration;

use franking::{Producer, ProducerRecord, tower};
// The crate `tower`; `franking::tower` is the adapter for its layers.
use ::tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let producer: Producer<String, String> = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        .layer(tower(ConcurrencyLimitLayer::new(100)))
        .layer(tower(TimeoutLayer::new(Duration::from_secs(2))))
        .build()?;

    // A time-out answers *unknown*: the record goes on without its caller, and hooks hear the truth.
    match producer
        .send(ProducerRecord::new("orders").value("tea".to_owned()))
        .await
    {
        Ok(metadata) => println!("sent: partition {}", metadata.partition),
        Err(error) => println!("{}: {error}", error.persistence()),
    }
    println!("closed: {}", producer.close(Duration::from_secs(5)).await);
    Ok(())
}

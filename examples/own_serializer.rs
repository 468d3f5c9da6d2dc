//! Serializers of your own: a type that writes a header too, and a closure.
//!
//! `scripts/kafka start`, then `cargo run --example own_serializer -- BOOTSTRAP`

use std::time::Duration;

use bytes::Bytes;
use franking::{BoxError, Headers, Producer, ProducerRecord, Serializer};

/// Money in cents, which no float can hold.
struct Price {
    cents: u64,
    currency: &'static str,
}

/// Writes prices as text, and their currency as a header.
struct PriceSerializer;

impl Serializer<Price> for PriceSerializer {
    fn serialize(
        &self,
        _topic: &str,
        headers: &mut Headers,
        price: Price,
    ) -> Result<Option<Bytes>, BoxError> {
        headers.set("currency", price.currency)?;
        let text = format!("{}.{:02}", price.cents / 100, price.cents % 100);
        Ok(Some(text.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let table = |number: u8| -> Result<Bytes, BoxError> {
        match number {
            // The error names no value: it may end up in a log.
            0 => Err("tables count from 1".into()),
            number => Ok(format!("table-{number}").into()),
        }
    };
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(table)
        .value_serializer(PriceSerializer)
        .build()?;
    let bill = |table, cents| {
        let price = Price {
            cents,
            currency: "EUR",
        };
        ProducerRecord::new("bills").key(table).value(price)
    };

    let metadata = producer.send(bill(7, 1_250)).await?;
    println!("sent: partition {}", metadata.partition);

    // Refused before anything is queued, with the serializer's own words as the source.
    let error = producer.send(bill(0, 300)).await.unwrap_err();
    println!("refused: {error}");
    println!("because: {}", error.failure().source().unwrap());
    producer.close(Duration::from_secs(10)).await;
    Ok(())
}

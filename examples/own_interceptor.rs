//! An interceptor of your own, in 20 lines: it refuses records that are too old, and counts what it let through.
//!
//! `scripts/kafka start`, then `cargo run --example own_interceptor -- BOOTSTRAP`

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use franking::{
    Code, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Producer, ProducerRecord,
};

// --- the 20 lines ---
#[derive(Default)]
struct NotBefore {
    earliest: i64,
    delivered: AtomicU64,
}

impl Interceptor for NotBefore {
    type Token = ();

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        match record.timestamp {
            Some(time) if time < self.earliest => Err(Failure::new(Code::Refused)
                .detail("the record is older than this topic accepts")
                .advice("send it to the archive")),
            _ => Ok(()),
        }
    }

    fn on_outcome(&self, _: (), outcome: &Outcome<'_>) {
        self.delivered
            .fetch_add(outcome.result.is_ok().into(), Relaxed);
    }
}
// --- that was all ---

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let not_before = Arc::new(NotBefore {
        earliest: 1_700_000_000_000,
        ..NotBefore::default()
    });
    let producer: Producer<String, String> = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        .layer(InterceptorLayer::new(Arc::clone(&not_before)))
        .build()?;

    let record = || ProducerRecord::new("news").value("hello".to_owned());
    producer.send(record()).await?;
    let error = producer.send(record().timestamp(1)).await.unwrap_err();
    println!("refused: {error}");
    println!("delivered: {}", not_before.delivered.load(Relaxed));
    Ok(())
}

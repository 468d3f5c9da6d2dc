//! Measurements of a program, for whoever watches it: the newest counts, and the program never waits for them.
//!
//! `try_send` queues what there is room for. `acks=1` and a short `delivery.timeout.ms`: a lost measurement is no harm, an
//! old one is no use.
//!
//! `scripts/kafka start`, then `cargo run --example app_metrics -- BOOTSTRAP`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use franking::{Code, Producer, ProducerRecord};

/// Writes gauges to the topic `metrics`: the gauge's name is the key, the value a double as Java's serializer writes it.
struct Gauges {
    producer: Producer<String, f64>,
    dropped: AtomicU64,
}

impl Gauges {
    fn record(&self, name: &str, value: f64) {
        let record = ProducerRecord::new("metrics")
            .key(name.to_owned())
            .value(value);
        match self.producer.try_send(record) {
            // Its future is not needed.
            Ok(_) => {}
            Err(error) if *error.code() == Code::NoRoom => _ = self.dropped.fetch_add(1, Relaxed),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let gauges = Arc::new(Gauges {
        producer: Producer::builder()
            .property("bootstrap.servers", bootstrap)
            .property("key.serializer", "string")
            .property("value.serializer", "f64")
            .property("acks", "1")
            .property("linger.ms", "100")
            .property("delivery.timeout.ms", "10000")
            .property("request.timeout.ms", "5000")
            // As much as is worth keeping while the brokers are away.
            .property("buffer.memory", "1048576")
            .build()?,
        dropped: AtomicU64::new(0),
    });

    let mut every = tokio::time::interval(Duration::from_millis(50));
    for turn in 0..10 {
        every.tick().await;
        gauges.record("queue.length", f64::from(turn % 4));
        gauges.record("cpu.utilization", 0.25 + f64::from(turn) / 100.0);
    }
    let closed = gauges.producer.close(Duration::from_secs(5)).await;
    println!("{closed}, {} dropped", gauges.dropped.load(Relaxed));
    Ok(())
}

//! A program's log, shipped to Kafka: a `tracing` layer whose events become records, and which holds up nobody.
//!
//! Two rules keep it harmless. It never waits: where the buffer is full, a line is dropped and counted. And it never ships
//! what the producer itself logs, or an outage would log about the log, for ever.
//!
//! `scripts/kafka start`, then `cargo run --example log_shipping -- BOOTSTRAP`

use std::{
    fmt::{Debug, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use franking::{Producer, ProducerRecord, serializers::JsonSerializer};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

#[derive(serde::Serialize)]
struct Line {
    level: &'static str,
    target: String,
    message: String,
}

/// Ships events to the topic `logs`. Without a key: they are spread over the partitions, a batch at a time.
struct Ship {
    producer: Producer<(), Line>,
    dropped: Arc<AtomicU64>,
}

impl<S: Subscriber> Layer<S> for Ship {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("franking") {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = Line {
            level: metadata.level().as_str(),
            target: metadata.target().to_owned(),
            message: text.0,
        };
        let record = ProducerRecord::new("logs").value(line);
        if self.producer.try_send(record).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The message, and the fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("compression.type", "zstd")
        .property("linger.ms", "50")
        .property("key.serializer", "unit")
        .value_serializer(JsonSerializer)
        .build()?;
    let dropped = Arc::new(AtomicU64::new(0));
    let ship = Ship {
        producer: producer.clone(),
        dropped: Arc::clone(&dropped),
    };
    tracing_subscriber::registry().with(ship).init();

    // The program, which knows nothing of Kafka.
    for order in 1..=100 {
        tracing::info!(order, "brewed");
    }
    tracing::warn!(left = 3, "few beans");

    let closed = producer.close(Duration::from_secs(10)).await;
    println!("{closed}, {} dropped", dropped.load(Relaxed));
    Ok(())
}

//! Requests and replies between two services, through Kafka: the headers say where the reply goes and what it answers.
//!
//! `reply-to` names the topic that this instance reads, `correlation-id` the request. Whoever asks waits with a time-out:
//! Kafka promises that a request is stored, not that somebody answers it. Consuming is rust-rdkafka's here.
//!
//! `scripts/kafka start`, then `cargo run --example request_reply -- BOOTSTRAP`

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use franking::{Producer, ProducerRecord, SendResult, provenance::Consumed as _};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{Consumer as _, StreamConsumer},
    message::BorrowedMessage,
};
use tokio::sync::oneshot;

const REQUESTS: &str = "price-requests";
const PATIENCE: Duration = Duration::from_secs(20);

/// A message's header, as text.
fn header<'m>(message: &'m BorrowedMessage<'_>, name: &str) -> Option<&'m str> {
    let (_, value) = message
        .raw_headers()
        .find(|(other, _)| *other == name.as_bytes())?;
    std::str::from_utf8(value?).ok()
}

fn text(message: &BorrowedMessage<'_>) -> String {
    String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
}

fn producer(bootstrap: &str) -> Result<Producer<String, String>, Box<dyn Error>> {
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        // A reply is waited for: send it now.
        .property("linger.ms", "0")
        .build()?;
    Ok(producer)
}

async fn consumer(
    bootstrap: &str,
    group: &str,
    topic: &str,
    producer: &Producer<String, String>,
) -> Result<StreamConsumer, Box<dyn Error>> {
    // Asked for by a producer, a topic is made where brokers make topics on demand.
    producer.partitions_for(topic).await?;
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// The service that knows prices. A request that names no way back is skipped: nobody could hear the answer.
async fn serve(bootstrap: String) -> Result<(), Box<dyn Error>> {
    let producer = producer(&bootstrap)?;
    let requests = consumer(&bootstrap, "pricing", REQUESTS, &producer).await?;
    loop {
        let request = requests.recv().await?;
        let to = header(&request, "reply-to");
        let (Some(to), Some(id)) = (to, header(&request, "correlation-id")) else {
            continue;
        };
        let price = text(&request).len() * 100;
        let reply = ProducerRecord::new(to.to_owned())
            .value(format!("{price} cents"))
            .header("correlation-id", id);
        // The loop goes on; an error is the asker's time-out.
        let told = |result: SendResult| {
            result.map_or_else(|error| eprintln!("a reply: {error}"), |_| {});
        };
        producer.send_with(reply, told).await;
    }
}

/// The other side: asks, and hands each reply to whoever waits for it.
struct Prices {
    producer: Producer<String, String>,
    reply_to: String,
    waiting: Mutex<HashMap<String, oneshot::Sender<String>>>,
}

impl Prices {
    async fn hear(self: Arc<Self>, replies: StreamConsumer) -> Result<(), Box<dyn Error>> {
        loop {
            let reply = replies.recv().await?;
            let id = header(&reply, "correlation-id").unwrap_or_default();
            let asker = self.waiting.lock().unwrap().remove(id);
            // Without one it came too late.
            if let Some(asker) = asker {
                _ = asker.send(text(&reply));
            }
        }
    }

    async fn ask(&self, id: &str, product: &str) -> Result<String, Box<dyn Error>> {
        let (asker, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id.to_owned(), asker);
        let request = ProducerRecord::new(REQUESTS)
            .value(product.to_owned())
            .header("reply-to", self.reply_to.as_str())
            .header("correlation-id", id);
        self.producer.send(request).await?;
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        self.waiting.lock().unwrap().remove(id);
        Ok(answer.map_err(|_| format!("nobody answered within {PATIENCE:?}"))??)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    // Each instance of the asking service has its own topic for replies.
    let reply_to = format!("price-replies.{}", std::process::id());
    let producer = producer(&bootstrap)?;
    let replies = consumer(&bootstrap, &reply_to, &reply_to, &producer).await?;
    let prices = Arc::new(Prices {
        producer,
        reply_to,
        waiting: Mutex::default(),
    });
    let asking = async {
        for (n, product) in ["tea", "espresso"].into_iter().enumerate() {
            let id = format!("{}-{n}", std::process::id());
            println!("{product}: {}", prices.ask(&id, product).await?);
        }
        Ok(())
    };
    tokio::select! {
        asked = asking => asked,
        served = serve(bootstrap) => served,
        heard = Arc::clone(&prices).hear(replies) => heard,
    }
}

//! rust-rdkafka's `FutureProducer`, used directly, as its users do who care for speed.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _},
};

use super::{
    ASKED, Args, SETTLE, WINDOW,
    measure::{Measured, Meter},
    provenance::Stamps,
    window::{Outcome, Window},
    workload::Workload,
};
use crate::{BoxError, stop::Stop, terminal};

pub(super) async fn run(
    args: &Args,
    workload: &Workload,
    stop: &Stop,
) -> Result<Measured, BoxError> {
    let mut config = ClientConfig::new();
    for (name, value) in workload.config.librdkafka() {
        config.set(name, value);
    }
    // The engine counts room outside librdkafka; here librdkafka's own limits are all there is.
    config.set("queue.buffering.max.messages", WINDOW.to_string());
    let kbytes = workload.config.buffer_memory() / 1024;
    config.set("queue.buffering.max.kbytes", kbytes.to_string());
    let producer: FutureProducer = config.create()?;
    producer
        .client()
        .fetch_metadata(Some(&workload.topic), Duration::from_secs(8))?;
    tokio::time::sleep(SETTLE).await;

    let mut stamps = Stamps::of(args.stack)?;
    let progress = terminal::progress(args.records);
    let mut window = Window::new(Meter::start()?, progress);
    for n in 0..args.records {
        if n.is_multiple_of(ASKED) && stop.asked().is_some() {
            break;
        }
        let clock = window.clock();
        let mut record = FutureRecord::to(&workload.topic)
            .key(&workload.key(n)[..])
            .payload(&workload.value(n)[..]);
        if let Some(stamps) = &mut stamps {
            record = record.headers(headers(stamps));
        }
        loop {
            match producer.send_result(record) {
                Ok(delivery) => {
                    window.push(Waited(delivery), clock).await;
                    break;
                }
                // The oldest record makes room. `send` would sleep 100 ms, whatever happens meanwhile.
                Err((error, again)) if is_full(&error) => {
                    record = again;
                    if !window.settle_oldest().await {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                Err((error, _)) => {
                    window.refused(error.to_string());
                    break;
                }
            }
        }
    }
    let measured = window.drain().await.stop()?;
    // Nothing is in flight any more.
    drop(producer);
    Ok(measured)
}

fn headers(stamps: &mut Stamps) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(4);
    for (key, value) in stamps.next() {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    headers
}

fn is_full(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)
    )
}

/// A delivery whose answer is reduced to what is counted. `Ready` costs what `DeliveryFuture` costs.
struct Waited(DeliveryFuture);

impl Future for Waited {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(cx).map(|answer| match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error.to_string()),
            Err(_) => Err("the producer went away".to_owned()),
        })
    }
}

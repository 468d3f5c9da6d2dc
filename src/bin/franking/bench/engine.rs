//! franking's producer, used as its users do: `enqueue`, and the deliveries awaited later.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use franking::{
    DefaultStack, Delivery, Producer, ProducerBuilder, ProducerRecord,
    middleware::{metrics::Metrics, trace::Trace},
    serializers::BytesSerializer,
};

use super::{
    ASKED, Args, SETTLE, StackKind,
    measure::{Measured, Meter},
    provenance::{self, Stamps},
    telemetry::Telemetry,
    window::{Outcome, Window},
    workload::Workload,
};
use crate::{BoxError, stop::Stop, terminal};

pub(super) async fn run(
    args: &Args,
    workload: &Workload,
    stop: &Stop,
) -> Result<Measured, BoxError> {
    let builder: ProducerBuilder<Bytes, Bytes> = Producer::builder()
        .properties(workload.properties.clone())
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer);
    let telemetry;
    let producer = match args.stack {
        StackKind::Full => {
            let installed = Telemetry::install(args.sampled)?;
            let stack = DefaultStack::new(provenance::origin()?)
                .trace(Trace::new(installed.tracer()))
                .metrics(Metrics::new(&installed.meter()));
            telemetry = Some(installed);
            builder.layer(stack).build()?
        }
        StackKind::None | StackKind::Headers => {
            telemetry = None;
            builder.build()?
        }
    };
    producer.partitions_for(&workload.topic).await?;
    tokio::time::sleep(SETTLE).await;

    let mut stamps = Stamps::of(args.stack)?;
    let progress = terminal::progress(args.records);
    let mut window = Window::new(Meter::start()?, progress);
    for n in 0..args.records {
        if n.is_multiple_of(ASKED) && stop.asked().is_some() {
            break;
        }
        let clock = window.clock();
        let mut record = ProducerRecord::new(workload.topic.clone())
            .key(workload.key(n).clone())
            .value(workload.value(n).clone());
        if let Some(stamps) = &mut stamps {
            for (name, value) in stamps.next() {
                record = record.header(name, value);
            }
        }
        match producer.enqueue(record).await {
            Ok(delivery) => window.push(Waited(delivery), clock).await,
            Err(error) => window.refused(error.code().to_string()),
        }
    }
    let measured = window.drain().await.stop()?;
    producer.close(Duration::from_secs(10)).await;
    if let Some(telemetry) = telemetry {
        telemetry.shutdown()?;
    }
    Ok(measured)
}

/// A delivery whose answer is reduced to what is counted.
struct Waited(Delivery);

impl Future for Waited {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(cx).map(|answer| match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(error.code().to_string()),
        })
    }
}

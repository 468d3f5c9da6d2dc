//! The layers, one by one and together, over an engine that does nothing: with telemetry really installed and the sampler
//! off.

use std::{
    hint::black_box,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use franking_core::{
    Delivery, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Placed, Produce, Record,
    RecordMetadata, SendError,
};
use franking_middleware::{
    audit::Audit, metrics::Metrics, origin::Origin, retry::RetryLayer, trace::Trace,
};
use opentelemetry::{global, metrics::MeterProvider, trace::TracerProvider};
use opentelemetry_sdk::{
    metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;

/// Every layer alone, and the stacks.
pub(crate) fn rows(telemetry: &Telemetry) -> Vec<Row> {
    let trace = || Trace::new(telemetry.tracer.clone());
    let sampled = || Trace::new(telemetry.sampled.tracer("bench"));
    let origin = || Origin::new("checkout").expect("a name");
    let metrics = || Metrics::new(&telemetry.meters.meter("bench"));
    let four = || (trace(), origin(), Audit::new(), metrics());
    let retry = || RetryLayer::new().layer(Nothing::default());
    vec![
        Row::new("none", Nothing::default()),
        Row::new("a hook that does nothing", layer(Idle)),
        Row::new("trace", layer(trace())),
        Row::new("trace, in a `tracing` span", layer(trace())).within_span(),
        Row::new("trace, global tracer", layer(Trace::global())),
        Row::new("trace, sampled", layer(sampled())),
        Row::new("origin", layer(origin())),
        Row::new("audit", layer(Audit::new())),
        Row::new("metrics", layer(metrics())),
        Row::new("(trace, origin, audit, metrics)", layer(four())),
        Row::new("retry", retry()),
        Row::new(
            "(trace, origin, audit, metrics), retry",
            InterceptorLayer::new(four()).layer(retry()),
        ),
        Row::new(
            "(trace, origin, audit, metrics), retry, in a `tracing` span",
            InterceptorLayer::new(four()).layer(retry()),
        )
        .within_span(),
    ]
}

fn layer<I: Interceptor>(interceptor: I) -> impl Produce + 'static {
    InterceptorLayer::new(interceptor).layer(Nothing::default())
}

/// What an application installs, with the sampler off.
pub(crate) struct Telemetry {
    tracer: SdkTracer,
    sampled: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Telemetry {
    pub(crate) fn install() -> Self {
        let traces = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOff)
            .build();
        let meters = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(InMemoryMetricExporter::default()).build())
            .build();
        let tracer = traces.tracer("bench");
        global::set_tracer_provider(traces);
        global::set_meter_provider(meters.clone());
        let spans = tracing_opentelemetry::layer().with_tracer(tracer.clone());
        let subscriber = tracing_subscriber::registry().with(spans);
        tracing::subscriber::set_global_default(subscriber).expect("the first one");
        Self {
            tracer,
            sampled: SdkTracerProvider::builder().build(),
            meters,
        }
    }
}

/// A way to send this many records, one after the other.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) send: Box<dyn FnMut(usize)>,
}

impl Row {
    fn new(name: &'static str, mut stack: impl Produce + 'static) -> Self {
        let (key, value) = (
            Bytes::from_static(b"order-7"),
            Bytes::from_static(&[b'x'; 100]),
        );
        let send = move |records| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            for _ in 0..records {
                let record = Record::new("orders").key(key.clone()).value(value.clone());
                assert!(stack.poll_ready(&mut cx).is_ready());
                drop(black_box(stack.call(record)));
            }
        };
        Self {
            name,
            send: Box::new(send),
        }
    }

    fn within_span(self) -> Self {
        let mut send = self.send;
        let send = move |records| {
            let span = tracing::info_span!("request");
            assert!(!span.is_disabled());
            span.in_scope(|| send(records));
        };
        Self {
            send: Box::new(send),
            ..self
        }
    }
}

/// Delivers within `call`, as if a millisecond later, and reads the clock once for as many records as a batch of 16 KiB
/// holds.
#[derive(Clone, Default)]
struct Nothing {
    batch: Option<(Instant, u32)>,
}

impl Service<Record> for Nothing {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Delivery {
        let (at, left) = match self.batch {
            Some((at, left)) if left > 0 => (at, left - 1),
            _ => (Instant::now() + Duration::from_millis(1), 100),
        };
        self.batch = Some((at, left));
        let placed = Placed {
            partition: 0,
            offset: Some(0),
            timestamp: None,
        };
        record.deliver(placed, at)
    }
}

/// The floor of a layer that observes: its token.
struct Idle;

impl Interceptor for Idle {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        black_box(outcome.attempts);
    }
}

//! What layers allocate: nothing of their own where nothing is recorded, and the whole stack two a record.
#![cfg(all(
    feature = "trace",
    feature = "origin",
    feature = "audit",
    feature = "metrics",
    feature = "retry"
))]

use std::{
    task::{self, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use franking_core::{
    Delivery, Failure, Interceptor, InterceptorLayer, Parts, Placed, Produce, Record,
    RecordMetadata, SendError,
};
use franking_middleware::{
    audit::Audit, metrics::Metrics, origin::Origin, retry::RetryLayer, trace::Trace,
};
use opentelemetry::{
    Context,
    metrics::MeterProvider,
    trace::{TraceContextExt, Tracer as _, TracerProvider, noop::NoopTracerProvider},
};
use opentelemetry_sdk::{
    metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracerProvider},
};
use tower_layer::Layer;
use tower_service::Service;

/// Allocations of `on_send` for 1,000 records.
fn count(interceptor: &impl Interceptor, make: impl Fn() -> Record) -> u64 {
    let send =
        |record: &mut Parts| -> Result<(), Failure> { interceptor.on_send(record).map(drop) };
    // Names and thread-locals are made at the first records.
    send(&mut make()).unwrap();
    let mut records: Vec<_> = (0..1_000).map(|_| make()).collect();
    let counted = allocation_counter::measure(|| {
        for record in &mut records {
            send(record).unwrap();
        }
    });
    counted.count_total
}

fn new() -> Record {
    Record::new("orders").key("k").value("v")
}

fn with_a_context() -> Record {
    let mut record = new();
    for (name, value) in [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1,other=2"),
    ] {
        record.headers.append(name, value).unwrap();
    }
    record
}

#[test]
fn what_is_not_recorded_allocates_nothing() {
    let off = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .build();
    let trace = Trace::new(off.tracer("test"));
    assert_eq!(count(&trace, new), 0, "a root");
    assert_eq!(
        count(&trace, with_a_context),
        0,
        "with a context of its own"
    );
    {
        let context = Context::new().with_span(off.tracer("test").start("request"));
        let _attached = context.attach();
        assert_eq!(count(&trace, new), 0, "below an unsampled span");
        assert_eq!(count(&trace, with_a_context), 0);
    }
    let listed = Trace::new(off.tracer("test")).baggage(["tenant"]);
    assert_eq!(
        count(&listed, new),
        0,
        "with baggage allowed, and none there"
    );
    {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        assert_eq!(count(&trace, new), 0, "suppressed");
    }
    let noop = Trace::new(NoopTracerProvider::new().tracer("test"));
    assert_eq!(count(&noop, new), 0, "without an SDK");
    assert_eq!(count(&noop, with_a_context), 0);

    // The counter counts.
    let on = SdkTracerProvider::builder().build();
    assert!(count(&Trace::new(on.tracer("test")), new) >= 1_000);
}

#[test]
fn the_origin_of_a_new_record_allocates_nothing() {
    for builder in [
        Origin::builder().service_name("checkout"),
        Origin::builder()
            .service_name("checkout")
            .cloud_events("com.example.order"),
    ] {
        let overriding = Origin::overriding(builder.clone()).unwrap();
        let refusing = Origin::refusing(builder).unwrap();
        for origin in [overriding, refusing] {
            assert_eq!(count(&origin, new), 0);
            assert_eq!(count(&origin, with_a_context), 0);
        }
    }
}

#[test]
fn the_whole_stack_allocates_once_in_hundreds_of_records() {
    /// Delivers at once.
    #[derive(Clone)]
    struct Nothing;
    impl Service<Record> for Nothing {
        type Response = RecordMetadata;
        type Error = SendError;
        type Future = Delivery;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), SendError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, record: Record) -> Delivery {
            let placed = Placed {
                partition: 0,
                offset: Some(0),
                timestamp: None,
            };
            record.deliver(placed, Instant::now())
        }
    }
    fn allocations(stack: &mut impl Produce) -> u64 {
        let mut cx = task::Context::from_waker(Waker::noop());
        let value = Bytes::from_static(b"two cups");
        let mut send = |records| {
            for _ in 0..records {
                assert!(stack.poll_ready(&mut cx).is_ready());
                drop(stack.call(Record::new("orders").value(value.clone())));
            }
        };
        send(10);
        allocation_counter::measure(|| send(1_000)).count_total
    }
    let off = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .build();
    let meters = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(InMemoryMetricExporter::default()).build())
        .build();
    let observers = (
        Trace::new(off.tracer("test")),
        Origin::new("checkout").unwrap(),
        Audit::new(),
        Metrics::new(&meters.meter("test")),
    );
    let mut stack = InterceptorLayer::new(observers).layer(RetryLayer::new().layer(Nothing));
    // References to interceptors and retry are counted for 512 records at once; now and then a table grows.
    let whole = allocations(&mut stack);
    assert!((1..=8).contains(&whole), "{whole}");
    // A record's memory is used for the next one.
    assert_eq!(allocations(&mut Nothing), 0);
}

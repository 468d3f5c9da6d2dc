//! The trace layer allocates nothing of its own where nothing is recorded. One process, for the counter is its.
#![cfg(feature = "trace")]

use franking_core::{Failure, Interceptor, Parts, Record};
use franking_middleware::trace::Trace;
use opentelemetry::{
    Context,
    trace::{TraceContextExt, Tracer, TracerProvider, noop::NoopTracerProvider},
};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

/// Allocations of `on_send` for one record of many.
fn count<T>(trace: &Trace<T>, make: impl Fn() -> Record) -> u64
where
    T: Tracer<Span: Send + Sync + 'static> + Send + Sync + 'static,
{
    let send = |record: &mut Parts| -> Result<(), Failure> { trace.on_send(record).map(drop) };
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

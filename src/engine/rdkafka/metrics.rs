//! The engine's own state as OpenTelemetry metrics.

use std::sync::{Arc, Weak};

use opentelemetry::{KeyValue, metrics::Meter};

use super::{Statistics, worker::Shared};

/// A gauge: name, unit, description, and how to read it.
type Gauge<S> = (&'static str, &'static str, &'static str, fn(&S) -> f64);

/// Reads a gauge, if there is something to read it from.
type Value<S> = fn(&Shared, fn(&S) -> f64) -> Option<f64>;

/// Known at any time.
const ENGINE: &[Gauge<Shared>] = &[
    (
        "franking.buffer.used",
        "By",
        "Bytes of buffer.memory in use",
        |engine| engine.room.used() as f64,
    ),
    (
        "franking.buffer.capacity",
        "By",
        "buffer.memory",
        |engine| engine.room.capacity() as f64,
    ),
    (
        "franking.records.outstanding",
        "{record}",
        "Records accepted and without a final outcome",
        |engine| engine.room.outstanding() as f64,
    ),
    (
        "franking.hooks.slow",
        "{event}",
        "Times that the hooks of 16 records together took more than 1 ms",
        |engine| engine.slow_hooks() as f64,
    ),
    (
        "franking.sends.held",
        "{event}",
        "Times that a send waited for acknowledgements, as many were outstanding",
        |engine| engine.pace.waits() as f64,
    ),
];

/// Known when `statistics.interval.ms` is on.
const LIBRDKAFKA: &[Gauge<Statistics>] = &[
    (
        "franking.librdkafka.records.queued",
        "{record}",
        "Records in librdkafka's queues and in flight",
        |statistics| statistics.queued_records as f64,
    ),
    (
        "franking.librdkafka.bytes.queued",
        "By",
        "Their payload",
        |statistics| statistics.queued_bytes as f64,
    ),
    (
        "franking.librdkafka.records.sent",
        "{record}",
        "Records sent to brokers so far, retries included",
        |statistics| statistics.sent_records as f64,
    ),
    (
        "franking.librdkafka.bytes.sent",
        "By",
        "Bytes sent to brokers so far, after compression",
        |statistics| statistics.sent_bytes as f64,
    ),
    (
        "franking.librdkafka.requests.retried",
        "{request}",
        "Requests sent again so far",
        |statistics| statistics.request_retries as f64,
    ),
    (
        "franking.librdkafka.requests.timed_out",
        "{request}",
        "Requests that timed out so far",
        |statistics| statistics.request_timeouts as f64,
    ),
    (
        "franking.librdkafka.batch.records",
        "{record}",
        "Average records a batch",
        |statistics| statistics.batch_records,
    ),
    (
        "franking.librdkafka.batch.size",
        "By",
        "Average bytes a batch",
        |statistics| statistics.batch_bytes,
    ),
    (
        "franking.librdkafka.request.duration",
        "s",
        "Average time of a request to a broker",
        |statistics| statistics.round_trip,
    ),
    (
        "franking.librdkafka.queue.duration",
        "s",
        "Average time a record waits before it is sent",
        |statistics| statistics.queue_time,
    ),
    (
        "franking.librdkafka.brokers.up",
        "{broker}",
        "Brokers with an open connection",
        |statistics| statistics.brokers_up as f64,
    ),
];

/// Registers the gauges; they are silent once the engine is gone.
pub(super) fn observe(meter: &Meter, engine: &Arc<Shared>, client_id: &str) {
    let attributes = [KeyValue::new("messaging.client.id", client_id.to_owned())];
    register(meter, engine, &attributes, ENGINE, |engine, read| {
        Some(read(engine))
    });
    register(meter, engine, &attributes, LIBRDKAFKA, |engine, read| {
        engine.statistics().as_ref().map(read)
    });
}

fn register<S: 'static>(
    meter: &Meter,
    engine: &Arc<Shared>,
    attributes: &[KeyValue; 1],
    gauges: &'static [Gauge<S>],
    value: Value<S>,
) {
    for &(name, unit, description, read) in gauges {
        let engine: Weak<Shared> = Arc::downgrade(engine);
        let attributes = attributes.clone();
        meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |gauge| {
                if let Some(engine) = engine.upgrade()
                    && let Some(value) = value(&engine, read)
                {
                    gauge.observe(value, &attributes);
                }
            })
            .build();
    }
}

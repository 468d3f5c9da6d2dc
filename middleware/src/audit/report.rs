//! A balance on its way to whoever keeps it.

use franking_core::Escaped;
use serde::{Deserialize, Serialize};

use super::Balance;

/// The balance of one bucket as it is written: one JSON object, the same in a topic, in a file, and (field by field) in
/// `tracing`.
///
/// Counts are of records; `…_bytes` of their keys and values. Members that a reader does not know are for it to pass over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The same each time that this report is written: a collector counts what it knows already no more. `None` for a
    /// picture of what is still open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `service.instance.id` of who sent the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The topic; `None` for what found no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// When the bucket begins, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_start: Option<i64>,
    /// How long it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_millis: Option<i64>,
    /// Records that came into the layer.
    #[serde(default)]
    pub attempted: u64,
    /// Their bytes.
    #[serde(default)]
    pub attempted_bytes: u64,
    /// Of these: acknowledged.
    pub delivered: u64,
    /// Their bytes.
    #[serde(default)]
    pub delivered_bytes: u64,
    /// Of these: failed, and not in the topic.
    #[serde(default)]
    pub not_persisted: u64,
    /// Their bytes.
    #[serde(default)]
    pub not_persisted_bytes: u64,
    /// Of these: failed, and possibly in the topic.
    #[serde(default)]
    pub unknown: u64,
    /// Their bytes.
    #[serde(default)]
    pub unknown_bytes: u64,
    /// Of these: without an outcome; 0 in what is closed.
    #[serde(default)]
    pub in_flight: u64,
    /// Their bytes.
    #[serde(default)]
    pub in_flight_bytes: u64,
    /// Of these: the engine had them more than once.
    #[serde(default)]
    pub retried: u64,
    /// Of those not persisted: a layer refused them.
    #[serde(default)]
    pub refused: u64,
    /// Of those attempted: came when their bucket should have been reported already.
    #[serde(default)]
    pub late: u64,
    /// From the send to the acknowledgement, in microseconds.
    #[serde(default)]
    pub latency_mean_us: u64,
    /// At most an eighth too high.
    #[serde(default)]
    pub latency_p95_us: u64,
    /// At most an eighth too high.
    #[serde(default)]
    pub latency_p99_us: u64,
    /// Exact.
    #[serde(default)]
    pub latency_max_us: u64,
    /// The sum of the closed reports of a bucket is the truth about it; others are pictures, repeated in a later report.
    #[serde(default = "yes")]
    pub closed: bool,
}

fn yes() -> bool {
    true
}

impl Report {
    pub(super) fn of(balance: &Balance, width: i64) -> Self {
        let micros = |duration: std::time::Duration| duration.as_micros() as u64;
        Self {
            topic: balance.topic.as_deref().map(str::to_owned),
            bucket_start: balance.bucket_start,
            bucket_millis: balance.bucket_start.map(|_| width),
            attempted: balance.attempted.records,
            attempted_bytes: balance.attempted.bytes,
            delivered: balance.delivered.records,
            delivered_bytes: balance.delivered.bytes,
            not_persisted: balance.not_persisted.records,
            not_persisted_bytes: balance.not_persisted.bytes,
            unknown: balance.unknown.records,
            unknown_bytes: balance.unknown.bytes,
            in_flight: balance.in_flight.records,
            in_flight_bytes: balance.in_flight.bytes,
            retried: balance.retried.records,
            refused: balance.refused.records,
            late: balance.late.records,
            latency_mean_us: micros(balance.latency.mean),
            latency_p95_us: micros(balance.latency.p95),
            latency_p99_us: micros(balance.latency.p99),
            latency_max_us: micros(balance.latency.max),
            ..Self::default()
        }
    }
}

/// A line of `tracing`.
pub(super) fn trace(report: &Report) {
    let escaped = |text: &Option<String>| text.as_ref().map(|text| Escaped(text).to_string());
    tracing::info!(
        target: "franking::audit",
        id = report.id,
        instance = escaped(&report.instance),
        topic = escaped(&report.topic),
        bucket_start = report.bucket_start,
        bucket_millis = report.bucket_millis,
        attempted = report.attempted,
        attempted_bytes = report.attempted_bytes,
        delivered = report.delivered,
        delivered_bytes = report.delivered_bytes,
        not_persisted = report.not_persisted,
        not_persisted_bytes = report.not_persisted_bytes,
        unknown = report.unknown,
        unknown_bytes = report.unknown_bytes,
        in_flight = report.in_flight,
        in_flight_bytes = report.in_flight_bytes,
        retried = report.retried,
        refused = report.refused,
        late = report.late,
        latency_mean_us = report.latency_mean_us,
        latency_p95_us = report.latency_p95_us,
        latency_p99_us = report.latency_p99_us,
        latency_max_us = report.latency_max_us,
        closed = report.closed,
        "balance"
    );
}

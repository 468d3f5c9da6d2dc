//! OpenTelemetry's messaging metrics: how long sends take, how many records were sent, and how many failed.
//!
//! # Example
//! ```
//! use franking_core::{InterceptorLayer, Record, testing::{Scripted, send}};
//! use franking_middleware::metrics::Metrics;
//! use opentelemetry::metrics::MeterProvider;
//! use opentelemetry_sdk::metrics::{
//!     InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
//!     data::{AggregatedMetrics, MetricData},
//! };
//! use tower_layer::Layer;
//!
//! let exporter = InMemoryMetricExporter::default();
//! let provider = SdkMeterProvider::builder()
//!     .with_reader(PeriodicReader::builder(exporter.clone()).build())
//!     .build();
//!
//! let metrics = Metrics::new(&provider.meter("shop"));
//! let mut stack = InterceptorLayer::new(metrics).layer(Scripted::new());
//! send(&mut stack, Record::new("orders").value("{}")).unwrap();
//! send(&mut stack, Record::new("orders").value("{}")).unwrap();
//!
//! provider.force_flush().unwrap();
//! let exported = exporter.get_finished_metrics().unwrap();
//! let sent = exported[0].scope_metrics().flat_map(|scope| scope.metrics())
//!     .find(|metric| metric.name() == "messaging.client.sent.messages").unwrap();
//! let AggregatedMetrics::U64(MetricData::Sum(sum)) = sent.data() else { panic!() };
//! assert_eq!(sum.data_points().next().unwrap().value(), 2);
//! ```
//!
//! # What it records
//! | instrument | what | not counted |
//! |---|---|---|
//! | `messaging.client.operation.duration`, histogram in `s` | from this layer's send to the acknowledgement or the final failure; read once a batch there | nothing: a refused record has a duration too |
//! | `messaging.client.sent.messages`, counter in `{message}` | records that an engine sent, whether or not they arrived | records that surely never left: refused, dropped, no room, expired in the queue |
//! | `franking.resends`, counter in `{resend}` | how often records went to the engine again, by a retry layer further in | what the engine repeats by itself |
//! | `franking.records.refused`, counter in `{record}` | records that never got to the engine: a layer further in refused or dropped them | those that a layer further out refused |
//! | `franking.hooks.panicked`, observable counter | panics of hooks, interceptors and callbacks in this process | |
//! | `franking.headers.reserved`, observable counter in `{header}` | headers of this process that an application set under names that are the stack's | those under the names of a layer that is not there |
//!
//! The attributes are `messaging.system`, `messaging.operation.name`, `messaging.destination.name`, for the duration
//! `messaging.operation.type`, and for a failure `error.type`: the name of its [`Code`]. A failure that says neither
//! *possibly persisted* nor that it is a broker's answer counts as never sent, so a record that was too large or not
//! authorised is in the durations only: who refused it, broker or client, is not known.
//!
//! `franking.headers.reserved` has a `franking.action` (`removed`, or `refused` with the record) and a `franking.reason`:
//! `name`, the name is the stack's; `variant`, it is to a consumer that trims names or ignores case; `changed`, it stood on
//! a record that is passed on and is not what was consumed.
//!
//! The engine adds what it knows itself: buffer, outstanding records, fill of batches, time in the queue, slow hooks
//! (`franking::engine::rdkafka`). `examples/telemetry.rs` sends all of it to an OTLP collector, and to Prometheus.
//!
//! # Special cases
//! - **A dropped future** changes nothing: the outcome is heard from the engine.
//! - **Order of the layers**: outside of a retry the metrics see records, each once, and durations with their back-offs;
//!   inside they see attempts.
//! - **A topic that Kafka does not take** counts as `_other`: its name can be anything.
//! - **Many topics**: the first 200 ([`Metrics::topics`]) have series of their own, for the life of the layer; the records of
//!   all further ones count under the topic `_other`, without a partition. With [partitions](Metrics::partitions), the
//!   first 1,000 series are at hand; further ones are looked up by the SDK for each record.
//! - **Several producers** on one meter share the series.
//!
//! # What it costs
//! Measured with `benches/stack` and opentelemetry_sdk 0.33.1: 69 ns over an engine that does nothing, 5 of them for
//! its token, and no allocation of its own. On the caller's thread it reads the clock (20 ns, once for all layers); on the
//! engine's it finds the topic's series (3 ns where it is the last record's, as in a batch) and adds to a bound histogram
//! and a bound counter (17 and 8 ns). Unbound they cost 110 to 180 and 100 ns, which is why this module uses the SDK's
//! experimental feature. A failure is recorded unbound, with a few allocations.
//!
//! The feature has to be on in the SDK too, or it drops what is recorded, so this crate depends on `opentelemetry_sdk`
//! to turn it on. A meter that is not the SDK's must implement `bind` for itself.
//!
//! # What it does not do
//! No sizes and no gauges: the conventions have none for producers. No exemplars: the SDK has none.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use franking_core::{
    Code, Failure, Interceptor, Outcome, Parts, Persistence, Topic, hooks_panicked,
};
use opentelemetry::{
    InstrumentationScope, KeyValue, StringValue, global,
    metrics::{BoundCounter, BoundHistogram, Counter, Histogram, Meter},
};

/// The conventions' boundaries, in seconds.
const BOUNDARIES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// How many topics are told apart, if nothing else is said.
const TOPICS: usize = 200;

/// What the others are called, as OpenTelemetry does it.
const OTHER: &str = "_other";

/// So many series are bound. Bound ones live as long as the layer, and the SDK has room for 2,000 by default: the rest is
/// for failures.
const MOST_BOUND: usize = 1_000;

/// Stands for the partition where partitions are not asked for.
const ANY: i32 = -1;

/// The interceptor that records metrics: see the [module](self).
pub struct Metrics {
    duration: Histogram<f64>,
    sent: Counter<u64>,
    resends: Counter<u64>,
    refused: Counter<u64>,
    /// The attributes that all series have.
    common: Vec<KeyValue>,
    partitions: bool,
    topics: usize,
    known: RwLock<HashSet<Topic>>,
    bound: RwLock<HashMap<(Topic, i32), Arc<Series>>>,
    /// Tells this layer's entry in [`LAST`] from those of others.
    id: u64,
}

impl Metrics {
    /// Records with the instruments of this meter. Its scope should name the application's library or `franking`.
    pub fn new(meter: &Meter) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        // It stays with the meter. A second one reports the same number again and changes nothing.
        meter
            .u64_observable_counter("franking.hooks.panicked")
            .with_description("Panics of hooks, interceptors and callbacks, all of them caught.")
            .with_unit("{panic}")
            .with_callback(|observer| observer.observe(hooks_panicked(), &[]))
            .build();
        #[cfg(any(feature = "origin", feature = "trace"))]
        meter
            .u64_observable_counter("franking.headers.reserved")
            .with_description("Headers that an application set under names that are the stack's.")
            .with_unit("{header}")
            .with_callback(|observer| {
                for (action, reason, count) in crate::reserved::counts() {
                    let action = KeyValue::new("franking.action", action);
                    let reason = KeyValue::new("franking.reason", reason);
                    observer.observe(count, &[action, reason]);
                }
            })
            .build();
        Self {
            duration: meter
                .f64_histogram("messaging.client.operation.duration")
                .with_description(
                    "Duration of messaging operation initiated by a producer or consumer client.",
                )
                .with_unit("s")
                .with_boundaries(BOUNDARIES.to_vec())
                .build(),
            sent: meter
                .u64_counter("messaging.client.sent.messages")
                .with_description("Number of messages producer attempted to send to the broker.")
                .with_unit("{message}")
                .build(),
            resends: meter
                .u64_counter("franking.resends")
                .with_description("How often records went to the engine again.")
                .with_unit("{resend}")
                .build(),
            refused: meter
                .u64_counter("franking.records.refused")
                .with_description(
                    "Records that a layer refused or dropped before the engine had them.",
                )
                .with_unit("{record}")
                .build(),
            common: vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "send"),
            ],
            partitions: false,
            topics: TOPICS,
            known: RwLock::default(),
            bound: RwLock::default(),
            id: IDS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Records with the global meter provider as it is now: install yours before.
    pub fn global() -> Self {
        let scope = InstrumentationScope::builder("franking")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
            .build();
        Self::new(&global::meter_with_scope(scope))
    }

    /// Adds the cluster's address, as `server.address` and `server.port`: mostly the first bootstrap server.
    pub fn server(mut self, address: impl Into<StringValue>, port: u16) -> Self {
        self.common
            .push(KeyValue::new("server.address", address.into()));
        self.common
            .push(KeyValue::new("server.port", i64::from(port)));
        self
    }

    /// How many topics have series of their own; 200 by default.
    pub fn topics(mut self, most: usize) -> Self {
        self.topics = most;
        self
    }

    /// Adds `messaging.destination.partition.id`: a series for each partition, so only where there are few.
    pub fn partitions(mut self) -> Self {
        self.partitions = true;
        self
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Interceptor for Metrics {
    /// When the record came.
    type Token = Instant;

    fn on_send(&self, record: &mut Parts) -> Result<Instant, Failure> {
        Ok(record.now())
    }

    fn on_outcome(&self, came: Instant, outcome: &Outcome<'_>) {
        let took = outcome.at.saturating_duration_since(came);
        // `as_secs_f64` divides, which takes 3 ns more for the same but in the last bit.
        let seconds = took.as_secs() as f64 + f64::from(took.subsec_nanos()) * 1e-9;
        let topic = outcome.record.topic;
        match outcome.result {
            Ok(placed) => {
                let partition = if self.partitions {
                    placed.partition
                } else {
                    ANY
                };
                // Fails while the thread ends.
                let done = LAST.try_with(|last| {
                    self.delivered(&mut last.borrow_mut(), topic, partition, seconds)
                });
                if !done.unwrap_or(false) {
                    let attributes = self.attributes(topic, partition, None);
                    self.unbound(attributes, seconds, true);
                }
            }
            Err(failure) => {
                let partition = outcome.record.partition.filter(|_| self.partitions);
                let sent = outcome.attempts > 0 && may_have_left(failure);
                let error = KeyValue::new("error.type", failure.code().name().to_owned());
                let attributes = self.attributes(topic, partition.unwrap_or(ANY), Some(error));
                if outcome.attempts == 0 {
                    self.refused.add(1, &attributes);
                }
                self.unbound(attributes, seconds, sent);
            }
        }
        if outcome.attempts > 1 {
            let attributes = self.attributes(topic, ANY, None);
            self.resends
                .add(u64::from(outcome.attempts - 1), &attributes);
        }
    }
}

impl Metrics {
    /// Records with the bound series, and says whether there is one.
    fn delivered(
        &self,
        last: &mut Option<Last>,
        topic: &Topic,
        partition: i32,
        seconds: f64,
    ) -> bool {
        let series = match last {
            Some(last)
                if last.layer == self.id && last.partition == partition && last.topic == *topic =>
            {
                &last.series
            }
            _ => {
                let Some(series) = self.series(topic, partition) else {
                    return false;
                };
                let new = Last {
                    layer: self.id,
                    topic: topic.clone(),
                    partition,
                    series,
                };
                &last.insert(new).series
            }
        };
        series.duration.record(seconds);
        series.sent.add(1);
        true
    }

    /// The bound series of a topic, made at its first record; `None` if there are too many.
    fn series(&self, topic: &Topic, partition: i32) -> Option<Arc<Series>> {
        let (topic, partition) = match self.is_known(topic) {
            true => (topic.clone(), partition),
            false => (Topic::from(OTHER), ANY),
        };
        let key = (topic.clone(), partition);
        // The map is whole whenever the lock is free.
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = bound.get(&key) {
            return Some(Arc::clone(series));
        }
        let full = bound.len() >= MOST_BOUND;
        drop(bound);
        if full {
            return None;
        }
        let mut attributes = self.attributes(&topic, partition, None);
        let sent = self.sent.bind(&attributes);
        attributes.push(KeyValue::new("messaging.operation.type", "send"));
        let series = Arc::new(Series {
            duration: self.duration.bind(&attributes),
            sent,
        });
        let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
        // Two threads may have come at once: then the first one's stays.
        Some(Arc::clone(bound.entry(key).or_insert(series)))
    }

    fn unbound(&self, mut attributes: Vec<KeyValue>, seconds: f64, sent: bool) {
        if sent {
            self.sent.add(1, &attributes);
        }
        attributes.push(KeyValue::new("messaging.operation.type", "send"));
        self.duration.record(seconds, &attributes);
    }

    /// Whether the topic has series of its own.
    fn is_known(&self, topic: &Topic) -> bool {
        if &**topic == OTHER {
            return true;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(topic) {
            return true;
        }
        let full = known.len() >= self.topics;
        drop(known);
        if full || !topic.is_legal() {
            return false;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Others may have come meanwhile.
        known.contains(topic) || (known.len() < self.topics && known.insert(topic.clone()))
    }

    fn attributes(&self, topic: &Topic, partition: i32, error: Option<KeyValue>) -> Vec<KeyValue> {
        let (topic, partition) = match self.is_known(topic) {
            true => (topic.as_str(), partition),
            false => (OTHER, ANY),
        };
        let mut attributes = Vec::with_capacity(self.common.len() + 4);
        attributes.extend_from_slice(&self.common);
        attributes.push(KeyValue::new(
            "messaging.destination.name",
            topic.to_owned(),
        ));
        if partition != ANY {
            attributes.push(KeyValue::new(
                "messaging.destination.partition.id",
                partition.to_string(),
            ));
        }
        attributes.extend(error);
        attributes
    }
}

/// Whether the record can have gone to a broker. Its persistence says so if it is unknown; a record that is surely not
/// in the topic has left only if a broker refused it, and Kafka's own numbers are above 0.
fn may_have_left(failure: &Failure) -> bool {
    failure.persistence() == Persistence::Unknown
        || matches!(failure.code(), Code::Broker { number, .. } if *number > 0)
}

/// The instruments of a topic's delivered records.
struct Series {
    duration: BoundHistogram<f64>,
    sent: BoundCounter<u64>,
}

/// The series of the record before: acknowledgements come in batches, by partition.
struct Last {
    layer: u64,
    topic: Topic,
    partition: i32,
    series: Arc<Series>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

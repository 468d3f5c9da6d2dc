//! What a user of the metrics layer sees: the exported metrics.

#![cfg(feature = "metrics")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use franking_core::{
    Code, Delivery, Failed, Failure, Interceptor, InterceptorLayer, Parts, Persistence, Record,
    RecordMetadata, Recover, SendError,
    testing::{Answer, Scripted, send},
};
use franking_middleware::metrics::Metrics;
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData},
};
use tower_layer::Layer;
use tower_service::Service;

use opentelemetry_semantic_conventions::metric::{
    MESSAGING_CLIENT_OPERATION_DURATION as DURATION, MESSAGING_CLIENT_SENT_MESSAGES as SENT,
};

struct Bed {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
    engine: Scripted,
}

/// Attributes, in order of their names.
type Attributes = BTreeMap<String, String>;

impl Bed {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(exporter.clone()).build())
            .build();
        Self {
            provider,
            exporter,
            engine: Scripted::new(),
        }
    }

    fn metrics(&self) -> Metrics {
        Metrics::new(&self.provider.meter("test"))
    }

    fn stack(&self) -> impl franking_core::Produce + use<> {
        InterceptorLayer::new(self.metrics()).layer(self.engine.clone())
    }

    fn export<T>(&self, name: &str, read: impl Fn(&str, &AggregatedMetrics) -> T) -> Option<T> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let mut found = exported
            .iter()
            .flat_map(|resource| resource.scope_metrics())
            .flat_map(|scope| scope.metrics())
            .filter(|metric| metric.name() == name);
        let metric = found.next()?;
        assert!(found.next().is_none(), "one instrument of a name");
        Some(read(metric.unit(), metric.data()))
    }

    fn sent(&self) -> BTreeMap<Attributes, u64> {
        self.counter(SENT)
    }

    fn counter(&self, name: &str) -> BTreeMap<Attributes, u64> {
        self.export(name, |unit, data| {
            assert!(["{message}", "{resend}", "{record}"].contains(&unit));
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = data else {
                panic!("a counter")
            };
            assert!(sum.is_monotonic());
            sum.data_points()
                .map(|point| (attributes(point.attributes()), point.value()))
                .collect()
        })
        .unwrap_or_default()
    }

    /// Count and sum for each set of attributes.
    fn durations(&self) -> BTreeMap<Attributes, (u64, f64)> {
        self.export(DURATION, |unit, data| {
            assert_eq!(unit, "s");
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = data else {
                panic!("a histogram")
            };
            histogram
                .data_points()
                .map(|point| {
                    let bounds: Vec<_> = point.bounds().collect();
                    assert_eq!(
                        bounds,
                        [
                            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
                            7.5, 10.0
                        ]
                    );
                    (attributes(point.attributes()), (point.count(), point.sum()))
                })
                .collect()
        })
        .unwrap_or_default()
    }
}

fn attributes<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Attributes {
    attributes
        .map(|a| (a.key.to_string(), a.value.to_string()))
        .collect()
}

fn set(topic: &str, more: &[(&str, &str)]) -> Attributes {
    [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "send"),
        ("messaging.destination.name", topic),
    ]
    .iter()
    .chain(more)
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .collect()
}

const SEND: (&str, &str) = ("messaging.operation.type", "send");

fn order() -> Record {
    Record::new("orders").value("{}")
}

#[test]
fn counts_and_times_by_topic() {
    let bed = Bed::new();
    let mut stack = bed.stack();
    bed.engine
        .script(Answer::deliver().after(Duration::from_secs(2)));
    // Nobody waits for it.
    drop(stack.call(order()));
    assert!(bed.sent().is_empty(), "not before the acknowledgement");
    bed.engine.advance(Duration::from_secs(2));
    for topic in ["orders", "payments", "orders"] {
        send(&mut stack, Record::new(topic)).unwrap();
    }
    let expected = [(set("orders", &[]), 3), (set("payments", &[]), 1)];
    assert_eq!(bed.sent(), BTreeMap::from(expected));

    let durations = bed.durations();
    assert_eq!(durations.len(), 2);
    // The engine's clock stays 2 s ahead, so each of the three took that long.
    let (count, sum) = durations[&set("orders", &[SEND])];
    assert_eq!(count, 3);
    assert!((6.0..60.0).contains(&sum), "{sum}");
}

#[test]
fn failures_say_their_type() {
    let bed = Bed::new();
    let mut stack = bed.stack();
    let name = "NOT_ENOUGH_REPLICAS";
    bed.engine.script(Answer::fail(Failure::new(Code::Broker {
        number: 19,
        name: name.into(),
    })));
    bed.engine.script(Answer::lose_acknowledgement());
    send(&mut stack, order()).unwrap_err();
    send(&mut stack, order()).unwrap_err();
    send(&mut stack, order()).unwrap();
    let expected = [
        (set("orders", &[]), 1),
        (set("orders", &[("error.type", name)]), 1),
        (set("orders", &[("error.type", "TIMED_OUT")]), 1),
    ];
    assert_eq!(bed.sent(), BTreeMap::from(expected));
    let failed = &bed.durations()[&set("orders", &[SEND, ("error.type", name)])];
    assert_eq!(failed.0, 1);
}

#[test]
fn what_was_never_sent_is_not_counted_as_sent() {
    struct Refuse;
    impl Interceptor for Refuse {
        type Token = ();
        fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
            Err(Failure::new(Code::Refused))
        }
    }
    let bed = Bed::new();
    let fused = (bed.metrics(), Refuse);
    let mut refusing = InterceptorLayer::new(fused).layer(bed.engine.clone());
    send(&mut refusing, order()).unwrap_err();

    // Expired in the queue, and refused by the client library.
    let mut stack = bed.stack();
    bed.engine
        .script(Answer::fail(Failure::new(Code::TimedOut)));
    bed.engine.script(Answer::fail(Failure::new(Code::Broker {
        number: -184,
        name: "_QUEUE_FULL".into(),
    })));
    bed.engine
        .script(Answer::refuse_at_once(Failure::new(Code::NoRoom)));
    for _ in 0..3 {
        send(&mut stack, order()).unwrap_err();
    }
    assert_eq!(bed.sent(), BTreeMap::new());
    let durations = bed.durations();
    let types: Vec<_> = durations
        .iter()
        .map(|(set, (count, _))| (set["error.type"].as_str(), *count))
        .collect();
    assert_eq!(
        types,
        [
            ("NO_ROOM", 1),
            ("REFUSED", 1),
            ("TIMED_OUT", 1),
            ("_QUEUE_FULL", 1)
        ]
    );
}

#[test]
fn what_may_have_been_sent_is_counted() {
    let bed = Bed::new();
    let unknown = Failure::new(Code::Fatal).with_persistence(Persistence::Unknown);
    bed.engine.script(Answer::fail(unknown));
    send(&mut bed.stack(), order()).unwrap_err();
    assert_eq!(
        bed.sent(),
        BTreeMap::from([(set("orders", &[("error.type", "FATAL")]), 1)])
    );
}

#[test]
fn partitions_and_server_on_request() {
    let bed = Bed::new();
    let metrics = bed.metrics().partitions().server("kafka-1", 9092);
    let mut stack = InterceptorLayer::new(metrics).layer(bed.engine.clone());
    for partition in [0, 1, 1] {
        send(&mut stack, order().partition(partition)).unwrap();
    }
    bed.engine.script(Answer::lose_acknowledgement());
    send(&mut stack, order().partition(1)).unwrap_err();
    let with = |partition, more: &[(&'static str, &'static str)]| {
        let mut all = vec![
            ("server.address", "kafka-1"),
            ("server.port", "9092"),
            ("messaging.destination.partition.id", partition),
        ];
        all.extend(more);
        set("orders", &all)
    };
    let expected = [
        (with("0", &[]), 1),
        (with("1", &[]), 2),
        (with("1", &[("error.type", "TIMED_OUT")]), 1),
    ];
    assert_eq!(bed.sent(), BTreeMap::from(expected));
}

#[test]
fn several_producers_share_the_series() {
    let bed = Bed::new();
    let mut stacks = [bed.stack(), bed.stack()];
    for stack in stacks.iter_mut() {
        for n in 0..150 {
            send(stack, Record::new(format!("t{n}"))).unwrap();
        }
    }
    let sent = bed.sent();
    assert_eq!(sent.len(), 150);
    assert!(sent.values().all(|count| *count == 2));
}

#[test]
fn topics_beyond_the_limit_count_as_others() {
    let bed = Bed::new();
    let mut stack = bed.stack();
    for round in 0..2 {
        for n in 0..1_000 {
            if n == 999 {
                bed.engine
                    .script(Answer::fail(Failure::new(Code::TimedOut)));
            }
            let sent = send(&mut stack, Record::new(format!("t{n}")));
            assert_eq!(sent.is_err(), n == 999, "{round}");
        }
    }
    let sent = bed.sent();
    assert_eq!(sent.len(), 201);
    assert_eq!(sent[&set("t0", &[])], 2);
    assert_eq!(sent[&set("t199", &[])], 2);
    assert_eq!(sent[&set("_other", &[])], 2 * 799);
    let durations = bed.durations();
    assert_eq!(durations.len(), 202);
    let failed = set("_other", &[SEND, ("error.type", "TIMED_OUT")]);
    assert_eq!(durations[&failed].0, 2, "failures too");

    let few = bed.metrics().topics(2).partitions();
    let mut stack = InterceptorLayer::new(few).layer(bed.engine.clone());
    for topic in ["a", "b", "c", "_other"] {
        send(&mut stack, Record::new(topic).partition(7)).unwrap();
    }
    let partition = ("messaging.destination.partition.id", "7");
    let sent = bed.sent();
    assert_eq!(sent[&set("b", &[partition])], 1);
    assert_eq!(sent.get(&set("c", &[partition])), None);
    assert_eq!(sent[&set("_other", &[])], 2 * 799 + 1);
}

#[test]
fn with_partitions_there_are_more_series_than_are_bound() {
    let bed = Bed::new();
    let metrics = bed.metrics().partitions();
    let mut stack = InterceptorLayer::new(metrics).layer(bed.engine.clone());
    for _ in 0..2 {
        for partition in 0..1_100 {
            send(&mut stack, order().partition(partition)).unwrap();
        }
    }
    let sent = bed.sent();
    assert_eq!(sent.len(), 1_100);
    assert!(sent.values().all(|count| *count == 2));
}

#[test]
fn what_was_sent_again_and_what_was_refused() {
    struct RefusePayments;
    impl Interceptor for RefusePayments {
        type Token = ();
        fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
            match &*record.topic {
                "payments" => Err(Failure::new(Code::Refused)),
                _ => Ok(()),
            }
        }
    }
    /// Sends again at once until the third attempt.
    struct Again(Scripted);
    impl Recover for Again {
        fn recover(self: Arc<Self>, failed: Failed) {
            match failed.attempts() {
                1 | 2 => failed.resend(&mut self.0.clone(), Some(self)),
                _ => failed.decline(),
            }
        }
    }
    let bed = Bed::new();
    let mut stack = InterceptorLayer::new((bed.metrics(), RefusePayments)).layer(Recovering {
        inner: bed.engine.clone(),
        recover: Arc::new(Again(bed.engine.clone())),
    });
    bed.engine
        .script(Answer::fail(Failure::new(Code::TimedOut)));
    send(&mut stack, order()).unwrap();
    for _ in 0..3 {
        bed.engine
            .script(Answer::fail(Failure::new(Code::TimedOut)));
    }
    send(&mut stack, order()).unwrap_err();
    send(&mut stack, order()).unwrap();
    send(&mut stack, Record::new("payments")).unwrap_err();
    assert_eq!(
        bed.counter("franking.resends"),
        BTreeMap::from([(set("orders", &[]), 3)])
    );
    assert_eq!(
        bed.counter("franking.records.refused"),
        BTreeMap::from([(set("payments", &[("error.type", "REFUSED")]), 1)])
    );
}

/// Puts a recoverer on each record.
struct Recovering<R> {
    inner: Scripted,
    recover: Arc<R>,
}

impl<R: Recover> Service<Record> for Recovering<R> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> Delivery {
        record.push_recover(Arc::clone(&self.recover) as _);
        self.inner.call(record)
    }
}

#[test]
fn panics_of_hooks_are_seen_once() {
    struct Broken;
    impl Interceptor for Broken {
        type Token = ();
        fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
            panic!("in a test")
        }
    }
    let bed = Bed::new();
    // Two layers on one meter must not report it twice.
    let fused = (bed.metrics(), bed.metrics(), Broken);
    let mut stack = InterceptorLayer::new(fused).layer(bed.engine.clone());
    send(&mut stack, order()).unwrap_err();
    let panicked = bed.export("franking.hooks.panicked", |_, data| {
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = data else {
            panic!("a counter")
        };
        let points: Vec<_> = sum.data_points().map(|point| point.value()).collect();
        points
    });
    // Only this test of this process panics in a hook.
    assert_eq!(panicked, Some(vec![1]));
}

//! Forged headers: what an application puts under names that are the stack's gets through on no path.
//!
//! *Getting through* means that a record in the topic has a header, not stamped by the stack, that our reader takes for
//! ours, or that a consumer would who trims names and ignores case in any of the usual ways. What only looks alike
//! (full-width letters, other alphabets, percent-encoding, something invisible inside) is another name to all of them;
//! that the reader does not take it for ours is checked too.

#[path = "../support/mod.rs"]
mod support;

mod forger;
mod judge;
mod layers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use franking::middleware::audit::Audit;
use franking::middleware::metrics::Metrics;
use franking::middleware::origin::{Origin, OriginBuilder};
use franking::middleware::trace::Trace;
use franking::provenance::{Consumed as _, Header, Names, Reader};
use franking::testing::{Scripted, block_on, send};
use franking::{Code, DefaultStack, InterceptorLayer, Produce, Record};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tower_layer::Layer;

use forger::{Forger, Kind, OWN};
use judge::{Due, judge};
use support::{bytes_builder, kafka, topic};

/// So many in all, unless `FRANKING_FORGED` says another number: a million takes two minutes.
const RECORDS: u64 = 200_000;
/// So many share a scripted engine, which keeps what it stored.
const BATCH: u64 = 500;

/// What is counted is the process's.
static ALONE: Mutex<()> = Mutex::new(());

fn builder(own: bool) -> OriginBuilder {
    let builder = Origin::builder().service_name("till").instance_id("till-1");
    if own { builder.names(names()) } else { builder }
}

fn names() -> Names {
    use Header::{Id, Mark, Origin, Path, Revision, Sequence, Signature};
    let headers = [Id, Origin, Sequence, Path, Revision, Mark, Signature];
    headers
        .into_iter()
        .zip(OWN)
        .fold(Names::new(), |names, (header, own)| {
            names.name(header, own).unwrap()
        })
}

fn reader(own: bool) -> Reader {
    if own {
        Reader::new().names(names())
    } else {
        Reader::new()
    }
}

fn tracer() -> SdkTracer {
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOff)
        .build();
    provider.tracer("forgery")
}

/// The metrics of this process, as they are exported.
struct Counted {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Counted {
    fn new() -> (Self, Metrics) {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let metrics = Metrics::new(&provider.meter("forgery"));
        (Self { provider, exporter }, metrics)
    }

    /// `franking.headers.reserved`, by action and reason.
    fn now(&self) -> HashMap<String, u64> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let exported = self.exporter.get_finished_metrics().unwrap();
        let mut counts = HashMap::new();
        for metric in exported
            .iter()
            .flat_map(|all| all.scope_metrics())
            .flat_map(|scope| scope.metrics())
        {
            if metric.name() != "franking.headers.reserved" {
                continue;
            }
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
                panic!("a sum: {metric:?}")
            };
            for point in sum.data_points() {
                let attribute = |key: &str| {
                    let found = point
                        .attributes()
                        .find(|attribute| attribute.key.as_str() == key);
                    found.unwrap().value.as_str().into_owned()
                };
                let key = format!(
                    "{}/{}",
                    attribute("franking.action"),
                    attribute("franking.reason")
                );
                counts.insert(key, point.value());
            }
        }
        counts
    }

    /// What was counted since.
    fn since(&self, before: &HashMap<String, u64>) -> HashMap<String, u64> {
        let now = self.now().into_iter();
        now.map(|(key, count)| {
            let before = before.get(&key).copied().unwrap_or(0);
            (key, count - before)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

fn counts(of: &[(&str, u64)]) -> HashMap<String, u64> {
    let some = of.iter().filter(|(_, count)| *count > 0);
    some.map(|(key, count)| ((*key).to_owned(), *count))
        .collect()
}

/// Sends forged records through a stack, and judges each; gives what had to be removed.
fn run<S: Produce>(
    forger: &mut Forger,
    records: u64,
    own: bool,
    our_origin: &str,
    stack: impl Fn(Scripted) -> S,
    pass: impl Fn(&mut S, Record),
) -> Due {
    let reader = reader(own);
    let mut due = Due::default();
    for batch in 0..records / BATCH {
        let engine = Scripted::with_room(1 << 30);
        let mut stack = stack(engine.clone());
        let mut kinds = Vec::new();
        for _ in 0..BATCH {
            let (record, kind) = forger.record("orders", own, our_origin);
            due.add(Due::of(&record.headers, kind, own));
            kinds.push(kind);
            pass(&mut stack, record);
        }
        let stored = engine.stored();
        assert_eq!(stored.len() as u64, BATCH);
        for (index, (stored, kind)) in stored.iter().zip(kinds).enumerate() {
            let number = batch * BATCH + index as u64 + 1;
            let headers = &stored.parts.headers;
            if let Err(why) = judge(headers.iter(), kind, own, &reader, our_origin, number) {
                panic!("{kind:?}, own names {own}: {why}\n{headers:?}");
            }
        }
    }
    due
}

/// The two calls of tower's trait, by hand.
fn call(stack: &mut impl Produce, record: Record) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(
        stack.poll_ready(&mut context),
        Poll::Ready(Ok(()))
    ));
    let sent = block_on(stack.call(record), Duration::from_secs(10));
    sent.expect("at once").expect("delivered");
}

#[test]
fn of_hundreds_of_thousands_of_forged_records_none_gets_through() {
    let records =
        std::env::var("FRANKING_FORGED").map_or(RECORDS, |records| records.parse().unwrap());
    // Two paths, and two sets of names.
    let records = records / 4;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut forger = Forger::new();
    let (counted, metrics) = Counted::new();
    let metrics = Arc::new(metrics);
    for own in [false, true] {
        let before = counted.now();
        let trace = Arc::new(Trace::new(tracer()));
        let origin = Arc::new(builder(own).build().unwrap());
        let audit = Audit::builder()
            .instance_id("till-1")
            .names(origin.names().clone())
            .build();
        let layer = Arc::new((trace, Arc::clone(&origin), audit, Arc::clone(&metrics)));
        let intercepted = |engine| InterceptorLayer::from(Arc::clone(&layer)).layer(engine);
        let due = run(
            &mut forger,
            records,
            own,
            origin.header(),
            intercepted,
            |stack, record| {
                send(stack, record).unwrap();
            },
        );
        tell("interceptors", own, records, &due);
        confirm(&due, &origin, &counted.since(&before));

        let before = counted.now();
        let stack = DefaultStack::new(builder(own).build().unwrap()).trace(Trace::new(tracer()));
        let origin = Arc::clone(stack.origin());
        let due = run(
            &mut forger,
            records,
            own,
            origin.header(),
            |engine| stack.layer(engine),
            call,
        );
        tell("service", own, records, &due);
        confirm(&due, &origin, &counted.since(&before));
    }
    println!(
        "names that nobody takes: {} with control characters, {} not UTF-8 in consumed records",
        forger.untakable, forger.no_text
    );
    assert!(forger.untakable > 1_000 && forger.no_text > 1_000);
}

fn tell(path: &str, own: bool, records: u64, due: &Due) {
    let names = if own {
        "an organisation's"
    } else {
        "the schema's"
    };
    println!(
        "{path}, {names} names: {records} records, 0 forged headers got through; removed {} by name, {} variants, {} \
         changed since consumed, {} variants of trace headers; {} look-alikes left to the application",
        due.name, due.variant, due.changed, due.trace, due.left
    );
}

/// Every removed header was counted, with its reason.
fn confirm(due: &Due, origin: &Origin, counted: &HashMap<String, u64>) {
    assert!(
        due.name > 0 && due.variant > 0 && due.changed > 0 && due.trace > 0 && due.left > 0,
        "{due:?}"
    );
    assert_eq!(origin.reserved_removed(), due.reserved());
    let reasons = counts(&[
        ("removed/name", due.name),
        ("removed/variant", due.variant + due.trace),
        ("removed/changed", due.changed),
    ]);
    assert_eq!(*counted, reasons);
}

#[test]
fn a_refusing_origin_refuses_every_forged_record() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut forger = Forger::new();
    let (counted, _metrics) = Counted::new();
    let before = counted.now();
    let origin = Origin::refusing(builder(false)).unwrap();
    let stack = DefaultStack::new(origin).trace(Trace::new(tracer()));
    let origin = Arc::clone(stack.origin());
    let (mut refused, mut passed, mut removed) = (0, 0, Due::default());
    for _ in 0..20_000 {
        let engine = Scripted::new();
        let (record, kind) = forger.record("orders", false, origin.header());
        let due = Due::of(&record.headers, kind, false);
        let sent = send(&mut stack.layer(engine.clone()), record);
        removed.trace += due.trace;
        if kind == Kind::Forwarded {
            removed.changed += due.changed;
            removed.variant += due.variant;
        }
        if kind == Kind::Forwarded || due.reserved() == 0 {
            sent.unwrap();
            passed += 1;
        } else {
            let error = sent.unwrap_err();
            assert_eq!(*error.code(), Code::Refused, "{error}");
            assert!(engine.stored().is_empty());
            refused += 1;
        }
    }
    let counted = counted.since(&before);
    let total: u64 = counted
        .iter()
        .filter(|(key, _)| key.starts_with("refused/"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(total, refused, "{counted:?}");
    assert!(
        counted["refused/name"] > 0 && counted["refused/variant"] > 0,
        "{counted:?}"
    );
    assert_eq!(counted["removed/changed"], removed.changed);
    println!("{refused} forged records refused, {passed} others passed");
}

#[test]
fn none_of_thousands_gets_through_to_a_broker() {
    const SENT: u64 = 5_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut forger = Forger::new();
    let (counted, _metrics) = Counted::new();
    let before = counted.now();
    let topic = topic(kafka(), "forgery", 1, &[]);
    let stack = DefaultStack::new(builder(false).build().unwrap()).trace(Trace::new(tracer()));
    let origin = Arc::clone(stack.origin());
    let producer = bytes_builder(kafka())
        .property("linger.ms", "0")
        .layer(stack)
        .build()
        .unwrap();
    let mut due = Due::default();
    let mut kinds = Vec::new();
    let sends: Vec<_> = (0..SENT)
        .map(|_| {
            let (record, kind) = forger.record(&topic, false, origin.header());
            due.add(Due::of(&record.headers, kind, false));
            kinds.push(kind);
            let send = block_on(producer.send_record(record), Duration::from_secs(60));
            send.expect("in time").expect("delivered")
        })
        .collect();
    assert_eq!(sends.len() as u64, SENT);
    let mut kinds = kinds.into_iter();
    let mut number = 0;
    support::read_each(kafka(), &topic, |message| {
        number += 1;
        let kind = kinds.next().unwrap();
        let headers: Vec<_> = message.raw_headers().collect();
        let text = headers
            .iter()
            .map(|(name, value)| (std::str::from_utf8(name).unwrap(), *value));
        if let Err(why) = judge(text, kind, false, &reader(false), origin.header(), number) {
            panic!("{kind:?} at {}: {why}", rdkafka::Message::offset(message));
        }
    });
    assert_eq!(number, SENT);
    tell("a broker", false, SENT, &due);
    confirm(&due, &origin, &counted.since(&before));
}

//! The balance of what was sent, and the numbers of the records.
#![cfg(feature = "audit")]

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use franking_core::{
    Code, Failure, Intercepted, Interceptor, InterceptorLayer, Parts, Persistence, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::audit::{Audit, Balance};
use proptest::prelude::*;
use tower_layer::Layer;
use tracing_subscriber::layer::SubscriberExt;

type Stack = Intercepted<Arc<Audit>, Scripted>;

fn stack(engine: &Scripted, audit: Audit) -> (Arc<Audit>, Stack) {
    let audit = Arc::new(audit);
    let stack = InterceptorLayer::new(Arc::clone(&audit)).layer(engine.clone());
    (audit, stack)
}

/// Sends, and listens no longer.
fn forget<S: franking_core::Produce>(stack: &mut S, record: Record) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    drop(stack.call(record));
}

fn record(len: usize) -> Record {
    Record::new("orders").key("k").value(vec![b'x'; len - 1])
}

fn records(balance: &Balance) -> [u64; 5] {
    [
        balance.attempted.records,
        balance.delivered.records,
        balance.not_persisted.records,
        balance.unknown.records,
        balance.in_flight.records,
    ]
}

#[test]
fn every_end_has_its_column() {
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::new());
    engine.stall();
    engine.script(Answer::deliver());
    engine.script(Answer::deliver_without_offset());
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    engine.script(Answer::lose_acknowledgement());
    for len in [1, 2, 4, 8, 16] {
        forget(&mut stack, record(len).timestamp(1_200_000));
    }
    assert_eq!(records(&audit.totals()), [5, 0, 0, 0, 5]);
    engine.step(4);

    let [balance] = &audit.snapshot()[..] else {
        panic!("one topic and bucket: {:?}", audit.snapshot());
    };
    assert_eq!(balance.topic.as_deref(), Some("orders"));
    assert_eq!(balance.bucket_start, Some(1_200_000));
    assert_eq!(records(balance), [5, 2, 1, 1, 1]);
    assert_eq!(balance.attempted.bytes, 31);
    assert_eq!(balance.delivered.bytes, 3);
    assert_eq!(balance.not_persisted.bytes, 4);
    assert_eq!(balance.unknown.bytes, 8);
    assert_eq!(balance.in_flight.bytes, 16);
    assert!(balance.holds());

    engine.close();
    assert_eq!(records(&audit.totals()), [5, 2, 2, 1, 0]);
    assert!(audit.totals().holds());
}

#[test]
fn a_balance_that_does_not_hold_says_so() {
    let mut balance = Balance::default();
    assert!(balance.holds());
    balance.attempted.bytes = 1;
    assert!(!balance.holds());
    balance.in_flight.bytes = 1;
    assert!(balance.holds());
    balance.delivered.records = 1;
    assert!(!balance.holds());
}

/// Refuses every other record, behind the audit.
struct EveryOther(AtomicBool);

impl Interceptor for EveryOther {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        if self.0.fetch_xor(true, Ordering::Relaxed) {
            Err(Failure::new(Code::Refused))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_record_that_a_layer_further_in_refuses_leaves_a_gap() {
    let engine = Scripted::new();
    let audit = Arc::new(Audit::new());
    let fused = (Arc::clone(&audit), EveryOther(AtomicBool::new(false)));
    let mut stack = InterceptorLayer::new(fused).layer(engine.clone());
    for _ in 0..4 {
        let _ = send(&mut stack, record(1));
    }
    assert_eq!(records(&audit.totals()), [4, 2, 2, 0, 0]);
    let stored = engine.stored();
    let numbers = stored
        .iter()
        .map(|s| s.parts.headers.get_str("prov-seq").unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), ["1", "3"]);
}

#[test]
fn a_records_time_decides_on_its_bucket() {
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::new());
    for at in [0, 599_999, 600_000, -1, 1_800_000_000_000] {
        send(&mut stack, record(1).timestamp(at)).unwrap();
    }
    let starts: Vec<_> = audit
        .snapshot()
        .iter()
        .map(|b| (b.bucket_start.unwrap(), b.attempted.records))
        .collect();
    assert_eq!(
        starts,
        [(-600_000, 1), (0, 2), (600_000, 1), (1_800_000_000_000, 1)]
    );
    // Without a time it gets one, so that the topic agrees with the balance.
    send(&mut stack, record(1)).unwrap();
    let at = engine.stored()[5].parts.timestamp.unwrap();
    let bucket = at.div_euclid(600_000) * 600_000;
    assert!(
        audit
            .snapshot()
            .iter()
            .any(|b| b.bucket_start == Some(bucket))
    );
}

#[test]
fn each_topic_is_numbered_from_one() {
    let engine = Scripted::new();
    let (_, mut stack) = stack(&engine, Audit::new());
    for topic in ["a", "b", "a", "a", "b"] {
        send(&mut stack, Record::new(topic)).unwrap();
    }
    let stored = engine.stored();
    let numbers = stored
        .iter()
        .map(|s| s.parts.headers.get_str("prov-seq").unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), ["1", "1", "2", "3", "2"]);
}

#[test]
fn counts_are_exact_with_many_threads() {
    const EACH: u64 = 5_000;
    let engine = Scripted::new();
    let audit = Audit::builder()
        .bucket(Duration::from_millis(20))
        .delay(Duration::ZERO)
        .build();
    let (audit, stack) = stack(&engine, audit);
    let done = AtomicBool::new(false);
    let lines = Lines::default();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..8u64)
            .map(|thread| {
                let (mut stack, engine) = (stack.clone(), engine.clone());
                scope.spawn(move || {
                    for n in 0..EACH {
                        match (n + thread) % 4 {
                            0 => engine.script(Answer::fail(Failure::new(Code::TimedOut))),
                            1 => engine.script(Answer::lose_acknowledgement()),
                            2 => engine.script(Answer::refuse_at_once(
                                Failure::new(Code::Fatal).with_persistence(Persistence::Unknown),
                            )),
                            _ => engine.script(Answer::deliver()),
                        }
                        let topic = ["a", "b", "c"][(n % 3) as usize];
                        forget(
                            &mut stack,
                            Record::new(topic).value(vec![0; (n % 10) as usize]),
                        );
                    }
                })
            })
            .collect();
        // Looks, closes buckets and writes them meanwhile.
        scope.spawn(|| {
            tracing::subscriber::with_default(
                tracing_subscriber::registry().with(lines.clone()),
                || {
                    while !done.load(Ordering::Relaxed) {
                        assert!(audit.snapshot().iter().all(Balance::holds));
                        assert!(audit.totals().holds());
                        audit.report();
                    }
                    audit.report();
                },
            );
        });
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let totals = audit.totals();
    assert!(totals.holds());
    assert_eq!(
        records(&totals),
        [8 * EACH, 2 * EACH, 2 * EACH, 4 * EACH, 0]
    );
    assert_eq!(totals.attempted.bytes, 8 * EACH * 45 / 10);
    assert_eq!(audit.snapshot(), []);
    // Every record is in exactly one closed line.
    let written = lines.closed();
    assert!(written.len() > 3, "{} lines", written.len());
    for (column, expected) in [
        ("attempted", totals.attempted.records),
        ("attempted_bytes", totals.attempted.bytes),
        ("delivered", totals.delivered.records),
        ("not_persisted_bytes", totals.not_persisted.bytes),
        ("unknown", totals.unknown.records),
        ("in_flight", 0),
    ] {
        let sum: u64 = written
            .iter()
            .map(|line| line[column].parse::<u64>().unwrap())
            .sum();
        assert_eq!(sum, expected, "{column}");
    }
    // And no number was given twice.
    let mut seen = BTreeSet::new();
    for stored in engine.stored() {
        let number: u64 = stored
            .parts
            .headers
            .get_str("prov-seq")
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=8 * EACH).contains(&number));
        assert!(seen.insert((stored.topic, number)));
    }
}

/// Collects what is reported.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<HashMap<&'static str, String>>>>);

impl Lines {
    fn all(&self) -> Vec<HashMap<&'static str, String>> {
        self.0.lock().unwrap().clone()
    }

    fn closed(&self) -> Vec<HashMap<&'static str, String>> {
        let mut all = self.all();
        all.retain(|line| line["closed"] == "true");
        all
    }

    fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(self.clone()), run)
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Fields(HashMap<&'static str, String>);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(HashMap::new());
        event.record(&mut fields);
        assert_eq!(event.metadata().target(), "franking::audit");
        assert_eq!(*event.metadata().level(), tracing::Level::INFO);
        self.0.lock().unwrap().push(fields.0);
    }
}

#[test]
fn a_report_shows_what_is_in_flight_and_what_is_closed() {
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::new());
    let lines = Lines::default();
    send(&mut stack, record(3).timestamp(0)).unwrap();
    engine.stall();
    forget(&mut stack, record(5).timestamp(600_000));
    lines.during(|| audit.report());
    let [closed, open] = &lines.all()[..] else {
        panic!("two buckets: {:?}", lines.all());
    };
    assert_eq!(closed["topic"], "\"orders\"");
    assert_eq!(closed["bucket_start"], "0");
    assert_eq!(closed["bucket_millis"], "600000");
    assert_eq!(closed["delivered_bytes"], "3");
    assert_eq!(closed["closed"], "true");
    assert_eq!(open["bucket_start"], "600000");
    assert_eq!(open["in_flight_bytes"], "5");
    assert_eq!(open["closed"], "false");

    engine.resume();
    lines.during(|| drop((stack, audit)));
    // The last handle writes the rest, and nothing twice.
    let all = lines.all();
    assert_eq!(all.len(), 3);
    assert_eq!(all[2]["bucket_start"], "600000");
    assert_eq!(all[2]["delivered"], "1");
    assert_eq!(all[2]["closed"], "true");
}

#[test]
fn outcomes_write_the_buckets_that_are_over() {
    let engine = Scripted::new();
    let audit = Audit::builder()
        .bucket(Duration::from_secs(1))
        .delay(Duration::ZERO)
        .build();
    let (audit, mut stack) = stack(&engine, audit);
    let lines = Lines::default();
    lines.during(|| {
        send(&mut stack, record(1).timestamp(0)).unwrap();
        assert_eq!(lines.all().len(), 0, "outcomes do not look each time");
        // Ten seconds on the clock that outcomes are stamped with.
        engine.advance(Duration::from_secs(11));
        send(&mut stack, record(1).timestamp(0)).unwrap();
    });
    let [line] = &lines.closed()[..] else {
        panic!("one line: {:?}", lines.all());
    };
    assert_eq!(line["attempted"], "2");
    assert_eq!(audit.snapshot(), []);
    assert_eq!(records(&audit.totals()), [2, 2, 0, 0, 0]);
}

#[test]
fn a_bucket_waits_for_late_records_and_for_those_in_flight() {
    let engine = Scripted::new();
    let audit = Audit::builder().bucket(Duration::from_secs(600)).build();
    let (audit, mut stack) = stack(&engine, audit);
    let lines = Lines::default();
    send(&mut stack, record(1).timestamp(0)).unwrap();
    lines.during(|| audit.tick());
    assert_eq!(lines.all().len(), 0, "opened less than 60 s ago");
    assert_eq!(audit.snapshot().len(), 1);
}

#[test]
fn a_bucket_of_the_far_future_does_not_stay_open() {
    let engine = Scripted::new();
    let audit = Audit::builder()
        .bucket(Duration::from_millis(1))
        .delay(Duration::ZERO)
        .build();
    let (audit, mut stack) = stack(&engine, audit);
    send(&mut stack, record(1).timestamp(i64::MAX)).unwrap();
    send(&mut stack, record(1).timestamp(i64::MAX - 5)).unwrap();
    thread::sleep(Duration::from_millis(20));
    audit.tick();
    assert_eq!(audit.snapshot(), []);
    assert_eq!(records(&audit.totals()), [2, 2, 0, 0, 0]);
}

#[test]
fn a_subscriber_that_panics_loses_no_counts() {
    struct Panics;
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            panic!("the disk is full");
        }
    }
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::new());
    for at in [0, 600_000, 1_200_000] {
        send(&mut stack, record(1).timestamp(at)).unwrap();
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Panics), || {
            audit.report();
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(audit.snapshot().len(), 3);
    assert_eq!(audit.totals().delivered.records, 3);
    let lines = Lines::default();
    lines.during(|| audit.report());
    assert_eq!(lines.closed().len(), 3);
}

#[test]
fn a_subscriber_may_send_records_itself() {
    struct Ships(Mutex<Stack>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Ships {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            forget(&mut *self.0.lock().unwrap(), Record::new("logs"));
        }
    }
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::new());
    send(&mut stack, record(1)).unwrap();
    let ships = Ships(Mutex::new(stack));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(ships), || {
        audit.report();
    });
    assert_eq!(engine.stored().len(), 2);
    assert_eq!(audit.totals().delivered.records, 2);
}

#[test]
fn too_many_topics_are_counted_together() {
    let engine = Scripted::new();
    let (audit, mut stack) = stack(&engine, Audit::builder().capacity(2).build());
    for topic in ["a", "b", "c", "d", "a"] {
        send(&mut stack, Record::new(topic).timestamp(0)).unwrap();
    }
    let snapshot = audit.snapshot();
    let counts: Vec<_> = snapshot
        .iter()
        .map(|b| (b.topic.as_deref(), b.delivered.records))
        .collect();
    assert_eq!(counts, [(None, 2), (Some("a"), 2), (Some("b"), 1)]);
    let stored = engine.stored();
    assert_eq!(stored[2].parts.headers.get("prov-seq"), None);
    assert_eq!(stored[4].parts.headers.get_str("prov-seq"), Some("2"));
    // Written and forgotten, there is room for other buckets, though not for the numbers of other topics.
    audit.report();
    send(&mut stack, Record::new("a").timestamp(600_000)).unwrap();
    assert_eq!(audit.snapshot()[0].topic.as_deref(), Some("a"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever time records say they have: nothing panics, nothing grows, nothing is lost.
    #[test]
    fn any_timestamp_finds_a_place(times in proptest::collection::vec(any::<i64>(), 1..200), extreme: bool) {
        let engine = Scripted::new();
        let (audit, mut stack) = stack(&engine, Audit::builder().capacity(16).build());
        let ends = [i64::MIN, i64::MIN + 1, i64::MAX, -1, 0].into_iter().filter(|_| extreme);
        let times: Vec<_> = times.into_iter().chain(ends).collect();
        for at in &times {
            send(&mut stack, record(2).timestamp(*at)).unwrap();
        }
        let snapshot = audit.snapshot();
        prop_assert!(snapshot.len() <= 17);
        prop_assert!(snapshot.iter().all(Balance::holds));
        prop_assert_eq!(audit.totals().delivered.bytes, 2 * times.len() as u64);
        audit.report();
        audit.tick();
        prop_assert_eq!(audit.snapshot(), []);
        prop_assert_eq!(audit.totals().attempted.records, times.len() as u64);
    }
}

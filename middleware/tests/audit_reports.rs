//! What the audit reports, and that no report is lost, whatever becomes of those who keep them.
#![cfg(all(feature = "audit", feature = "retry"))]

use std::{
    collections::HashMap,
    fs,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use franking_core::{
    Code, Failure, Intercepted, Interceptor, InterceptorLayer, Parts, Produce, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::{
    audit::{Audit, AuditBuilder, Balance, JsonLines, Receipt, Report, ReportSink, ToTopic, chain},
    retry::RetryLayer,
};
use proptest::prelude::*;
use tower_layer::Layer;
use tower_service::Service;

type Stack = Intercepted<Arc<Audit>, Scripted>;

fn stack(engine: &Scripted, audit: AuditBuilder) -> (Arc<Audit>, Stack) {
    let audit = Arc::new(audit.build());
    let stack = InterceptorLayer::new(Arc::clone(&audit)).layer(engine.clone());
    (audit, stack)
}

/// Sends, and listens no longer.
fn forget<S: Produce>(stack: &mut S, record: Record) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    drop(stack.call(record));
}

fn order() -> Record {
    Record::new("orders").value("abc")
}

/// What a collector knows: each report once.
fn collect(reports: impl IntoIterator<Item = Report>) -> HashMap<String, Report> {
    let mut known: HashMap<String, Report> = HashMap::new();
    for report in reports {
        assert!(report.closed && report.in_flight == 0, "{report:?}");
        let id = report.id.clone().expect("a closed report has an id");
        let before = known.insert(id, report.clone());
        assert!(before.is_none_or(|before| before == report), "{report:?}");
    }
    known
}

/// Attempted, delivered, not persisted, unknown.
fn sums<'r>(reports: impl IntoIterator<Item = &'r Report>) -> [u64; 4] {
    reports.into_iter().fold([0; 4], |[a, d, n, u], report| {
        assert_eq!(
            report.attempted,
            report.delivered + report.not_persisted + report.unknown,
            "{report:?}"
        );
        [
            a + report.attempted,
            d + report.delivered,
            n + report.not_persisted,
            u + report.unknown,
        ]
    })
}

fn counts(totals: &Balance) -> [u64; 4] {
    [
        totals.attempted.records,
        totals.delivered.records,
        totals.not_persisted.records,
        totals.unknown.records,
    ]
}

/// Keeps reports as it is told to.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    reports: Vec<Report>,
    /// How it answers next; well, if it is not told.
    answers: Vec<How>,
    later: Vec<Receipt>,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Keeps,
    /// Writes, and says that it did not.
    KeepsButFails,
    Fails,
    Forgets,
    Panics,
    Later,
}

impl Keeper {
    fn told(&self, answers: impl IntoIterator<Item = How>) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn reports(&self) -> Vec<Report> {
        self.0.lock().unwrap().reports.clone()
    }

    fn answer_those_that_wait(&self) {
        let later = std::mem::take(&mut self.0.lock().unwrap().later);
        later.into_iter().for_each(Receipt::written);
    }
}

impl ReportSink for Keeper {
    fn write(&self, report: &Arc<Report>, receipt: Receipt) {
        let how = {
            let mut kept = self.0.lock().unwrap();
            let how = kept.answers.pop().unwrap_or(How::Keeps);
            if matches!(how, How::Keeps | How::KeepsButFails | How::Later) {
                kept.reports.push((**report).clone());
            }
            how
        };
        match how {
            How::Keeps => receipt.written(),
            How::KeepsButFails | How::Fails => receipt.failed(&"as told"),
            How::Forgets => drop(receipt),
            How::Panics => panic!("as told"),
            How::Later => self.0.lock().unwrap().later.push(receipt),
        }
    }

    fn name(&self) -> &str {
        "keeper"
    }
}

#[test]
fn a_report_says_all_that_the_balance_says() {
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let audit = Audit::builder().instance_id("one").sink(keeper.clone());
    let (audit, mut stack) = stack(&engine, audit);
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    engine.script(Answer::lose_acknowledgement());
    for _ in 0..5 {
        let _ = send(&mut stack, order().timestamp(1_200_000));
    }
    audit.report();
    let [report] = &keeper.reports()[..] else {
        panic!("{:?}", keeper.reports());
    };
    let report = report.clone();
    assert_eq!(report.instance.as_deref(), Some("one"));
    assert_eq!(report.topic.as_deref(), Some("orders"));
    assert_eq!(report.bucket_start, Some(1_200_000));
    assert_eq!(report.bucket_millis, Some(600_000));
    assert_eq!((report.attempted, report.attempted_bytes), (5, 15));
    assert_eq!((report.delivered, report.delivered_bytes), (3, 9));
    assert_eq!((report.not_persisted, report.not_persisted_bytes), (1, 3));
    assert_eq!((report.unknown, report.unknown_bytes), (1, 3));
    assert_eq!((report.retried, report.refused), (0, 0));
    // Twenty minutes after 1970.
    assert_eq!(report.late, 5);
    // As it is read from a topic or a file.
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);

    send(&mut stack, order()).unwrap();
    assert_eq!(audit.snapshot()[0].late.records, 0);
}

#[test]
fn latency_is_that_of_what_was_delivered() {
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let (audit, mut stack) = stack(&engine, Audit::builder().sink(keeper.clone()));
    engine.stall();
    let began = Instant::now();
    for _ in 0..99 {
        forget(&mut stack, order().timestamp(0));
    }
    // On the clock that outcomes are stamped with, to which it adds what this takes.
    engine.advance(Duration::from_millis(100));
    engine.step(99);
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    forget(&mut stack, order().timestamp(0));
    forget(&mut stack, order().timestamp(0));
    engine.advance(Duration::from_secs(5));
    engine.resume();
    assert_eq!(audit.totals().latency, audit.snapshot()[0].latency);
    audit.report();
    let report = &keeper.reports()[0];
    assert_eq!(report.delivered, 100);
    let millis = |micros: u64| micros / 1000;
    let spent = began.elapsed().as_millis() as u64;
    let fast = 100..=(100 + spent) * 115 / 100;
    assert!(fast.contains(&millis(report.latency_p95_us)), "{report:?}");
    assert!(fast.contains(&millis(report.latency_p99_us)), "{report:?}");
    assert!(
        (5000..=5900).contains(&millis(report.latency_max_us)),
        "{report:?}"
    );
    let mean = (99 * 100 + millis(report.latency_max_us)) / 100;
    assert!(
        millis(report.latency_mean_us).abs_diff(mean) < 20 + spent,
        "{report:?}"
    );
    // Of a bucket that nothing is left of, no latency is left.
    send(&mut stack, order().timestamp(0)).unwrap();
    assert_eq!(audit.snapshot()[0].delivered.records, 1);
    assert_eq!(audit.totals().delivered.records, 101);
}

/// Lets nothing through.
struct Refuses;

impl Interceptor for Refuses {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Err(Failure::new(Code::Refused))
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_retried_and_refused_is_told() {
    let engine = Scripted::new();
    let audit = Arc::new(Audit::new());
    let retry = RetryLayer::new().layer(engine.clone());
    let mut stack = InterceptorLayer::new(Arc::clone(&audit)).layer(retry);
    engine.script(Answer::fail(Failure::new(Code::TimedOut).transient(true)));
    for _ in 0..2 {
        poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
        stack.call(order()).await.unwrap();
    }
    let fused = InterceptorLayer::new((Arc::clone(&audit), Refuses));
    send(&mut fused.layer(engine.clone()), order()).unwrap_err();

    let totals = audit.totals();
    assert_eq!(counts(&totals), [3, 2, 1, 0]);
    assert_eq!((totals.retried.records, totals.retried.bytes), (1, 3));
    assert_eq!((totals.refused.records, totals.refused.bytes), (1, 3));
}

#[test]
fn a_sink_that_fails_or_panics_gets_the_report_again() {
    let engine = Scripted::new();
    let (sound, ailing) = (Keeper::default(), Keeper::default());
    let audit = Audit::builder().sink(sound.clone()).sink(ailing.clone());
    let (audit, mut stack) = stack(&engine, audit);
    for at in [0, 600_000] {
        send(&mut stack, order().timestamp(at)).unwrap();
    }
    for how in [How::Fails, How::Forgets, How::KeepsButFails, How::Panics] {
        ailing.told([how, how]);
        let reported = catch_unwind(AssertUnwindSafe(|| audit.report()));
        assert_eq!(reported.is_err(), matches!(how, How::Panics));
        ailing.0.lock().unwrap().answers.clear();
        assert_eq!(audit.unwritten(), 2, "{how:?}");
        assert_eq!(audit.snapshot().len(), 2, "{how:?}");
        assert_eq!(audit.totals().delivered.records, 2);
    }
    // Twice what it said it had not written, and the panic's: a collector sees the ids.
    assert_eq!(ailing.reports().len(), 2);
    audit.tick();
    assert_eq!(audit.unwritten(), 0);
    assert_eq!(audit.snapshot(), []);
    assert_eq!(ailing.reports().len(), 4);
    assert_eq!(collect(ailing.reports()), collect(sound.reports()));
    // The other one got them once.
    assert_eq!(sound.reports().len(), 2);
}

#[test]
fn a_sink_that_answers_late_is_not_asked_twice() {
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let (audit, mut stack) = stack(&engine, Audit::builder().sink(keeper.clone()));
    send(&mut stack, order()).unwrap();
    keeper.told([How::Later]);
    audit.report();
    audit.report();
    assert_eq!((audit.unwritten(), keeper.reports().len()), (1, 1));
    keeper.answer_those_that_wait();
    assert_eq!(audit.unwritten(), 0);
    audit.report();
    assert_eq!(keeper.reports().len(), 1);
}

#[test]
fn the_last_handle_reports_the_rest() {
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let (audit, mut stack) = stack(&engine, Audit::builder().sink(keeper.clone()));
    engine.stall();
    for n in 0..10 {
        forget(&mut stack, order().timestamp(n * 600_000));
    }
    drop((stack, audit));
    assert_eq!(keeper.reports(), []);
    // The records in flight hold it; the engine ends, and then they do no more.
    engine.close();
    let reports = collect(keeper.reports());
    assert_eq!(sums(reports.values()), [10, 0, 10, 0]);
}

#[test]
fn where_reports_pile_up_buckets_stay_open() {
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let audit = Audit::builder().capacity(1000).sink(keeper.clone());
    let (audit, mut stack) = stack(&engine, audit);
    keeper.told([How::Later; 10_000]);
    for at in 0..8_000 {
        send(&mut stack, order().timestamp(at * 600_000)).unwrap();
        if at % 500 == 499 {
            audit.report();
        }
    }
    assert!(
        (4096..6000).contains(&audit.unwritten()),
        "{}",
        audit.unwritten()
    );
    let snapshot = audit.snapshot();
    assert!(snapshot.len() <= 6000, "{}", snapshot.len());
    assert!(snapshot.iter().all(Balance::holds));
    let there: u64 = snapshot.iter().map(|b| b.delivered.records).sum();
    assert_eq!(there, 8_000);
    // What found no place is counted, without its bucket.
    assert_eq!(snapshot[0].topic, None);
    assert!(snapshot[0].delivered.records > 1000, "{:?}", snapshot[0]);

    keeper.0.lock().unwrap().answers.clear();
    keeper.answer_those_that_wait();
    audit.report();
    assert_eq!(audit.snapshot(), []);
    let reports = collect(keeper.reports());
    assert_eq!(sums(reports.values()), [8_000, 8_000, 0, 0]);
}

#[test]
fn reports_go_to_a_topic_and_are_not_audited() {
    let engine = Scripted::new();
    let audit = Audit::builder().sink(ToTopic::new("audit", engine.clone()));
    let (audit, mut stack) = stack(&engine, audit);
    for at in [0, 600_000, 1_200_000] {
        send(&mut stack, order().timestamp(at)).unwrap();
    }
    // The first is lost, the second is there although it seems not to be.
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    engine.script(Answer::lose_acknowledgement());
    audit.report();
    assert_eq!(audit.unwritten(), 2);
    audit.tick();
    assert_eq!(audit.unwritten(), 0);
    assert_eq!(audit.totals().attempted.records, 3);

    let stored = engine.stored();
    let reports = stored.iter().filter(|stored| stored.topic == "audit");
    let reports: Vec<_> = reports
        .map(|stored| {
            assert_eq!(stored.parts.key.as_deref(), Some(&b"orders"[..]));
            assert_eq!(stored.parts.headers.len(), 0);
            let value = stored.parts.value.as_deref().unwrap();
            serde_json::from_slice::<Report>(value).unwrap()
        })
        .collect();
    // One of them twice.
    assert_eq!(reports.len(), 4);
    assert_eq!(sums(collect(reports).values()), [3, 3, 0, 0]);
}

#[test]
fn a_topic_that_takes_no_reports_leaves_them_to_others() {
    let full = Scripted::with_room(2000);
    let engine = Scripted::new();
    let keeper = Keeper::default();
    let audit = Audit::builder()
        .sink(ToTopic::new("audit", full.clone()))
        .sink(keeper.clone());
    let (audit, mut stack) = stack(&engine, audit);
    full.stall();
    let mut sender = full.clone();
    forget(&mut sender, Record::new("large").value(vec![0; 1500]));
    send(&mut stack, order()).unwrap();
    // It does not wait for room, and does not stand in the way of who does.
    audit.report();
    assert_eq!(audit.unwritten(), 1);
    full.resume();
    audit.tick();
    assert_eq!(audit.unwritten(), 0);
    full.close();
    send(&mut stack, order()).unwrap();
    audit.report();
    assert_eq!((audit.unwritten(), keeper.reports().len()), (1, 2));
}

/// A file that is there as long as its test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("franking-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn lines_of_a_file_are_chained_and_readable() {
    let file = Temporary::new("audit-lines");
    let engine = Scripted::new();
    for round in 0..2 {
        let lines = JsonLines::open(&file.0).unwrap();
        let (audit, mut stack) = stack(&engine, Audit::builder().sink(lines));
        for at in [0, 600_000] {
            send(&mut stack, order().timestamp(at)).unwrap();
        }
        drop((audit, stack));
        let text = fs::read_to_string(&file.0).unwrap();
        let mut link = chain::Link::default();
        let reports = text.lines().map(|line| {
            link.follow(line.as_bytes()).unwrap();
            serde_json::from_str::<Report>(line).unwrap()
        });
        let reports = collect(reports.collect::<Vec<_>>());
        assert_eq!(reports.len(), 2 * (round + 1));
        assert_eq!(sums(reports.values())[1], 2 * (round as u64 + 1));
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Send { bucket: i64, answer: u8 },
    Settle(usize),
    Tick,
    Report,
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4i64, 0..5u8).prop_map(|(bucket, answer)| Step::Send { bucket, answer }),
        3 => (1..4usize).prop_map(Step::Settle),
        1 => Just(Step::Tick),
        1 => Just(Step::Report),
        1 => Just(Step::Answer),
    ]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        3 => Just(How::Keeps),
        2 => Just(How::KeepsButFails),
        2 => Just(How::Fails),
        1 => Just(How::Forgets),
        1 => Just(How::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever records, buckets and sinks do, and in whatever order: the balance holds at each step, and in the end each
    /// sink has every record in exactly one report that a collector counts.
    #[test]
    fn every_record_is_in_one_report(
        steps in prop::collection::vec(step(), 1..120),
        answers in prop::collection::vec(how(), 0..60),
        capacity in 1..5usize,
    ) {
        let engine = Scripted::new();
        let keepers = [Keeper::default(), Keeper::default()];
        keepers[1].told(answers);
        let mut audit = Audit::builder()
            .bucket(Duration::from_millis(10))
            .delay(Duration::ZERO)
            .capacity(capacity);
        for keeper in &keepers {
            audit = audit.sink(keeper.clone());
        }
        let (audit, mut stack) = stack(&engine, audit);
        engine.stall();
        let mut sent = 0;
        for step in steps {
            match step {
                Step::Send { bucket, answer } => {
                    engine.script(match answer {
                        0 => Answer::fail(Failure::new(Code::TimedOut)),
                        1 => Answer::lose_acknowledgement(),
                        2 => Answer::refuse_at_once(Failure::new(Code::Refused)),
                        _ => Answer::deliver(),
                    });
                    forget(&mut stack, order().timestamp(bucket * 10));
                    sent += 1;
                }
                Step::Settle(records) => engine.step(records),
                Step::Tick => audit.tick(),
                Step::Report => audit.report(),
                Step::Answer => keepers[1].answer_those_that_wait(),
            }
            let totals = audit.totals();
            prop_assert!(totals.holds(), "{:?}", totals);
            prop_assert_eq!(totals.attempted.records, sent);
            prop_assert_eq!(totals.in_flight.records, engine.unsettled() as u64);
            prop_assert!(audit.snapshot().iter().all(Balance::holds));
        }
        engine.resume();
        let totals = audit.totals();
        prop_assert_eq!(totals.in_flight.records, 0);
        // Until the sink has nothing left to refuse.
        for _ in 0..61 {
            keepers[1].answer_those_that_wait();
            audit.report();
        }
        keepers[1].answer_those_that_wait();
        prop_assert_eq!(audit.unwritten(), 0);
        prop_assert_eq!(audit.snapshot(), []);
        for keeper in &keepers {
            let reports = collect(keeper.reports());
            prop_assert_eq!(sums(reports.values()), counts(&totals));
        }
    }
}

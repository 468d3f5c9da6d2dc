//! Retry under virtual time: back-off, deadline and budget keep their limits; a close, a shutdown, a sleep of the machine
//! meets what waits. No two records here have a key in common, so that the order of records plays no part.
#![cfg(feature = "retry")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use franking_core::{
    Code, Delivery, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Record, RecordMetadata,
    SendError,
    testing::{Answer, Scripted, block_on},
};
use franking_middleware::retry::{Retry, RetryLayer, RetryStats};
use proptest::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use tower_layer::Layer;
use tower_service::Service;

/// The timer's resolution.
const TICK: Duration = Duration::from_millis(1);

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn moment() -> Failure {
    Failure::new(Code::TimedOut).transient(true)
}

fn number(key: Option<&[u8]>) -> usize {
    usize::from_be_bytes(key.unwrap().try_into().unwrap())
}

/// When the engine was called with which record.
type Calls = Arc<Mutex<BTreeMap<usize, Vec<Instant>>>>;

/// An engine that notes when it is called. Counts its handles.
#[derive(Clone)]
struct Timed(
    Scripted,
    Calls,
    #[expect(dead_code, reason = "counts handles")] Arc<()>,
);

impl Service<Record> for Timed {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> Delivery {
        let mut calls = self.1.lock().unwrap();
        let number = number(record.key.as_deref());
        calls.entry(number).or_default().push(Instant::now());
        drop(calls);
        self.0.call(record)
    }
}

/// Outside of retry: which records ended, and how many of them well.
#[derive(Default)]
struct Ends {
    heard: Mutex<Vec<usize>>,
    good: AtomicUsize,
}

impl Interceptor for Ends {
    type Token = usize;

    fn on_send(&self, record: &mut Parts) -> Result<usize, Failure> {
        Ok(number(record.key.as_deref()))
    }

    fn on_outcome(&self, number: usize, outcome: &Outcome<'_>) {
        self.heard.lock().unwrap().push(number);
        self.good
            .fetch_add(usize::from(outcome.result.is_ok()), SeqCst);
    }
}

/// A stack with a retry layer, and all that can be seen of it.
struct Bench {
    engine: Scripted,
    stats: RetryStats,
    calls: Calls,
    ends: Arc<Ends>,
    stack: franking_core::Intercepted<Arc<Ends>, Retry<Timed>>,
    sent: usize,
    handles: Arc<()>,
}

impl Bench {
    fn of(layer: RetryLayer) -> Self {
        let (engine, calls, ends) = (Scripted::new(), Calls::default(), Arc::<Ends>::default());
        let handles = Arc::new(());
        let timed = Timed(engine.clone(), Arc::clone(&calls), Arc::clone(&handles));
        Self {
            engine,
            stats: layer.stats(),
            calls,
            stack: InterceptorLayer::new(Arc::clone(&ends)).layer(layer.layer(timed)),
            ends,
            sent: 0,
            handles,
        }
    }

    /// All fail from now on.
    fn down(self) -> Self {
        self.engine.otherwise(Answer::fail(moment()));
        self
    }

    fn up(&self) {
        self.engine.otherwise(Answer::deliver());
    }

    fn send(&mut self) -> Delivery {
        let record = Record::new("orders").key(self.sent.to_be_bytes().to_vec());
        self.sent += 1;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(self.stack.poll_ready(&mut cx).is_ready());
        self.stack.call(record)
    }

    /// Sends so many records that fail at once, and then wait.
    fn fill(&mut self, records: usize) -> Vec<Delivery> {
        let sent = (0..records).map(|_| self.send()).collect();
        assert_eq!(
            self.outstanding(),
            records,
            "they wait, and hold their room"
        );
        sent
    }

    fn outstanding(&self) -> usize {
        self.engine.room().outstanding()
    }

    /// Every record ended once, with these many delivered, and nothing is left.
    fn ended(&self, delivered: usize) {
        let heard = self.ends.heard.lock().unwrap();
        assert_eq!(heard.len(), self.sent);
        assert_eq!(heard.iter().collect::<HashSet<_>>().len(), self.sent);
        assert_eq!(self.ends.good.load(SeqCst), delivered);
        assert_eq!(self.engine.stored().len(), delivered);
        let (room, failed) = (self.engine.room(), self.sent - delivered);
        assert_eq!((room.used(), room.outstanding()), (0, 0));
        assert_eq!(room.totals().delivered as usize, delivered);
        assert_eq!(room.totals().not_persisted as usize, failed);
        let calls: usize = self.calls.lock().unwrap().values().map(Vec::len).sum();
        assert_eq!(calls, self.engine.calls());
        assert_eq!(calls, self.sent + self.stats.retries() as usize);
        assert_eq!(self.stats.gave_up() as usize, failed);
        assert_eq!(self.stats.overtaken(), 0);
    }
}

/// No limits but what a test sets.
fn unlimited() -> RetryLayer {
    RetryLayer::new()
        .budget(f64::INFINITY, u32::MAX)
        .max_attempts(u32::MAX)
}

/// Resends that come long after the test; waits are at random from nothing on.
fn waits_long() -> RetryLayer {
    let year = Duration::from_secs(365 * 24 * 3600);
    unlimited().backoff(year, year).deadline(2 * year)
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

#[derive(Clone, Debug)]
struct Policy {
    first: Duration,
    longest: Duration,
    deadline: Duration,
    attempts: u32,
}

fn policy() -> impl Strategy<Value = Policy> {
    (0..500u64, 0..2_000u64, 0..10_000u64, 2..12u32).prop_map(
        |(first, longest, deadline, attempts)| Policy {
            first: millis(first),
            longest: millis(longest),
            deadline: millis(deadline),
            attempts,
        },
    )
}

/// What is sent: the pause before each record. And which calls of the engine fail.
fn load() -> impl Strategy<Value = (Vec<u64>, Vec<bool>)> {
    let pauses = proptest::collection::vec(prop_oneof![4 => Just(0), 1 => 0..300u64], 1..40);
    let fails = proptest::collection::vec(proptest::bool::weighted(0.7), 0..200);
    (pauses, fails)
}

proptest! {
    /// Whatever the limits, and however many records wait side by side: each wait is at most
    /// the first, doubled for each resend, and the longest; no resend starts after the deadline, and none too many; nobody gives up
    /// for no reason.
    #[test]
    fn limits_are_kept(policy in policy(), (pauses, fails) in load()) {
        paused().block_on(async {
            let layer = unlimited()
                .backoff(policy.first, policy.longest)
                .deadline(policy.deadline)
                .max_attempts(policy.attempts);
            let mut bench = Bench::of(layer);
            for fail in fails {
                bench.engine.script(if fail { Answer::fail(moment()) } else { Answer::deliver() });
            }
            let mut sent = Vec::new();
            for pause in pauses {
                tokio::time::sleep(millis(pause)).await;
                sent.push(bench.send());
            }
            let mut delivered = HashSet::new();
            for (number, sent) in sent.into_iter().enumerate() {
                if sent.await.is_ok() {
                    delivered.insert(number);
                }
            }
            bench.engine.room().flushed().await;
            let longest = policy.longest.max(policy.first);
            for (number, calls) in &*bench.calls.lock().unwrap() {
                let mut most = policy.first;
                for pair in calls.windows(2) {
                    let wait = pair[1] - pair[0];
                    prop_assert!(wait <= most + TICK, "waited {wait:?} of {most:?}");
                    most = (most * 2).min(longest);
                }
                let took = *calls.last().unwrap() - calls[0];
                prop_assert!(took <= policy.deadline, "sent again after {took:?}");
                prop_assert!(calls.len() <= policy.attempts as usize);
                let may_go_on = calls.len() < policy.attempts as usize
                    && took + most + TICK < policy.deadline;
                prop_assert!(delivered.contains(number) || !may_go_on, "given up for nothing");
            }
            bench.ended(delivered.len());
            Ok::<(), TestCaseError>(())
        })?;
    }

    /// While the cluster is down, resends never exceed what the sends so far and the time so far earned, whatever the
    /// load does.
    #[test]
    fn the_budget_is_kept(
        ratio in 0.0..0.5f64,
        per_second in 0..20u32,
        phases in proptest::collection::vec((1..20u64, prop_oneof![Just(0), 1..60u64]), 1..8),
    ) {
        paused().block_on(async {
            let mut bench = Bench::of(unlimited().budget(ratio, per_second)).down();
            let start = Instant::now();
            let check = |bench: &Bench| {
                let (sent, retries) = (bench.sent as f64, bench.stats.retries() as f64);
                // What may be overdrawn, what came back of it, and what was earned.
                let most = f64::from(per_second) * (10.0 + start.elapsed().as_secs_f64()) + ratio * sent;
                prop_assert!(retries <= most + 1.0, "{retries} of {most}, after {sent} sends");
                Ok::<(), TestCaseError>(())
            };
            for (seconds, rate) in phases {
                for _ in 0..seconds * 10 {
                    for _ in 0..rate.div_ceil(10) {
                        drop(bench.send());
                    }
                    tokio::time::sleep(millis(100)).await;
                    check(&bench)?;
                }
            }
            bench.engine.room().flushed().await;
            check(&bench)?;
            bench.ended(0);
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_budget_allows_is_used() {
    let mut bench = Bench::of(RetryLayer::new().budget(0.2, 10)).down();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120) {
        drop(bench.send());
        tokio::time::sleep(millis(10)).await;
    }
    bench.engine.room().flushed().await;
    // 100 sends a second for 120 s: a fifth of them, 10 a second, and the reserve of 10 s.
    let (sent, seconds) = (bench.sent as f64, start.elapsed().as_secs_f64());
    let allowed = 0.2 * sent + 10.0 * seconds + 100.0;
    let retries = bench.stats.retries() as f64;
    println!("budget: {sent} sends in {seconds:.0} s, {retries} resends of {allowed:.0}");
    assert!(
        retries <= allowed && retries >= 0.95 * allowed,
        "{retries} of {allowed}"
    );
    bench.ended(0);
}

#[tokio::test(start_paused = true)]
async fn what_fails_together_does_not_return_together() {
    const RECORDS: usize = 10_000;
    const SLOTS: usize = 20;
    let mut bench = Bench::of(unlimited()).down();
    let start = Instant::now();
    let sent = bench.fill(RECORDS);
    bench.up();
    for sent in sent {
        sent.await.unwrap();
    }
    // Side by side: all within the longest first wait.
    assert!(start.elapsed() <= millis(100) + TICK);
    let mut slots = [0; SLOTS];
    for calls in bench.calls.lock().unwrap().values() {
        let wait = (calls[1] - start).saturating_sub(TICK);
        slots[(wait.as_millis() as usize / 5).min(SLOTS - 1)] += 1;
    }
    println!("spread: {RECORDS} records, resends in each 5 ms: {slots:?}");
    let mean = RECORDS / SLOTS;
    assert!(
        slots.iter().all(|n| (mean / 2..mean * 2).contains(n)),
        "{slots:?}"
    );
    bench.ended(RECORDS);
}

/// How a time to wait may come to its end.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Close,
    Kill,
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_ten_thousand_waits_at_once() {
    const RECORDS: usize = 10_000;
    for stop in [Stop::Close, Stop::Kill] {
        let mut bench = Bench::of(waits_long()).down();
        let mut sent = bench.fill(RECORDS);
        // Half of the callers go.
        let kept = sent.split_off(RECORDS / 2);
        drop(sent);
        // Not longer: in one run of 3,000, one of ten thousand waits at random up to a year ends within a second.
        tokio::time::sleep(TICK).await;
        assert_eq!(bench.outstanding(), RECORDS);
        bench.up();
        let start = Instant::now();
        match stop {
            Stop::Close => _ = bench.engine.close(),
            Stop::Kill => bench.engine.kill(Failure::new(Code::Fatal)),
        }
        for sent in kept {
            let error = sent.await.unwrap_err();
            assert_eq!((error.code(), error.attempts()), (&Code::TimedOut, 1));
            assert!(error.into_record().is_some());
        }
        bench.engine.room().flushed().await;
        let took = start.elapsed();
        println!("{stop:?}: {RECORDS} records in back-off given up within {took:?}");
        assert!(took <= TICK, "{took:?}");
        // Nothing comes later either.
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(bench.engine.calls(), RECORDS);
        bench.ended(0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_in_the_moment_when_waits_end_gives_each_one_end() {
    let longest = millis(20);
    let (mut sent_again, mut given_up) = (0, 0);
    // While they wait, in the moment when a wait ends, and after it.
    for moment in 0..=25 {
        let mut bench = Bench::of(unlimited().backoff(longest, longest)).down();
        let sent = bench.fill(20);
        tokio::time::sleep(TICK * moment).await;
        bench.engine.close();
        for sent in sent {
            let error = sent.await.unwrap_err();
            match (error.code(), error.attempts()) {
                (Code::TimedOut, 1) => given_up += 1,
                // Before the close, and waiting anew by then; or just after it.
                (Code::TimedOut | Code::Closed, 2..) => sent_again += 1,
                other => panic!("{other:?}"),
            }
        }
        bench.engine.room().flushed().await;
        let heard = bench.ends.heard.lock().unwrap().len();
        assert_eq!(
            (heard, bench.outstanding(), bench.engine.stored().len()),
            (20, 0, 0)
        );
    }
    println!("close at the end of the waits: {sent_again} sent again before, {given_up} given up");
    assert!(sent_again > 0 && given_up > 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_waits_though_nobody_else_does() {
    const RECORDS: usize = 1_000;
    let mut bench = Bench::of(unlimited()).down();
    drop(bench.fill(RECORDS));
    let mut flushed = Box::pin(bench.engine.room().flushed());
    assert!(block_on(flushed.as_mut(), Duration::ZERO).is_none());
    // The cluster is down for a while: they wait several times.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(block_on(flushed.as_mut(), Duration::ZERO).is_none());
    bench.up();
    flushed.await;
    bench.ended(RECORDS);
    assert!(bench.stats.retries() as usize > 5 * RECORDS);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_past_the_deadline_sends_nothing_again() {
    const RECORDS: usize = 1_000;
    let mut bench = Bench::of(unlimited().deadline(Duration::from_secs(120))).down();
    let sent = bench.fill(RECORDS);
    bench.up();
    // Let the waits begin, then no timer runs for longer than the deadline.
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(121)).await;
    for sent in sent {
        let error = sent.await.unwrap_err();
        assert_eq!((error.code(), error.attempts()), (&Code::TimedOut, 1));
    }
    bench.ended(0);
}

#[test]
fn a_shutdown_gives_up_ten_thousand_waits() {
    const RECORDS: usize = 10_000;
    let runtime = paused();
    let waits = waits_long().runtime(runtime.handle().clone());
    let mut bench = Bench::of(waits).down();
    let kept = bench.fill(RECORDS).split_off(RECORDS / 2);
    // While they wait, and not longer: see above.
    runtime.block_on(async { tokio::time::sleep(TICK).await });
    assert_eq!(bench.outstanding(), RECORDS);
    drop(runtime);
    bench.ended(0);
    for sent in kept {
        let error = block_on(sent, Duration::ZERO)
            .expect("it has ended")
            .unwrap_err();
        assert!(error.into_record().is_some());
    }
    // What fails from now on does not wait.
    assert!(block_on(bench.send(), Duration::ZERO).unwrap().is_err());
    bench.ended(0);
    let handles = Arc::clone(&bench.handles);
    drop(bench);
    assert_eq!(Arc::strong_count(&handles), 1, "nothing holds the engine");
}

/// In real time, for the shutdown comes from another thread: while records fail, wait and are sent again.
#[test]
fn a_shutdown_meets_retries_in_every_state() {
    const ROUNDS: usize = 40;
    const RECORDS: usize = 500;
    let (mut delivered, mut given_up) = (0, 0);
    for round in 0..ROUNDS {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().unwrap();
        let layer = unlimited()
            .runtime(runtime.handle().clone())
            .backoff(Duration::ZERO, millis(2));
        let mut bench = Bench::of(layer);
        let shutdown = thread::spawn(move || {
            thread::sleep(Duration::from_micros(100 * round as u64));
            runtime.shutdown_background();
        });
        for n in 0..RECORDS {
            if n % 2 == 0 {
                bench.engine.script(Answer::fail(moment()));
            }
            drop(bench.send());
        }
        shutdown.join().unwrap();
        let flushed = block_on(bench.engine.room().flushed(), Duration::from_secs(10));
        flushed.expect("all end though the runtime is gone");
        let good = bench.ends.good.load(SeqCst);
        bench.ended(good);
        delivered += good;
        given_up += RECORDS - good;
    }
    println!(
        "shutdown: {ROUNDS} rounds of {RECORDS} records, {delivered} delivered, {given_up} given up"
    );
    assert!(given_up > 0, "no record met the shutdown");
}

#[tokio::test(start_paused = true)]
async fn handles_that_are_dropped_change_nothing() {
    const RECORDS: usize = 1_000;
    let mut bench = Bench::of(unlimited()).down();
    drop(bench.fill(RECORDS));
    let Bench {
        engine,
        ends,
        stack,
        handles,
        ..
    } = bench;
    drop(stack);
    engine.otherwise(Answer::deliver());
    engine.room().flushed().await;
    tokio::task::yield_now().await;
    assert_eq!(ends.good.load(SeqCst), RECORDS);
    assert_eq!(Arc::strong_count(&handles), 1, "nothing holds the engine");
}

//! What failed for the moment is sent again, within limits, and never what may be in the topic.
#![cfg(feature = "retry")]

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use franking_core::{
    Code, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence, Produce, Record,
    RecordMetadata, SendError, SendResult,
    testing::{Answer, Scripted, block_on, send},
};
use franking_middleware::retry::{Retry, RetryLayer};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

fn moment() -> Failure {
    Failure::new(Code::TimedOut).transient(true)
}

fn order(n: usize) -> Record {
    Record::new("orders").key(n.to_string())
}

/// Sends on the test's runtime.
async fn deliver<S: Produce>(stack: &mut S, record: Record) -> SendResult {
    poll_fn(|cx| stack.poll_ready(cx)).await?;
    stack.call(record).await
}

/// Sends, and listens no longer.
fn forget<S: Produce>(stack: &mut S, record: Record) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    drop(stack.call(record));
}

/// Counts the outcomes that it hears, and those that are good.
#[derive(Default)]
struct Heard(AtomicUsize, AtomicUsize);

impl Heard {
    fn numbers(&self) -> (usize, usize) {
        (self.0.load(Ordering::SeqCst), self.1.load(Ordering::SeqCst))
    }
}

impl Interceptor for Heard {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1
            .fetch_add(usize::from(outcome.result.is_ok()), Ordering::SeqCst);
    }
}

/// Notes when it is called.
#[derive(Clone)]
struct Timed<S>(S, Arc<Mutex<Vec<Instant>>>);

impl<S: Produce> Service<Record> for Timed<S> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> S::Future {
        self.1.lock().unwrap().push(Instant::now());
        self.0.call(record)
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_for_the_moment_arrives() {
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment()));
    engine.script(Answer::refuse_at_once(moment()));
    let mut record = order(1);
    record.headers.append("prov-id", "1").unwrap();
    let placed = deliver(&mut stack, record).await.unwrap();
    assert_eq!(placed.offset, Some(0));
    assert_eq!(engine.calls(), 3);
    assert_eq!(
        engine.stored()[0].parts.headers.get_str("prov-id"),
        Some("1")
    );
    assert_eq!(layer.stats().retries(), 2);
    assert_eq!(engine.room().outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_limited_and_the_record_comes_back() {
    let engine = Scripted::new();
    engine.otherwise(Answer::fail(moment()));
    for (limit, calls) in [(5, 5), (3, 3), (1, 1), (0, 1)] {
        let before = engine.calls();
        let mut stack = RetryLayer::new().max_attempts(limit).layer(engine.clone());
        let failed = deliver(&mut stack, order(7)).await.unwrap_err();
        assert_eq!(engine.calls() - before, calls);
        assert_eq!(failed.attempts() as usize, calls);
        assert_eq!(*failed.code(), Code::TimedOut);
        assert_eq!(
            failed.into_record().unwrap().key.as_deref(),
            Some(&b"7"[..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_in_the_topic_or_cannot_succeed_is_left_alone() {
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    let failures = [
        moment().with_persistence(Persistence::Unknown),
        Failure::new(Code::RecordTooLarge),
        Failure::new(Code::Fatal),
    ];
    for (n, failure) in failures.into_iter().enumerate() {
        engine.script(Answer::fail(failure.clone()));
        let failed = deliver(&mut stack, order(n)).await.unwrap_err();
        assert_eq!(failed.code(), failure.code());
        assert_eq!(engine.calls(), n + 1);
    }
    engine.script(Answer::lose_acknowledgement());
    let failed = deliver(&mut stack, order(3)).await.unwrap_err();
    assert_eq!(failed.persistence(), Persistence::Unknown);
    assert_eq!(engine.stored().len(), 1);
    // A second failure of another kind ends it.
    engine.script(Answer::fail(moment()));
    engine.script(Answer::fail(Failure::new(Code::Authorization)));
    let failed = deliver(&mut stack, order(4)).await.unwrap_err();
    assert_eq!(*failed.code(), Code::Authorization);
    assert_eq!((layer.stats().retries(), layer.stats().gave_up()), (1, 0));
}

/// A resend that comes long after the test; waits are at random from nothing on.
fn waits_long() -> RetryLayer {
    let year = Duration::from_secs(365 * 24 * 3600);
    RetryLayer::new().backoff(year, year).deadline(2 * year)
}

#[tokio::test(start_paused = true)]
async fn waits_grow_within_their_bounds() {
    let engine = Scripted::new();
    engine.otherwise(Answer::fail(moment()));
    let called = Arc::default();
    let mut stack = RetryLayer::new()
        .max_attempts(8)
        .layer(Timed(engine, Arc::clone(&called)));
    let mut longest = [Duration::ZERO; 7];
    for _ in 0..100 {
        called.lock().unwrap().clear();
        deliver(&mut stack, order(1)).await.unwrap_err();
        let called = called.lock().unwrap();
        assert_eq!(called.len(), 8);
        for (longest, pair) in longest.iter_mut().zip(called.windows(2)) {
            *longest = (pair[1] - pair[0]).max(*longest);
        }
    }
    for (longest, ceiling) in longest
        .into_iter()
        .zip([100, 200, 400, 800, 1000, 1000, 1000])
    {
        let ceiling = Duration::from_millis(ceiling);
        // The timer has a resolution of a millisecond. And of a hundred waits, one is long.
        assert!(
            longest <= ceiling + Duration::from_millis(2),
            "{longest:?} of {ceiling:?}"
        );
        assert!(longest > ceiling * 4 / 5, "{longest:?} of {ceiling:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_resend_starts_after_the_deadline() {
    let engine = Scripted::new();
    engine.otherwise(Answer::fail(moment()));
    let called = Arc::default();
    let layer = RetryLayer::new()
        .max_attempts(u32::MAX)
        .deadline(Duration::from_secs(5));
    let mut stack = layer.layer(Timed(engine.clone(), Arc::clone(&called)));
    deliver(&mut stack, order(1)).await.unwrap_err();
    let called = called.lock().unwrap();
    let took = *called.last().unwrap() - called[0];
    assert!(took <= Duration::from_millis(5001), "{took:?}");
    assert!(
        took >= Duration::from_secs(4) - Duration::from_millis(1),
        "{took:?}"
    );
    assert_eq!(layer.stats().gave_up(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_down_gets_a_fifth_more_not_three_times_as_much() {
    let engine = Scripted::new();
    engine.otherwise(Answer::fail(moment()));
    let layer = RetryLayer::new().budget(0.2, 10);
    let stack = layer.layer(engine.clone());
    for n in 0..1000 {
        forget(&mut stack.clone(), order(n));
    }
    let flushed = engine.room().flushed();
    tokio::time::timeout(Duration::from_secs(60), flushed)
        .await
        .unwrap();
    let stats = layer.stats();
    // A fifth of the sends, the reserve of 10 s, and what came back of it while the last ones waited.
    assert!((300..=330).contains(&stats.retries()), "{stats:?}");
    assert_eq!(engine.calls() as u64, 1000 + stats.retries());
    assert_eq!(stats.gave_up(), 1000);
    assert!(stats.over_budget() > 700, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_who_waits() {
    let engine = Scripted::new();
    let layer = waits_long();
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment()));
    poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
    let sent = stack.call(order(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        engine.room().outstanding(),
        1,
        "it waits, and holds its room"
    );
    let start = Instant::now();
    engine.close();
    let failed = sent.await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(*failed.code(), Code::TimedOut, "the failure that it had");
    assert!(failed.into_record().is_some());
    assert_eq!(engine.room().outstanding(), 0);
    assert_eq!(layer.stats().gave_up(), 1);
    // What fails after the close is not held either.
    assert_eq!(engine.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn outside_hears_the_end_once_inside_hears_attempts() {
    let engine = Scripted::new();
    let (inside, outside) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    let stack = InterceptorLayer::new(Arc::clone(&inside)).layer(engine.clone());
    let stack = RetryLayer::new().layer(stack);
    let mut stack = InterceptorLayer::new(Arc::clone(&outside)).layer(stack);
    engine.script(Answer::fail(moment()));
    engine.script(Answer::fail(moment()));
    deliver(&mut stack, order(1)).await.unwrap();
    assert_eq!(inside.numbers(), (3, 1));
    assert_eq!(outside.numbers(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_is_retried_all_the_same() {
    let engine = Scripted::new();
    let outside = Arc::new(Heard::default());
    let mut stack =
        InterceptorLayer::new(Arc::clone(&outside)).layer(RetryLayer::new().layer(engine.clone()));
    engine.script(Answer::fail(moment()));
    forget(&mut stack, order(1));
    drop(stack);
    engine.room().flushed().await;
    assert_eq!(engine.stored().len(), 1);
    assert_eq!(outside.numbers(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_percent_of_ten_thousand() {
    const RECORDS: usize = 10_000;
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    let start = Instant::now();
    let mut sent = Vec::new();
    for n in 0..RECORDS {
        if n % 10 == 0 {
            engine.script(Answer::fail(moment()));
        } else {
            engine.script(Answer::deliver());
        }
        poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
        sent.push(stack.call(order(n)));
    }
    for sent in sent {
        sent.await.unwrap();
    }
    // They wait side by side, not one after another.
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let stored: HashSet<_> = engine.stored().into_iter().map(|s| s.parts.key).collect();
    assert_eq!(stored.len(), RECORDS);
    assert_eq!(engine.stored().len(), RECORDS);
    assert_eq!(layer.stats().retries(), 1000);
    assert_eq!(engine.room().outstanding(), 0);
}

#[test]
fn a_runtime_that_shuts_down_gives_up_what_waits() {
    let engine = Scripted::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let layer = {
        let _entered = runtime.enter();
        waits_long()
    };
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment().detail("the first failure")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    let sent = stack.call(order(1));
    assert_eq!(engine.room().outstanding(), 1);
    runtime.shutdown_background();
    let failed = block_on(sent, Duration::from_secs(10))
        .unwrap()
        .unwrap_err();
    assert!(failed.to_string().contains("the first failure"), "{failed}");
    assert!(failed.into_record().is_some());
    block_on(engine.room().flushed(), Duration::from_secs(10)).unwrap();
    // And with the runtime gone, nothing is held any more.
    engine.script(Answer::fail(moment()));
    assert!(send(&mut stack, order(2)).is_err());
    assert_eq!(engine.room().outstanding(), 0);
    assert_eq!(layer.stats().gave_up(), 2);
}

#[test]
fn without_a_runtime_there_is_one_small_thread() {
    let engine = Scripted::new();
    let layer = RetryLayer::new()
        .backoff(Duration::from_millis(5), Duration::from_millis(10))
        .max_attempts(100)
        .budget(1.0, 100);
    let stack = layer.layer(engine.clone());
    thread::scope(|scope| {
        for thread in 0..4 {
            let (mut stack, engine) = (stack.clone(), engine.clone());
            scope.spawn(move || {
                for n in 0..50 {
                    engine.script(Answer::fail(moment()));
                    send(&mut stack, order(thread * 50 + n)).unwrap();
                }
            });
        }
    });
    assert_eq!(engine.stored().len(), 200);
    assert_eq!(layer.stats().retries(), 200);
    #[cfg(target_os = "linux")]
    {
        let names = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        assert_eq!(
            names.filter(|name| name.trim() == "franking-retry").count(),
            1
        );
    }
}

#[tokio::test]
async fn another_runtime_can_be_named() {
    let engine = Scripted::new();
    let layer = RetryLayer::new()
        .runtime(tokio::runtime::Handle::current())
        .backoff(Duration::ZERO, Duration::ZERO);
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment()));
    deliver(&mut stack, order(1)).await.unwrap();
}

/// An engine whose last handle must notice where it is dropped.
#[derive(Clone)]
struct Last(
    Scripted,
    #[expect(dead_code, reason = "held for its drop")] Arc<Noted>,
);

struct Noted(Arc<AtomicUsize>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service<Record> for Last {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = franking_core::Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, record: Record) -> franking_core::Delivery {
        self.0.call(record)
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_keeps_the_engine_once_its_records_are_settled() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let engine = Scripted::new();
    let last = Last(engine.clone(), Arc::new(Noted(Arc::clone(&dropped))));
    let mut stack: Retry<Last> = RetryLayer::new().layer(last);
    engine.script(Answer::fail(moment()));
    forget(&mut stack, order(1));
    drop(stack);
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "the record will need it");
    engine.room().flushed().await;
    tokio::task::yield_now().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_lose_nothing() {
    const EACH: usize = 500;
    let engine = Scripted::new();
    let outside = Arc::new(Heard::default());
    let retry = RetryLayer::new()
        .budget(10.0, 1_000_000)
        .backoff(Duration::from_micros(100), Duration::from_millis(3));
    let stack = InterceptorLayer::new(Arc::clone(&outside)).layer(retry.layer(engine.clone()));
    thread::scope(|scope| {
        for thread in 0..8 {
            let (mut stack, engine) = (stack.clone(), engine.clone());
            scope.spawn(move || {
                for n in 0..EACH {
                    if n % 3 == 0 {
                        engine.script(Answer::fail(moment()));
                    }
                    forget(&mut stack, order(thread * EACH + n));
                }
            });
        }
    });
    engine.room().flushed().await;
    let totals = engine.room().totals();
    assert_eq!(totals.settled() as usize, 8 * EACH);
    assert_eq!(outside.numbers().0, 8 * EACH);
    assert_eq!(outside.numbers().1, totals.delivered as usize);
    assert_eq!(engine.stored().len(), totals.delivered as usize);
    let stats = retry.stats();
    assert_eq!(engine.calls() as u64, (8 * EACH) as u64 + stats.retries());
    assert_eq!(stats.gave_up(), totals.not_persisted);
}

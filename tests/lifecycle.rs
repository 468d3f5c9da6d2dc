//! The end of a producer, wherever it comes: nothing hangs, no hook is left, nothing stays behind.

mod support;

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use franking::testing::block_on;
use franking::{
    Delivery, Failed, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Produce, Producer,
    Record, RecordMetadata, Recover, SendError,
};
use support::{Answer, Api, Counter, Mock, Random, builder, eventually, record, stack};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};

type Text = Producer<String, String>;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than all that a test waits for by itself.
const WATCHDOG: Duration = Duration::from_secs(90);

/// How often each end is tried.
fn times() -> u64 {
    match std::env::var("FRANKING_ENDS") {
        Ok(times) => times.parse().expect("FRANKING_ENDS is a number"),
        Err(_) => 1_000,
    }
}

/// So many producers end side by side.
const AT_ONCE: usize = 20;

/// One test at a time: they count the process's threads.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads of producers and clients. The retry layer's own is one for the process, and stays.
fn threads() -> Vec<String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .filter(|name| name.starts_with("franking-") || name.starts_with("rdk:"))
        .filter(|name| name != "franking-retry")
        .collect()
}

/// Ends producers in one way, many times, and looks for what is left.
fn end_many(name: &'static str, once: impl Fn(&Ends) + Send + Sync + 'static) {
    let _alone = alone();
    let (progress, progresses) = mpsc::channel();
    let runner = thread::spawn(move || end_each(name, once, &progress));
    let mut done = 0;
    loop {
        match progresses.recv_timeout(WATCHDOG) {
            Ok(()) => done += 1,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("{name}: a deadlock after {done}; {:?}", threads())
            }
        }
    }
    if let Err(panic) = runner.join() {
        resume_unwind(panic);
    }
}

fn end_each(name: &str, once: impl Fn(&Ends) + Sync, progress: &mpsc::Sender<()>) {
    let mock = Mock::with_topic("t", 1);
    mock.create_topic("denied", 1);
    mock.topic_answers(
        "denied",
        Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    );
    let ends = Ends {
        bootstrap: mock.bootstrap(),
        counter: Counter::new(),
        drops: Drops::default(),
        random: Mutex::new(Random::new()),
    };
    // Whoever comes is refused now and then, so that the retry layer has something to do.
    let answers: Vec<Answer> = (0..20_000)
        .map(|_| match ends.below(3) {
            0 => Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            _ => Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
        })
        .collect();
    mock.answers(Api::Produce, &answers);
    // What the mock cluster starts for good.
    thread::sleep(Duration::from_millis(100));
    let before = threads().len();

    let started = Instant::now();
    let left = AtomicU64::new(times());
    let next = || {
        let next = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        next.is_ok()
    };
    // They mostly wait: for connections, acknowledgements and back-offs.
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while next() {
                    once(&ends);
                    // Nobody listens any more if one took too long.
                    let _ = progress.send(());
                }
            });
        }
    });
    let counter = &ends.counter;
    assert!(
        eventually(|| counter.settled() == counter.counts().sent),
        "{name}: hooks are left: {:?}",
        counter.counts()
    );
    assert!(
        eventually(|| threads().len() <= before),
        "{name}: {before} threads before, and {:?}",
        threads()
    );
    assert_eq!(franking::hooks_panicked(), 0);
    let drops = [
        &ends.drops.0.all,
        &ends.drops.0.with_records,
        &ends.drops.0.slowest_micros,
    ];
    let [all, with_records, slowest] = drops.map(|figure| figure.load(SeqCst));
    println!(
        "{name}: {} times in {:.1} s; {all} drops, {with_records} with records outstanding, the slowest {slowest} µs; \
         {:?}; {before} threads before, {} after",
        times(),
        started.elapsed().as_secs_f64(),
        counter.counts(),
        threads().len()
    );
    assert!(all >= times() && with_records > all / 2);
}

/// What is measured of drops.
#[derive(Clone, Default)]
struct Drops(Arc<Measured>);

#[derive(Default)]
struct Measured {
    all: AtomicU64,
    with_records: AtomicU64,
    slowest_micros: AtomicU64,
}

impl Drops {
    /// Drops it. That never waits for anything.
    fn one(&self, producer: Text) {
        let records = producer.room().outstanding() > 0;
        let started = Instant::now();
        drop(producer);
        let micros = started.elapsed().as_micros() as u64;
        self.0.all.fetch_add(1, SeqCst);
        self.0.with_records.fetch_add(u64::from(records), SeqCst);
        self.0.slowest_micros.fetch_max(micros, SeqCst);
    }
}

/// What the ends of one kind have in common.
struct Ends {
    bootstrap: String,
    counter: Arc<Counter>,
    drops: Drops,
    random: Mutex<Random>,
}

impl Ends {
    /// A producer with the default stack. Every record is counted outside of it. An attempt that the broker refuses is
    /// the engine's last, so that the retry layer is next.
    fn full(&self) -> Text {
        builder(&self.bootstrap)
            .property("enable.idempotence", "false")
            .property("retries", "0")
            .layer(self.counter.layer())
            .layer(stack())
            .build()
            .unwrap()
    }

    /// A number from 0 to `n` - 1.
    fn below(&self, n: u64) -> u64 {
        self.random.lock().unwrap().below(n)
    }
}

/// Sends so many records and keeps their futures.
fn send(producer: &Text, topic: &str, count: u64) -> Vec<Delivery> {
    (0..count)
        .map(|n| producer.try_send(record(topic, n.to_string())).unwrap())
        .collect()
}

/// Waits for all of them; panics if one never resolves.
fn all_resolve(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        // Whatever the outcome is.
        let _ = block_on(delivery, PATIENCE).expect("an outcome");
    }
}

fn runtime(ends: &Ends) -> Runtime {
    let mut builder = match ends.below(2) {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// A future that was asked for, looked at once, and left.
fn poll_once(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

// === on a runtime ===

#[test]
fn a_producer_may_be_dropped_on_a_current_thread_runtime() {
    end_many("dropped on a current_thread runtime", |ends| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let producer = ends.full();
            let mut deliveries = send(&producer, "t", 1 + ends.below(50));
            match ends.below(4) {
                0 => {}
                1 => poll_once(producer.flush()),
                2 => poll_once(producer.close(Duration::from_secs(ends.below(2)))),
                // The last one is on a task of the same thread.
                _ => {
                    let clone = producer.clone();
                    tokio::task::yield_now().await;
                    drop(tokio::spawn(async move { drop(clone) }));
                }
            }
            ends.drops.one(producer);
            // The thread that dropped it is the one that waits.
            let some = ends.below(deliveries.len() as u64 + 1) as usize;
            for delivery in deliveries.drain(..some) {
                let waited = tokio::time::timeout(PATIENCE, delivery).await;
                let _ = waited.expect("an outcome");
            }
            // The others are nobody's.
        });
    });
}

#[test]
fn a_producer_may_be_dropped_while_the_runtime_shuts_down() {
    /// Lives on a task until its runtime ends, and uses its producer to the last.
    struct Guard(Option<Text>, Drops);

    impl Drop for Guard {
        fn drop(&mut self) {
            let producer = self.0.take().unwrap();
            drop(producer.try_send(record("t", "last")));
            poll_once(producer.close(Duration::from_secs(1)));
            self.1.one(producer);
        }
    }

    let outlasted = Arc::new(AtomicU64::new(0));
    end_many("dropped while the runtime shuts down", {
        let outlasted = Arc::clone(&outlasted);
        move |ends| {
            let runtime = runtime(ends);
            let (deliveries, room) = runtime.block_on(async {
                let producer = ends.full();
                let room = Arc::clone(producer.room());
                let deliveries = send(&producer, "t", 1 + ends.below(50));
                for _ in 0..1 + ends.below(3) {
                    let guard = Guard(Some(producer.clone()), ends.drops.clone());
                    tokio::spawn(async move {
                        let producer = guard.0.as_ref().unwrap();
                        // Until another guard closes it.
                        while producer.room().refused().is_none() {
                            let _ = producer.send(record("t", "v")).await;
                        }
                        std::future::pending::<()>().await;
                    });
                }
                // Some have their outcome, some are in flight, and some in back-off.
                let some = Duration::from_micros(ends.below(20_000));
                tokio::time::sleep(some).await;
                ends.drops.one(producer);
                (deliveries, room)
            });
            let records = room.outstanding() > 0;
            outlasted.fetch_add(u64::from(records), SeqCst);
            match ends.below(3) {
                0 => drop(runtime),
                1 => runtime.shutdown_background(),
                _ => runtime.shutdown_timeout(Duration::from_millis(1)),
            }
            all_resolve(deliveries);
        }
    });
    // Otherwise nothing was in flight when runtimes ended.
    let outlasted = outlasted.load(SeqCst);
    println!("records were in flight at the end of {outlasted} runtimes");
    assert!(outlasted > times() / 4, "{outlasted}");
}

// === on the engine's own thread ===

#[test]
fn a_producer_may_be_dropped_inside_a_hook() {
    /// Drops the last producer with one of the outcomes.
    struct Holder {
        producer: Mutex<Option<Text>>,
        left: AtomicU64,
        drops: Drops,
        dropped: mpsc::Sender<()>,
    }

    impl Interceptor for Holder {
        type Token = ();

        fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
            Ok(())
        }

        fn on_outcome(&self, (): (), _: &Outcome<'_>) {
            if self.left.fetch_sub(1, SeqCst) == 1 {
                let producer = self.producer.lock().unwrap().take();
                self.drops.one(producer.expect("one producer"));
                self.dropped.send(()).unwrap();
            }
        }
    }

    end_many("dropped inside a hook", |ends| {
        let count = 1 + ends.below(50);
        let (dropped, drops) = mpsc::channel();
        let holder = Arc::new(Holder {
            producer: Mutex::default(),
            left: AtomicU64::new(1 + ends.below(count)),
            drops: ends.drops.clone(),
            dropped,
        });
        let producer = builder(&ends.bootstrap)
            .property("enable.idempotence", "false")
            .layer(ends.counter.layer())
            .layer(InterceptorLayer::new(Arc::clone(&holder)))
            .layer(stack())
            .build()
            .unwrap();
        // Before the first outcome: the broker is not even connected.
        *holder.producer.lock().unwrap() = Some(producer.clone());
        let deliveries = send(&producer, "t", count);
        drop(producer);
        drops.recv_timeout(PATIENCE).expect("a drop");
        all_resolve(deliveries);
    });
}

/// Puts a recoverer on every record.
struct Recovered<R, S>(Arc<R>, S);

impl<R, S: Clone> Clone for Recovered<R, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), self.1.clone())
    }
}

struct RecoverLayer<R>(Arc<R>);

impl<R, S> Layer<S> for RecoverLayer<R> {
    type Service = Recovered<R, S>;

    fn layer(&self, inner: S) -> Recovered<R, S> {
        Recovered(Arc::clone(&self.0), inner)
    }
}

impl<R: Recover, S: Produce> Service<Record> for Recovered<R, S> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.1.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        record.push_recover(Arc::clone(&self.0) as Arc<dyn Recover>);
        self.1.call(record)
    }
}

#[test]
fn a_producer_may_be_dropped_inside_a_recoverer() {
    /// Drops the last producer when a record failed, and then does something with the record.
    struct Dropper {
        producer: Mutex<Option<Text>>,
        drops: Drops,
        then: u64,
        dropped: mpsc::Sender<()>,
    }

    impl Recover for Dropper {
        fn recover(self: Arc<Self>, failed: Failed) {
            if let Some(producer) = self.producer.lock().unwrap().take() {
                self.drops.one(producer);
                self.dropped.send(()).unwrap();
            }
            match self.then {
                0 => failed.decline(),
                // By a panic it would be the same.
                1 => drop(failed),
                // Kept for a while, on another thread.
                _ => drop(thread::spawn(move || {
                    thread::sleep(Duration::from_millis(1));
                    failed.decline();
                })),
            }
        }
    }

    end_many("dropped inside a recoverer", |ends| {
        let (dropped, drops) = mpsc::channel();
        let dropper = Arc::new(Dropper {
            producer: Mutex::default(),
            drops: ends.drops.clone(),
            then: ends.below(3),
            dropped,
        });
        let producer = builder(&ends.bootstrap)
            .layer(ends.counter.layer())
            .layer(RecoverLayer(Arc::clone(&dropper)))
            .layer(stack())
            .build()
            .unwrap();
        *dropper.producer.lock().unwrap() = Some(producer.clone());
        let deliveries = send(&producer, "denied", 1 + ends.below(50));
        drop(producer);
        drops.recv_timeout(PATIENCE).expect("a drop");
        all_resolve(deliveries);
    });
}

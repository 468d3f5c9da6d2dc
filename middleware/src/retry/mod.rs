//! The retry layer: sends again what failed for the moment, and is surely not in the topic.
//!
//! The engine retries first, with the same sequence numbers and so without duplicates, until `delivery.timeout.ms`.
//! This layer gets what is left, and sends it as a new record. So it does little by default, and never what could make
//! a duplicate.
//!
//! # Example
//! ```
//! use franking_core::{Code, Failure, Record, testing::{Answer, Scripted, send}};
//! use franking_middleware::retry::RetryLayer;
//! use tower_layer::Layer;
//!
//! let engine = Scripted::new();
//! let retry = RetryLayer::new();
//! let stats = retry.stats();
//! let mut stack = retry.layer(engine.clone());
//!
//! engine.script(Answer::fail(Failure::new(Code::TimedOut).transient(true)));
//! send(&mut stack, Record::new("orders").value("{}"))?;
//!
//! assert_eq!((engine.calls(), engine.stored().len()), (2, 1));
//! assert_eq!((stats.retries(), stats.gave_up()), (1, 0));
//! # Ok::<(), franking_core::SendError>(())
//! ```
//!
//! # What is retried
//! A failure that says both *not persisted* and *transient*, whatever its code. What engines say so of:
//!
//! | code | retried | why |
//! |---|---|---|
//! | `TIMED_OUT`, not persisted | yes | it waited in the queue and was never sent |
//! | `KAFKA_STORAGE_ERROR`, `NOT_ENOUGH_REPLICAS`, `LEADER_NOT_AVAILABLE`, `NOT_LEADER_OR_FOLLOWER`, `INVALID_MSG` (a checksum) | yes | the broker rejected it, and the engine's `retries` are used up; the cluster may have recovered |
//! | `UNKNOWN_TOPIC_OR_PARTITION` | yes, if the engine calls it transient | a topic may be about to appear |
//! | `DROPPED` | yes | a layer between retry and engine shed it |
//! | `TIMED_OUT`, unknown; `REQUEST_TIMED_OUT`, `NOT_ENOUGH_REPLICAS_AFTER_APPEND`, `OUT_OF_ORDER_SEQUENCE_NUMBER`, a lost connection with the record on its way | **never** | it may be in the topic: a new record has a new sequence number, and no idempotence removes the duplicate. There is no setting for it |
//! | `RECORD_TOO_LARGE`, `AUTHORIZATION`, `AUTHENTICATION`, `INVALID_RECORD`, `SERIALIZATION`, `REFUSED` | no | it fails again |
//! | `FATAL`, `CLOSED` | no | there is nothing to send it with |
//!
//! # How
//! - At most 3 attempts, the first one among them ([`max_attempts`](RetryLayer::max_attempts)).
//! - A wait of 100 ms to 1 s before each (Kafka's `retry.backoff.ms`, `retry.backoff.max.ms`) with decorrelated jitter:
//!   at random between the shortest and three times the last, so that what failed together does not return together.
//! - No resend starts later than 120 s after the first failure ([`deadline`](RetryLayer::deadline)). The engine then
//!   has its own `delivery.timeout.ms` for it, so the outcome may come later.
//! - A budget ([`budget`](RetryLayer::budget)): of the last 10 s, 20 % of the sends and 10 a second. When everything
//!   fails, a limit of attempts alone would triple the load on a cluster that is down; a budget adds a fifth.
//! - Whoever waits for the record waits on, and hears the final outcome, as do layers outside of this one; those inside
//!   hear each attempt. Nobody has to wait: a dropped future changes nothing. A record keeps its room in the buffer and
//!   its headers, `prov-id` among them, if they were stamped outside of this layer.
//! - When the producer's time to close is over, what waits is given up at once, with the failure it had.
//!
//! # Order
//! **A record that is sent again may stand behind records that were sent after it**, of its own key too: those were
//! queued or acknowledged already when it failed. Nothing here holds them back or gives up the retry for their sake.
//! Where the order of a key matters more than a record, leave the layer out, or set one attempt; the engine's own
//! retries keep order.
//!
//! # Runtime
//! Waits run on the tokio runtime in which [`RetryLayer::new`] was called ([`RetryLayer::runtime`] names another); it
//! must have its timer. Without one, a thread `franking-retry` with a small runtime of its own is started at the first
//! retry, one for the process. A `current_thread` runtime only works while somebody is in its `block_on`: whoever
//! blocks its thread for the outcome of a send waits for ever. If the runtime shuts down, what waits there ends with
//! the failure it had.
//!
//! # Cost
//! No allocation for a record that succeeds, and about 25 ns: a reference count up and down, and a counter. A retry is
//! a task and an allocation for its history. Tower's `TpsBudget` is not used here: it takes a lock and the time for every send (35
//! ns); this one counts sends and does the rest when something failed.

mod backoff;
mod budget;
mod runtime;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use franking_core::{
    Failed, Persistence, Produce, Record, RecordMetadata, Recover, SendError, Shares,
};
use tokio::{runtime::Handle, time::Instant};
use tower_layer::Layer;
use tower_service::Service;

use self::{backoff::Backoff, budget::Budget, runtime::Runtime};

/// Sends failed records again. See the [module's documentation](self).
///
/// Every service made from one layer, or from its clones, has its budget and its statistics in common.
#[derive(Clone, Debug)]
pub struct RetryLayer {
    policy: Policy,
    common: Arc<Common>,
    runtime: Runtime,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    max_attempts: u32,
    deadline: Duration,
    backoff: Backoff,
}

#[derive(Debug)]
struct Common {
    budget: Budget,
    stats: RetryStats,
}

impl RetryLayer {
    /// With the defaults above, on the current tokio runtime if there is one.
    pub fn new() -> Self {
        Self {
            policy: Policy {
                max_attempts: 3,
                deadline: Duration::from_secs(120),
                backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
            },
            common: Arc::new(Common {
                budget: Budget::new(0.2, 10),
                stats: RetryStats::default(),
            }),
            runtime: Runtime::current(),
        }
    }

    /// How often a record is sent at most, the first time among them. With 1, or 0, nothing is sent again.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.policy.max_attempts = attempts;
        self
    }

    /// The shortest and the longest wait before a resend.
    pub fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.policy.backoff = Backoff::new(shortest, longest);
        self
    }

    /// How long after the first failure a resend may start.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.policy.deadline = deadline;
        self
    }

    /// Which part of the sends of the last 10 s may be sent again, and how many a second beside them. Statistics begin
    /// anew.
    pub fn budget(mut self, ratio: f64, per_second: u32) -> Self {
        self.common = Arc::new(Common {
            budget: Budget::new(ratio, per_second),
            stats: RetryStats::default(),
        });
        self
    }

    /// The runtime to wait on.
    pub fn runtime(mut self, handle: Handle) -> Self {
        self.runtime = Runtime::on(handle);
        self
    }

    /// How much was retried; it counts on while it is kept.
    pub fn stats(&self) -> RetryStats {
        self.common.stats.clone()
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            shared: Shares::of(Arc::new(Shared {
                service: Mutex::new(inner.clone()),
                policy: self.policy,
                common: Arc::clone(&self.common),
                runtime: self.runtime.clone(),
            })),
            inner,
        }
    }
}

/// How much was retried. A clone looks at the same numbers.
#[derive(Clone, Debug, Default)]
pub struct RetryStats(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    retries: AtomicU64,
    gave_up: AtomicU64,
    over_budget: AtomicU64,
}

impl RetryStats {
    /// Resends.
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Records that could have been sent again and were not: for the limit of attempts, the deadline, the budget, the
    /// producer's close, or the end of the runtime.
    pub fn gave_up(&self) -> u64 {
        self.0.gave_up.load(Ordering::Relaxed)
    }

    /// Those of them that were given up for the budget: many say that the cluster is down, not one record unlucky.
    pub fn over_budget(&self) -> u64 {
        self.0.over_budget.load(Ordering::Relaxed)
    }
}

/// A service with retries around it; made by [`RetryLayer`].
pub struct Retry<S> {
    inner: S,
    shared: Shares<Shared<S>>,
}

impl<S: Clone> Clone for Retry<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("policy", &self.shared.all().policy)
            .finish_non_exhaustive()
    }
}

impl<S: Produce + Clone + Send + 'static> Service<Record> for Retry<S> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        let shared = self.shared.all();
        if shared.policy.max_attempts > 1 {
            shared.common.budget.sent();
            record.push_recover(self.shared.share());
        }
        self.inner.call(record)
    }
}

/// What resends need; it stands on every record as its recoverer.
struct Shared<S> {
    /// For resends. Cloned for each, so that no lock is held while it sends: hooks and recoverers may run in there.
    service: Mutex<S>,
    policy: Policy,
    common: Arc<Common>,
    runtime: Runtime,
}

impl<S: Produce + Clone + Send + 'static> Recover for Shared<S> {
    fn recover(self: Arc<Self>, failed: Failed) {
        self.again(failed, None);
    }
}

/// What is known of a record that was sent again.
#[derive(Clone, Copy)]
struct History {
    /// Resends so far.
    resends: u32,
    first_failure: Instant,
    last_wait: Duration,
}

/// Stands on a record that was sent again, for its next failure.
struct Resent<S> {
    shared: Arc<Shared<S>>,
    history: History,
}

impl<S: Produce + Clone + Send + 'static> Recover for Resent<S> {
    fn recover(self: Arc<Self>, failed: Failed) {
        Arc::clone(&self.shared).again(failed, Some(self.history));
    }
}

impl<S: Produce + Clone + Send + 'static> Shared<S> {
    /// Runs on the thread that settles records, so what waits or sends is left to a task.
    fn again(self: Arc<Self>, failed: Failed, history: Option<History>) {
        let failure = failed.failure();
        let may = failure.persistence() == Persistence::NotPersisted && failure.is_transient();
        if !may {
            return failed.decline();
        }
        let held = Held::new(failed, &self.common.stats);
        let attempts = 1 + history.map_or(0, |history| history.resends);
        if attempts >= self.policy.max_attempts {
            return;
        }
        let Some(runtime) = self.runtime.handle() else {
            return;
        };
        // For the runtime's own idea of now, which may be a paused one.
        let _entered = runtime.enter();
        let now = Instant::now();
        let first_failure = history.map_or(now, |history| history.first_failure);
        let wait = self
            .policy
            .backoff
            .next(history.map(|history| history.last_wait));
        let history = History {
            resends: attempts,
            first_failure,
            last_wait: wait,
        };
        let starts = now.duration_since(first_failure).saturating_add(wait);
        if starts > self.policy.deadline {
            return;
        }
        if !self.common.budget.withdraw(now) {
            return held.over_budget();
        }
        runtime.spawn(self.resend(held, history));
    }

    async fn resend(self: Arc<Self>, held: Held, history: History) {
        let closing = held.failed().closing();
        let closed = tokio::time::timeout(history.last_wait, closing).await;
        // A timer may come late, as on a machine that was asleep.
        if closed.is_ok() || history.first_failure.elapsed() > self.policy.deadline {
            return;
        }
        let mut service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let recover = Resent {
            shared: self,
            history,
        };
        held.resend(&mut service, recover);
    }
}

/// A failed record that could be sent again. Dropped, as when its runtime shuts down, it is given up and counted.
struct Held {
    failed: Option<Failed>,
    stats: RetryStats,
}

impl Held {
    fn new(failed: Failed, stats: &RetryStats) -> Self {
        Self {
            failed: Some(failed),
            stats: stats.clone(),
        }
    }

    fn failed(&self) -> &Failed {
        // Empty only within the methods that consume it.
        self.failed
            .as_ref()
            .expect("a held record is held until it is consumed")
    }

    fn over_budget(self) {
        self.stats.0.over_budget.fetch_add(1, Ordering::Relaxed);
    }

    fn resend<S: Produce + Clone + Send + 'static>(mut self, service: &mut S, recover: Resent<S>) {
        if let Some(failed) = self.failed.take() {
            self.stats.0.retries.fetch_add(1, Ordering::Relaxed);
            failed.resend(service, Some(Arc::new(recover)));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            // Before anybody hears of it.
            self.stats.0.gave_up.fetch_add(1, Ordering::Relaxed);
            failed.decline();
        }
    }
}

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
//! - Before each a wait with full jitter ([`backoff`](RetryLayer::backoff)): at random between nothing and 100 ms, then
//!   200 ms, doubling up to 1 s (Kafka's `retry.backoff.ms` and `retry.backoff.max.ms`), so that what failed together
//!   does not return together. One that fails behind a waiting one of its key waits for that one too.
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
//! Nothing holds back the records that are sent after one that failed: they are queued or stored already, or will be
//! before it is sent again. So a resend comes behind them. By default ([`Order::Keep`]) that is not done where it
//! matters: **a record is not sent again once a later one of its key went in**, unless that one came back as not
//! persisted too. It fails instead; [`why_declined`](franking_core::Failure::why_declined) and the error's text say so,
//! and [`RetryStats::overtaken`] counts it. What is stored of a key is in the order of its sends.
//!
//! - Records that name their partition are compared with those that name the same, whatever their keys. Those with
//!   neither key nor partition are compared with all such records of their topic: any two may meet in one partition. So
//!   in a topic that is sent to without keys, little is sent again while it is busy.
//! - Records of different keys are not compared, though they may share a partition: the partitioner decides behind this
//!   layer. A resend may come behind those of other keys.
//! - What fails together, mostly a batch, waits together, and goes in its order. If a record fails again and a later one
//!   of its key did not, it is left behind; a later one that still waits, waits for it.
//! - Whether a later one went in is decided when the wait is over, for by then it may have failed as well.
//! - The last 65,536 sends are remembered, in 512 KiB. A record that failed longer ago than that is not sent again.
//!
//! [`order`](RetryLayer::order)`(`[`Order::GiveUp`]`)` sends again whatever comes between. More records arrive, and one may
//! stand behind later ones of its own key: a reader that keeps the latest state of a key then keeps an old one.
//!
//! The module `order` in the source says what can be known of other records here, and how.
//!
//! # Runtime
//! Waits run on the tokio runtime in which [`RetryLayer::new`] was called ([`RetryLayer::runtime`] names another); it
//! must have its timer. Without one, a thread `franking-retry` with a small runtime of its own is started at the first
//! retry, one for the process. A `current_thread` runtime only works while somebody is in its `block_on`: whoever
//! blocks its thread for the outcome of a send waits for ever. If the runtime shuts down, what waits there ends with
//! the failure it had.
//!
//! # Cost
//! No allocation for a record that succeeds, and no lock: a reference count up and down, a counter, a hash of topic and
//! key, and a store. A retry is a task and an allocation for its history. Tower's `TpsBudget` is not used here: it takes
//! a lock and the time for every send (35 ns); this one counts sends and does the rest when something failed.

mod backoff;
mod budget;
#[cfg(all(test, loom))]
mod model;
mod order;
mod runtime;
mod stats;
mod sync;
mod waiting;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use franking_core::{
    Failed, Persistence, Produce, Record, RecordMetadata, Recover, SendError, Shares,
};
use tokio::{runtime::Handle, time::Instant};
use tower_layer::Layer;
use tower_service::Service;

use self::{
    backoff::Backoff,
    budget::Budget,
    order::{Lane, Sends},
    runtime::Runtime,
    waiting::{Held, History, Waiter, Waiting},
};
pub use self::{order::Order, stats::RetryStats};

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
    order: Order,
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
                order: Order::default(),
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

    /// The most to wait before the first resend of a record, and before any: the former doubles from one resend to the
    /// next, and the wait itself is at random between nothing and that.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.policy.backoff = Backoff::new(first, longest);
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

    /// What to do where a resend would come behind later records.
    pub fn order(mut self, order: Order) -> Self {
        self.policy.order = order;
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
                sends: Sends::new(self.policy.order),
                waiting: Waiting::default(),
            })),
            inner,
        }
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
            let ticket = shared.sends.note(&record);
            record.push_recover_with(self.shared.share(), ticket);
        }
        self.inner.call(record)
    }
}

/// What resends need; it stands on every record as its recoverer.
struct Shared<S> {
    /// For resends. Cloned for them, so that no lock is held while it sends: hooks and recoverers may run in there.
    service: Mutex<S>,
    policy: Policy,
    common: Arc<Common>,
    runtime: Runtime,
    sends: Sends,
    waiting: Waiting,
}

impl<S: Produce + Clone + Send + 'static> Recover for Shared<S> {
    fn recover(self: Arc<Self>, failed: Failed) {
        self.again(failed, None);
    }
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
        if failure.persistence() != Persistence::NotPersisted {
            return failed.decline();
        }
        // Also of what is not sent again: it stands in nobody's way.
        let place = self.sends.strike_out(failed.ticket());
        if !failure.is_transient() {
            return failed.decline();
        }
        let held = Held::new(failed, &self.common.stats);
        let attempts = 1 + history.map_or(0, |history| history.resends);
        if attempts >= self.policy.max_attempts {
            return;
        }
        let Some(place) = place else {
            return held.overtaken();
        };
        let Some(runtime) = self.runtime.handle() else {
            return;
        };
        // For the runtime's own idea of now, which may be a paused one.
        let entered = runtime.enter();
        let now = Instant::now();
        let mut due = now + self.policy.backoff.wait(attempts);
        if let Some(last) = self.waiting.last_due(place.lane) {
            due = due.max(last);
        }
        let history = History {
            resends: attempts,
            first_failure: history.map_or(now, |history| history.first_failure),
        };
        if due.duration_since(history.first_failure) > self.policy.deadline {
            return;
        }
        if !self.common.budget.withdraw(now, self.sends.news()) {
            return held.over_budget();
        }
        let waiter = Waiter {
            place,
            due,
            history,
            held,
        };
        if self.waiting.push(waiter) {
            let caretaker = Caretaker {
                shared: Arc::clone(&self),
                lane: place.lane,
            };
            runtime.spawn(caretaker.take_care());
        }
        drop(entered);
    }

    /// Sends those of a lane again who are due; `false` if that must wait for another lane.
    fn resend_due(self: &Arc<Self>, lane: Lane) -> bool {
        let Some(resending) = self.sends.resend(lane) else {
            return false;
        };
        let mut late = vec![];
        let mut overtaken = vec![];
        let due = self.waiting.take_due(lane, Instant::now());
        let keep = self.policy.order == Order::Keep;
        let latest = match due.first() {
            Some(first) if keep => resending.latest_behind(first.place.number),
            _ => 0,
        };
        let mut service = self
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for Waiter {
            place,
            history,
            held,
            ..
        } in due
        {
            if history.first_failure.elapsed() > self.policy.deadline {
                // A timer may come late, as on a machine that was asleep.
                late.push(held);
            } else if keep && (place.number < latest || !resending.write_back(place.number)) {
                overtaken.push(held);
            } else {
                let shared = Arc::clone(self);
                held.resend(&mut service, Resent { shared, history });
            }
        }
        // Before anybody hears of the others: senders of this lane wait.
        drop(resending);
        drop(late);
        overtaken.into_iter().for_each(Held::overtaken);
        true
    }
}

/// How long to wait for another lane's turn, which takes microseconds.
const TURN: Duration = Duration::from_millis(1);

/// Looks after the records of one lane until none waits. Dropped earlier, as when the runtime shuts down, it gives them
/// up.
struct Caretaker<S> {
    shared: Arc<Shared<S>>,
    lane: Lane,
}

impl<S: Produce + Clone + Send + 'static> Caretaker<S> {
    async fn take_care(self) {
        while let Some((due, closing)) = self.shared.waiting.first(self.lane) {
            if tokio::time::timeout_at(due, closing).await.is_ok() {
                return;
            }
            while !self.shared.resend_due(self.lane) {
                tokio::time::sleep(TURN).await;
            }
        }
        self.leave();
    }

    /// The lane has ended. One of its number may have begun, and has its own.
    fn leave(mut self) {
        self.lane = Lane::NONE;
    }
}

impl<S> Drop for Caretaker<S> {
    fn drop(&mut self) {
        drop(self.shared.waiting.take_all(self.lane));
    }
}

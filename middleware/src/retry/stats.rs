//! How much was retried.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How much was retried. A clone looks at the same numbers.
#[derive(Clone, Debug, Default)]
pub struct RetryStats(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    retries: AtomicU64,
    gave_up: AtomicU64,
    over_budget: AtomicU64,
    overtaken: AtomicU64,
}

impl RetryStats {
    /// Resends.
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Relaxed)
    }

    /// Records that could have been sent again and were not: for the limit of attempts, the deadline, the budget, the
    /// order of records, the producer's close, or the end of the runtime.
    pub fn gave_up(&self) -> u64 {
        self.0.gave_up.load(Relaxed)
    }

    /// Those of them that were given up for the budget: many say that the cluster is down, not one record unlucky.
    pub fn over_budget(&self) -> u64 {
        self.0.over_budget.load(Relaxed)
    }

    /// Those of them that would have come behind a later record of their key or partition
    /// ([`Order::Keep`](super::Order::Keep)).
    pub fn overtaken(&self) -> u64 {
        self.0.overtaken.load(Relaxed)
    }

    pub(super) fn count_retry(&self) {
        self.0.retries.fetch_add(1, Relaxed);
    }

    pub(super) fn count_gave_up(&self) {
        self.0.gave_up.fetch_add(1, Relaxed);
    }

    pub(super) fn count_over_budget(&self) {
        self.0.over_budget.fetch_add(1, Relaxed);
    }

    pub(super) fn count_overtaken(&self) {
        self.0.overtaken.fetch_add(1, Relaxed);
        self.count_gave_up();
    }
}

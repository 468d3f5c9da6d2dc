//! How many resends the cluster can be asked to bear.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Over how long sends earn resends.
const WINDOW: Duration = Duration::from_secs(10);

/// Resends at most a part of the sends, and some a second, over the last seconds.
///
/// Sends are only counted. What they have earned is worked out when something failed: from the sends since the last
/// failure, as if they had come evenly. What is older fades.
#[derive(Debug)]
pub(super) struct Budget {
    ratio: f64,
    /// What may be overdrawn: the resends a second that need no sends, over the window.
    reserve: f64,
    sent: AtomicU64,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// Earned and not spent; below zero it is the reserve that was spent.
    balance: f64,
    sent: u64,
    at: Option<Instant>,
}

impl Budget {
    pub(super) fn new(ratio: f64, per_second: u32) -> Self {
        Self {
            // Finite, or nothing times it would be no number.
            ratio: ratio.clamp(0.0, 1e9),
            reserve: f64::from(per_second) * WINDOW.as_secs_f64(),
            sent: AtomicU64::new(0),
            account: Mutex::default(),
        }
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Pays for one resend; false if there is nothing left.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.sent.load(Ordering::Relaxed);
        let new = sent.saturating_sub(account.sent) as f64;
        let elapsed = account
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // In windows; above 1, only that part of the sends counts which lies in the last one.
        let elapsed = elapsed.as_secs_f64() / WINDOW.as_secs_f64();
        account.balance *= (1.0 - elapsed).max(0.0);
        account.balance += self.ratio * new / elapsed.max(1.0);
        account.sent = sent;
        account.at = Some(now);
        let may = account.balance + self.reserve >= 1.0;
        if may {
            account.balance -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &Budget, now: Instant) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(now)).count()
    }

    fn send(budget: &Budget, records: usize) {
        (0..records).for_each(|_| budget.sent());
    }

    #[test]
    fn without_a_limit_everything_may_be_sent_again() {
        let budget = Budget::new(f64::INFINITY, 0);
        let start = Instant::now();
        send(&budget, 10);
        assert!(budget.withdraw(start));
        assert!(budget.withdraw(start));
    }

    #[test]
    fn a_part_of_the_sends_and_the_reserve() {
        let start = Instant::now();
        let budget = Budget::new(0.2, 10);
        send(&budget, 1000);
        assert_eq!(spend(&budget, start), 200 + 100);
        assert_eq!(spend(&budget, start), 0);
        send(&budget, 10);
        assert_eq!(spend(&budget, start), 2);
        // The reserve comes back within the window.
        assert_eq!(spend(&budget, start + WINDOW / 2), 50);
        assert_eq!(spend(&budget, start + WINDOW * 2), 100);
    }

    #[test]
    fn what_was_sent_long_ago_earns_nothing() {
        let start = Instant::now();
        let budget = Budget::new(0.5, 1);
        assert!(budget.withdraw(start));
        send(&budget, 10_000);
        // Over 100 s: 1,000 of them in the last ten.
        assert_eq!(spend(&budget, start + WINDOW * 10), 500 + 10);
    }

    #[test]
    fn none_is_none() {
        let budget = Budget::new(0.0, 0);
        send(&budget, 1000);
        assert_eq!(spend(&budget, Instant::now()), 0);
    }
}

//! How many resends the cluster can be asked to bear.

use std::{
    sync::{Mutex, PoisonError},
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
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// Earned and not spent; below zero it is the reserve that was spent.
    balance: f64,
    at: Option<Instant>,
}

impl Budget {
    pub(super) fn new(ratio: f64, per_second: u32) -> Self {
        Self {
            // Finite, or nothing times it would be no number.
            ratio: ratio.clamp(0.0, 1e9),
            reserve: f64::from(per_second) * WINDOW.as_secs_f64(),
            account: Mutex::default(),
        }
    }

    /// Pays for one resend, after so many sends since the last time; false if there is nothing left.
    pub(super) fn withdraw(&self, now: Instant, sent: u64) -> bool {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = account
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // In windows; above 1, only that part of the sends counts which lies in the last one.
        let elapsed = elapsed.as_secs_f64() / WINDOW.as_secs_f64();
        account.balance *= (1.0 - elapsed).max(0.0);
        account.balance += self.ratio * sent as f64 / elapsed.max(1.0);
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

    /// How many resends there may be after so many sends.
    fn spend(budget: &Budget, now: Instant, sent: u64) -> usize {
        let mut sent = Some(sent);
        (0..100_000)
            .take_while(|_| budget.withdraw(now, sent.take().unwrap_or(0)))
            .count()
    }

    #[test]
    fn without_a_limit_everything_may_be_sent_again() {
        let budget = Budget::new(f64::INFINITY, 0);
        let start = Instant::now();
        assert!(budget.withdraw(start, 10));
        assert!(budget.withdraw(start, 0));
    }

    #[test]
    fn a_part_of_the_sends_and_the_reserve() {
        let start = Instant::now();
        let budget = Budget::new(0.2, 10);
        assert_eq!(spend(&budget, start, 1000), 200 + 100);
        assert_eq!(spend(&budget, start, 0), 0);
        assert_eq!(spend(&budget, start, 10), 2);
        // The reserve comes back within the window.
        assert_eq!(spend(&budget, start + WINDOW / 2, 0), 50);
        assert_eq!(spend(&budget, start + WINDOW * 2, 0), 100);
    }

    #[test]
    fn what_was_sent_long_ago_earns_nothing() {
        let start = Instant::now();
        let budget = Budget::new(0.5, 1);
        assert!(budget.withdraw(start, 0));
        // Over 100 s: 1,000 of them in the last ten.
        assert_eq!(spend(&budget, start + WINDOW * 10, 10_000), 500 + 10);
    }

    #[test]
    fn none_is_none() {
        let budget = Budget::new(0.0, 0);
        assert_eq!(spend(&budget, Instant::now(), 1000), 0);
    }
}

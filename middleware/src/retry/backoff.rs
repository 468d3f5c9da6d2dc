//! How long to wait before a resend.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Exponential, with decorrelated jitter: each wait is at random between the shortest and three times the last, and
/// never above the longest. Full jitter spreads as well, but also waits not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest: longest.max(shortest),
        }
    }

    pub(super) fn shortest(&self) -> Duration {
        self.shortest
    }

    /// The wait after this one; `None` before the first.
    pub(super) fn next(&self, last: Option<Duration>) -> Duration {
        let last = last.unwrap_or(self.shortest);
        let most = last.saturating_mul(3).clamp(self.shortest, self.longest);
        self.shortest + (most - self.shortest).mul_f64(random())
    }
}

/// From 0 to below 1. A hasher's keys differ each time and cost nothing that matters on the way of a failure.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_spread_and_grow() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let firsts: Vec<_> = (0..1000).map(|_| backoff.next(None)).collect();
        assert!(firsts.iter().any(|wait| *wait < Duration::from_millis(120)));
        assert!(firsts.iter().any(|wait| *wait > Duration::from_millis(280)));
        let later = (0..1000).map(|_| backoff.next(Some(Duration::from_secs(1))));
        assert!(later.max() > Some(Duration::from_millis(900)));
    }

    proptest! {
        #[test]
        fn waits_keep_their_bounds(shortest: u32, longest: u32, last: Option<u32>) {
            let millis = |n: u32| Duration::from_millis(n.into());
            let wait = Backoff::new(millis(shortest), millis(longest)).next(last.map(millis));
            prop_assert!(wait >= millis(shortest));
            prop_assert!(wait <= millis(longest.max(shortest)));
        }
    }
}

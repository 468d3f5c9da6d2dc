//! How long to wait before a resend.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Exponential, with full jitter: each wait is at random between nothing and a ceiling, which doubles from one resend
/// to the next up to the longest. What failed together is spread over the whole of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest: longest.max(first),
        }
    }

    /// The wait before this resend of a record; its first is 1.
    pub(super) fn wait(&self, resend: u32) -> Duration {
        let doublings = resend.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings);
        ceiling.min(self.longest).mul_f64(random())
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
        for (resend, ceiling) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1000),
            (99, 1000),
        ] {
            let ceiling = Duration::from_millis(ceiling);
            let waits: Vec<_> = (0..1000).map(|_| backoff.wait(resend)).collect();
            assert!(waits.iter().any(|wait| *wait < ceiling / 10), "{resend}");
            assert!(
                waits.iter().any(|wait| *wait > ceiling / 10 * 9),
                "{resend}"
            );
        }
    }

    proptest! {
        #[test]
        fn waits_keep_their_bounds(first: u32, longest: u32, resend: u32) {
            let millis = |n: u32| Duration::from_millis(n.into());
            let wait = Backoff::new(millis(first), millis(longest)).wait(resend);
            prop_assert!(wait <= millis(longest.max(first)));
        }
    }
}

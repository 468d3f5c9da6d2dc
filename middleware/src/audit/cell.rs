//! The counters that every record touches.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::latency::Counting;

/// Tallies of a cell; the last is that of attempts.
pub(super) const COLUMNS: usize = 6;

const BYTES: u32 = 40;
const BYTES_MASK: u64 = (1 << BYTES) - 1;
/// The highest bit of each part. Who sets one carries the tally over, long before the other half of the part is used
/// up: that would take 128 records of 4 GiB, or 8 million others, meanwhile.
const NEARLY_FULL: u64 = 1 << 63 | 1 << (BYTES - 1);

/// Records (24 bits) and a sum (40 bits: their bytes, or microseconds) in one word: one atomic addition instead of two, and
/// never one without the other. What does not fit is carried over to the ledger.
#[derive(Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a record; true if the tally must be carried over.
    pub(super) fn add(&self, len: u32) -> bool {
        let one = (1 << BYTES) + u64::from(len);
        // Sequentially consistent, for `Cell::is_still`. An outcome's addition also publishes the attempt's.
        let before = self.0.fetch_add(one, Ordering::SeqCst);
        before.wrapping_add(one) & NEARLY_FULL != 0
    }

    pub(super) fn read(&self) -> (u64, u64) {
        parts(self.0.load(Ordering::SeqCst))
    }

    /// Empties it. Only under the ledger's lock, under which its readers are.
    pub(super) fn take(&self) -> (u64, u64) {
        parts(self.0.swap(0, Ordering::SeqCst))
    }
}

fn parts(word: u64) -> (u64, u64) {
    (word >> BYTES, word & BYTES_MASK)
}

/// The balance of one bucket. Senders and the engine's thread write to cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Cell {
    generation: AtomicU64,
    pub(super) attempted: Tally,
    settled: Settled,
}

#[derive(Default)]
#[repr(align(64))]
pub(super) struct Settled {
    pub(super) delivered: Tally,
    pub(super) not_persisted: Tally,
    pub(super) unknown: Tally,
    pub(super) retried: Tally,
    pub(super) refused: Tally,
    /// Made when the cell is used first: of 1,024 cells mostly a few are.
    latency: OnceLock<Box<Counting>>,
}

impl std::ops::Deref for Cell {
    type Target = Settled;

    fn deref(&self) -> &Settled {
        &self.settled
    }
}

impl Cell {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Whether what was just counted here counts for the bucket that the generation stood for.
    ///
    /// A sender counts, then looks at the generation; who closes the bucket changes the generation, then looks at the
    /// count. In the one order of these four at least one sees the other: so no record is lost, and none is counted in
    /// another bucket.
    pub(super) fn is_still(&self, generation: u64) -> bool {
        self.generation() == generation
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// What is settled first: so no reader sees an outcome without its attempt. See [`COLUMNS`].
    pub(super) fn tallies(&self) -> [&Tally; COLUMNS] {
        [
            &self.delivered,
            &self.not_persisted,
            &self.unknown,
            &self.retried,
            &self.refused,
            &self.attempted,
        ]
    }

    pub(super) fn latency(&self) -> &Counting {
        self.settled.latency.get_or_init(Box::default)
    }

    /// The latencies, if there are any.
    pub(super) fn known_latency(&self) -> Option<&Counting> {
        self.settled.latency.get().map(|counting| &**counting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_says_when_it_is_nearly_full() {
        let tally = Tally::default();
        for _ in 0..(1 << 23) - 1 {
            assert!(!tally.add(1));
        }
        assert!(tally.add(1));
        assert_eq!(tally.take(), (1 << 23, 1 << 23));
        for _ in 0..128 {
            assert!(!tally.add(u32::MAX));
        }
        assert!(tally.add(u32::MAX));
        assert_eq!(tally.read(), (129, 129 * u64::from(u32::MAX)));
    }

    #[test]
    fn a_cell_fills_two_cache_lines() {
        assert_eq!(size_of::<Cell>(), 128);
    }
}

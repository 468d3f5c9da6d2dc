//! How long acknowledgements took: a histogram of fixed size, with eight steps to each doubling.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::cell::Tally;

/// Below this many microseconds each has a slot of its own; above it, each doubling has half as many.
const EXACT: u32 = 16;
/// Up to a minute and some: 2^26 µs.
const DOUBLINGS: u32 = 22;
/// The last one takes what is longer.
const SLOTS: usize = (EXACT + DOUBLINGS * EXACT / 2) as usize + 1;

/// How long the acknowledgements of a bucket took.
///
/// Percentiles come from slots that are at most an eighth wide, and name a slot's upper end: up to an eighth too much,
/// never too little. Mean and maximum are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// The mean.
    pub mean: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Where outcomes count. A slot holds a count and a sum of microseconds in one word, so that a record costs one addition.
pub(super) struct Counting {
    slots: [Tally; SLOTS],
    max: AtomicU32,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            slots: [const { Tally::new() }; SLOTS],
            max: AtomicU32::new(0),
        }
    }
}

impl Counting {
    /// Counts one; true if it must be carried over.
    pub(super) fn add(&self, took: Duration) -> bool {
        let micros = took
            .as_secs()
            .saturating_mul(1_000_000)
            .saturating_add(u64::from(took.subsec_micros()));
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        // Mostly it is no new maximum, and nothing is written.
        if micros > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(micros, Ordering::Relaxed);
        }
        self.slots[slot(micros)].add(micros)
    }

    pub(super) fn read(&self) -> Histogram {
        self.each(Tally::read, self.max.load(Ordering::Relaxed))
    }

    /// Empties it. Only under the ledger's lock.
    pub(super) fn take(&self) -> Histogram {
        self.each(Tally::take, self.max.swap(0, Ordering::Relaxed))
    }

    fn each(&self, read: fn(&Tally) -> (u64, u64), max: u32) -> Histogram {
        let mut histogram = Histogram {
            max,
            ..Histogram::default()
        };
        for (sum, slot) in histogram.counts.iter_mut().zip(&self.slots) {
            let (records, micros) = read(slot);
            *sum = records;
            histogram.micros += micros;
        }
        histogram
    }
}

/// What was counted.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    micros: u64,
    max: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; SLOTS].into(),
            micros: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, other: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.micros += other.micros;
        self.max = self.max.max(other.max);
    }

    pub(super) fn summary(&self) -> Latency {
        let records: u64 = self.counts.iter().sum();
        if records == 0 {
            return Latency::default();
        }
        Latency {
            mean: Duration::from_micros(self.micros / records),
            p95: self.percentile(records, 95),
            p99: self.percentile(records, 99),
            max: Duration::from_micros(self.max.into()),
        }
    }

    fn percentile(&self, records: u64, percent: u64) -> Duration {
        let rank = (u128::from(records) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        let end = found.map_or(self.max, upper_end);
        Duration::from_micros(end.min(self.max).into())
    }
}

fn slot(micros: u32) -> usize {
    if micros < EXACT {
        return micros as usize;
    }
    let exponent = micros.ilog2();
    // The three bits below the highest.
    let step = (micros >> (exponent - 3)) & 7;
    let slot = EXACT + (exponent - 4) * (EXACT / 2) + step;
    (slot as usize).min(SLOTS - 1)
}

/// The longest that a slot takes.
fn upper_end(slot: usize) -> u32 {
    let slot = slot as u32;
    if slot < EXACT {
        return slot;
    }
    if slot as usize == SLOTS - 1 {
        return u32::MAX;
    }
    let exponent = (slot - EXACT) / (EXACT / 2) + 4;
    let step = (slot - EXACT) % (EXACT / 2);
    (1 << exponent) + ((step + 1) << (exponent - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_order_and_an_eighth_wide() {
        let mut last = 0;
        for micros in (0..200_000).chain([1 << 26, (1 << 26) + 1, u32::MAX]) {
            let slot = slot(micros);
            assert!(
                slot == last || slot == last + 1 || micros > 200_000,
                "{micros}"
            );
            assert!(upper_end(slot) >= micros, "{micros}");
            if micros < 1 << 26 {
                assert!(upper_end(slot) - micros <= micros / 8, "{micros}");
            }
            last = slot;
        }
        assert_eq!(last, SLOTS - 1);
    }

    #[test]
    fn percentiles_are_near_the_truth() {
        let counting = Counting::default();
        let millis = Duration::from_millis;
        for n in 1..=1000 {
            assert!(!counting.add(millis(n)));
        }
        let told = counting.read().summary();
        assert_eq!(told.mean, Duration::from_micros(500_500));
        assert_eq!(told.max, millis(1000));
        assert!((millis(950)..=millis(1069)).contains(&told.p95), "{told:?}");
        assert!((millis(990)..=millis(1000)).contains(&told.p99), "{told:?}");

        // Longer than the histogram reaches, and longer than a slot's sum can say.
        counting.add(Duration::from_secs(7200));
        let told = counting.take().summary();
        assert_eq!(told.max, Duration::from_micros(u32::MAX.into()));
        assert_eq!(counting.read().summary(), Latency::default());
    }

    #[test]
    fn histograms_add_up() {
        let counting = Counting::default();
        counting.add(Duration::from_micros(3));
        let mut sum = counting.take();
        counting.add(Duration::from_micros(5));
        sum.add(&counting.read());
        let told = sum.summary();
        assert_eq!(told.mean, Duration::from_micros(4));
        assert_eq!((told.p95, told.max), (told.max, Duration::from_micros(5)));
    }
}

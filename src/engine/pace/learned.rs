//! How many records keep the brokers busy, as their acknowledgements show.
//!
//! - **By Little's law** a queue that holds `n` records which take the time `t` moves `n / t` of them in a second. Twice
//!   as many as are on their way at that rate in the time that a record takes *with few before it* leave no gap. It is
//!   BBR's rule for the bytes of a connection.
//! - **Few** are 2,048, and 512 more for each partition in use: with less, batches would be small.
//! - **Far brokers**, and slow ones, set no limit (25 ms for a record with few before it): beside the way there, the wait
//!   in the queue is nothing.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::micros;

/// So many records may always be outstanding, with [`FEW_IN_PARTITION`] for each partition. A record takes about a kilobyte
/// in all, so those of some partitions stay in a processor's cache.
pub(super) const FEW: usize = 2048;

/// What lets a partition have batches of some hundred records: with 4,096 for 300 partitions, 13 for each, half as many
/// records came through.
pub(super) const FEW_IN_PARTITION: usize = 512;

/// A record that is alone is not expected back before this: `linger.ms` and a round trip within a region.
const NEAR: Duration = Duration::from_millis(10);

/// Brokers are far that take longer than this for a record with few before it.
const FAR: Duration = Duration::from_millis(25);

/// And brokers of which so many acknowledgements one after the other took twice as long, whatever was before them: more
/// than it takes to get through a queue that had grown long.
const SURELY_FAR: u32 = 256;

/// An acknowledgement that is slower than the others counts for so much of the difference: a pause of the broker is not
/// a longer way.
const SLOWER_COUNTS: u32 = 32;

/// And a difference for no more than this: the first record's is the time to connect.
const SLOWER_BY: Duration = Duration::from_millis(100);

/// A partition is in use for so long after an acknowledgement, and up to twice that.
pub(super) const IN_USE: Duration = Duration::from_secs(1);

/// What acknowledgements have shown.
pub(super) struct Learned {
    /// The time a record takes with few before it.
    alone: Duration,
    /// How many of the last ones one after the other took twice what is far.
    long: u32,
    partitions: InUse,
}

/// The first record of those that were acknowledged together. They are of one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    /// Topic and partition, by numbers that no other ones have.
    pub(crate) partition: (usize, i32),
    /// From the record's way into the engine.
    pub(crate) took: Duration,
    /// How many records were outstanding, these included.
    pub(crate) outstanding: usize,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            alone: NEAR,
            long: 0,
            partitions: InUse::default(),
        }
    }
}

impl Learned {
    /// How many records may be outstanding.
    pub(super) fn limit(&mut self, first: Acknowledged, now: Instant) -> usize {
        let Acknowledged {
            partition,
            took,
            outstanding,
        } = first;
        let few = FEW + FEW_IN_PARTITION * self.partitions.count(partition, now);
        // Senders that are held have somewhat more than few outstanding, as acknowledgements come by the batch.
        if outstanding <= 3 * few {
            self.alone = match took.checked_sub(self.alone) {
                Some(slower) => self.alone + slower.min(SLOWER_BY) / SLOWER_COUNTS,
                None => took.max(NEAR),
            };
        }
        self.long = match took > 2 * FAR {
            true => self.long.saturating_add(1),
            false => 0,
        };
        if self.alone > FAR || self.long > SURELY_FAR {
            return usize::MAX;
        }
        let twice = outstanding as u64 * 2 * micros(self.alone) / micros(took).max(1);
        few.max(twice as usize)
    }
}

/// The partitions that records were acknowledged in of late.
#[derive(Default)]
struct InUse {
    now: HashSet<(usize, i32)>,
    /// How many there were in the time before.
    before: usize,
    since: Option<Instant>,
}

impl InUse {
    /// Adds one, and says how many there are.
    fn count(&mut self, partition: (usize, i32), now: Instant) -> usize {
        let since = *self.since.get_or_insert(now);
        if now - since > IN_USE {
            self.before = self.now.len();
            self.now.clear();
            self.since = Some(now);
        }
        self.now.insert(partition);
        self.now.len().max(self.before)
    }
}

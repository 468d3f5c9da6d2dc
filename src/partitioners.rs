//! Which partition a record goes to.
//!
//! | | how | a record without a key |
//! |---|---|---|
//! | given | [`ProducerRecord::partition`](crate::ProducerRecord::partition) | as given |
//! | by key, **the default** | `partitioner=murmur2_random`: Java's, so that both put a key where the other does | sticky |
//! | round robin | `partitioner=round_robin`, or [`RoundRobin`] | like others |
//! | random | `partitioner=random` | like others |
//! | librdkafka's others | `partitioner=consistent_random`, `fnv1a_random`, … | sticky, or one for all |
//! | your own | [`ProducerBuilder::partitioner`](crate::ProducerBuilder::partitioner) with a [`Partitioner`] | like others |
//!
//! *Sticky*: all go to one partition for a while (`sticky.partitioning.linger.ms`, twice `linger.ms` by default), then to
//! another. That fills batches, which is what makes them cheap: [`RoundRobin`] says what it costs to leave them half
//! empty.
//!
//! A partitioner of your own costs two reference counts up and down and a lock more a record. It can fall back to
//! [`by_key`]:
//!
//! ```
//! use franking::{View, partitioners::by_key};
//!
//! // One customer sends more than all others: she has the last partition for herself.
//! let partitioner = |record: &View<'_>, partitions: i32| match record.key {
//!     Some(b"banana") if partitions > 1 => partitions - 1,
//!     Some(key) => by_key(key, (partitions - 1).max(1)),
//!     None => 0,
//! };
//! let builder = franking::Producer::<String, String>::builder().partitioner(partitioner);
//! ```

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use franking_core::{Partitioner, Topic, View};

/// One partition after the other, for each topic, whatever the keys: Java's `RoundRobinPartitioner`.
///
/// It spreads records evenly and gives up what a key is for: order, and one place for all of a key. And it leaves batches
/// small, as each gets only its share of what is sent within `linger.ms`: with 12 partitions, 20,000 records of 100 bytes
/// a second and `linger.ms` 5, a batch had 13 records where sticky partitioning had 168, so that there are thirteen times
/// as many batches to send, store and acknowledge (`examples/partitioners.rs` measures it on yours). Over time, sticky
/// partitions are filled as evenly.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: RwLock<HashMap<Topic, AtomicU32>>,
}

impl RoundRobin {
    /// From partition 0 of each topic.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Partitioner for RoundRobin {
    fn partition(&self, record: &View<'_>, partitions: i32) -> i32 {
        // The map is whole whenever the lock is free.
        let next = self.next.read().unwrap_or_else(PoisonError::into_inner);
        let turn = match next.get(record.topic) {
            Some(next) => next.fetch_add(1, Ordering::Relaxed),
            None => {
                drop(next);
                let mut next = self.next.write().unwrap_or_else(PoisonError::into_inner);
                let next = next.entry(record.topic.clone()).or_default();
                next.fetch_add(1, Ordering::Relaxed)
            }
        };
        (turn % partitions.cast_unsigned()).cast_signed()
    }
}

/// The partition that Java's producer gives a key, and `partitioner=murmur2_random`: `(murmur2(key) & 0x7fffffff) %
/// partitions`.
///
/// # Panics
/// If `partitions` is 0. A partitioner is never asked about a topic without partitions.
pub fn by_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions
}

/// Kafka's hash of a key: 32-bit MurmurHash2 with the seed `0x9747b28c` of `org.apache.kafka.common.utils.Utils`.
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_javas() {
        // From Kafka's own tests.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        // From librdkafka's.
        for (key, hash) in [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("234", 0xe7c0_09ca),
            ("34", 0x8739_30da),
            ("4", 0x5a4b_5ca1),
            ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x7842_4f1c),
            ("reAmbleWillBeRemoved,ThePrePartThatIs", 0x4a62_b377),
            ("eAmbleWillBeRemoved,ThePrePartThatIs", 0xe0e4_e09e),
            ("AmbleWillBeRemoved,ThePrePartThatIs", 0x62b8_b43f),
            ("", 0x106e_08d9),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_key_has_its_partition() {
        for (key, partition) in [
            ("23456", 9),
            ("this is another string with more length to it perhaps", 11),
            ("hejsan", 5),
            ("", 11),
        ] {
            assert_eq!(by_key(key.as_bytes(), 17), partition, "{key}");
        }
    }

    #[test]
    fn round_robin_takes_turns_in_each_topic() {
        let partitioner = RoundRobin::new();
        let ask = |topic: &'static str| {
            let record = franking_core::Record::new(topic).key("always the same");
            let view = franking_core::Snapshot::view(&record);
            partitioner.partition(&view, 3)
        };
        assert_eq!(
            [ask("a"), ask("a"), ask("b"), ask("a"), ask("a"), ask("b")],
            [0, 1, 0, 2, 0, 1]
        );
    }
}

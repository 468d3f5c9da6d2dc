//! What is stored.

use std::collections::{BTreeMap, HashMap};

use franking::provenance::{Provenance, Seen, Writers};

use crate::reading::Record;

/// Writers that are told apart, and buckets that are kept; whatever comes, memory has a bound.
const MOST_WRITERS: usize = 10_000;
const MOST_BUCKETS: usize = 100_000;

/// Counts of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) records: u64,
    /// Of keys and values.
    pub(super) bytes: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
}

/// Counts a topic's records.
pub(super) struct Tally {
    width: i64,
    late_after: i64,
    pub(super) records: u64,
    /// Without a timestamp, or in one bucket too many.
    pub(super) elsewhere: u64,
    pub(super) malformed: u64,
    /// By their beginning.
    pub(super) buckets: BTreeMap<i64, Bucket>,
    pub(super) writers: Writers,
    /// Late records, and the service's name, by instance.
    instances: HashMap<String, (u64, String)>,
    /// The latest time that was read, by partition.
    newest: HashMap<i32, i64>,
}

impl Tally {
    /// With buckets of this width; records are late when the partition is so far past the end of theirs. In milliseconds.
    pub(super) fn new(width: i64, late_after: i64) -> Self {
        Self {
            width,
            late_after,
            records: 0,
            elsewhere: 0,
            malformed: 0,
            buckets: BTreeMap::new(),
            writers: Writers::with_capacity(MOST_WRITERS),
            instances: HashMap::new(),
            newest: HashMap::new(),
        }
    }

    pub(super) fn count(&mut self, record: &Record<'_>) {
        let read = &record.provenance;
        self.records += 1;
        self.malformed += u64::from(!read.notes.is_empty());
        let seen = self.writers.see(record.topic, read);
        let start = record
            .timestamp
            .and_then(|time| time.div_euclid(self.width).checked_mul(self.width));
        let late = match (record.timestamp, start) {
            (Some(time), Some(start)) => self.is_late(record.partition, time, start),
            _ => false,
        };
        if !matches!(seen, Seen::Unnumbered | Seen::Untracked) {
            self.remember(read, late);
        }
        let full = self.buckets.len() >= MOST_BUCKETS;
        let bucket = match start {
            Some(start) if !full || self.buckets.contains_key(&start) => {
                self.buckets.entry(start).or_default()
            }
            _ => {
                self.elsewhere += 1;
                return;
            }
        };
        let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
        bucket.records += 1;
        bucket.bytes += size(record.key) + size(record.value);
        bucket.doubled += u64::from(seen == Seen::Duplicate);
        bucket.late += u64::from(late);
    }

    fn is_late(&mut self, partition: i32, time: i64, start: i64) -> bool {
        let newest = self.newest.entry(partition).or_insert(time);
        let over = start
            .saturating_add(self.width)
            .saturating_add(self.late_after);
        let late = *newest >= over;
        *newest = time.max(*newest);
        late
    }

    fn remember(&mut self, read: &Provenance<'_>, late: bool) {
        let Some(instance) = read.instance() else {
            return;
        };
        if !self.instances.contains_key(instance) {
            // Of a forwarded record, the origin is somebody else.
            let own = read.sequence.as_ref().is_some_and(|s| s.instance.is_none());
            let service = read.service().filter(|_| own).unwrap_or_default();
            let service = match read.namespace().filter(|_| own) {
                Some(namespace) => format!("{namespace}/{service}"),
                None => service.to_owned(),
            };
            // As many as writers, at most.
            self.instances.insert(instance.to_owned(), (0, service));
        }
        if let Some((count, _)) = self.instances.get_mut(instance) {
            *count += u64::from(late);
        }
    }

    /// Late records of an instance, and its service's name.
    pub(super) fn instance(&self, instance: &str) -> (u64, &str) {
        let known = self.instances.get(instance);
        known.map_or((0, ""), |(late, service)| (*late, service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: &[u8] = b"service.namespace=shop,service.name=checkout,service.instance.id=i";

    fn count(tally: &mut Tally, partition: i32, timestamp: Option<i64>, number: &str) {
        let headers = vec![
            (&b"prov-origin"[..], Some(WHO)),
            (b"prov-seq", Some(number.as_bytes())),
        ];
        tally.count(&Record {
            topic: "t",
            partition,
            offset: 0,
            timestamp,
            key: Some(b"k"),
            value: Some(b"value"),
            provenance: Provenance::read(headers.iter().copied()),
            headers,
        });
    }

    #[test]
    fn records_belong_to_the_bucket_of_their_time() {
        let mut tally = Tally::new(1000, 500);
        for (partition, time, number) in [
            (0, 0, "1"),
            (0, 999, "2"),
            (0, 1000, "3"),
            (0, 1499, "4"),
            // Not late: the first bucket's end is not half a second ago.
            (0, 998, "5"),
            (0, 1500, "6"),
            // Late.
            (0, 997, "7"),
            // Not late: in another partition.
            (1, 496, "8"),
            (1, -1, "8"),
        ] {
            count(&mut tally, partition, Some(time), number);
        }
        count(&mut tally, 0, None, "9");
        let buckets: Vec<_> = tally
            .buckets
            .iter()
            .map(|(start, b)| (*start, b.records, b.doubled, b.late))
            .collect();
        assert_eq!(buckets, [(-1000, 1, 1, 0), (0, 5, 0, 1), (1000, 3, 0, 0)]);
        assert_eq!((tally.records, tally.elsewhere), (10, 1));
        assert_eq!(tally.buckets[&0].bytes, 30);
        assert_eq!(tally.instance("i"), (1, "shop/checkout"));
    }

    #[test]
    fn any_time_has_a_place() {
        let mut tally = Tally::new(7, i64::MAX);
        for time in [i64::MIN, i64::MAX, 0, -1] {
            count(&mut tally, 0, Some(time), "1");
        }
        assert_eq!(tally.records, 4);
    }
}

//! Over many records: what of a writer's is missing, and what is there twice.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{
    Provenance,
    runs::{Number, Runs},
};

/// How many writers are told apart, if nothing else is said.
const MOST: usize = 1024;
/// The longest name of an instance. Every writer's is kept.
const LONGEST: usize = 255;

/// The numbers that each instance gave its records to a topic, as far as they were read.
///
/// ```
/// use franking_middleware::provenance::{Provenance, Seen, Writers};
///
/// let mut writers = Writers::new();
/// for (number, seen) in [("1", Seen::New), ("2", Seen::New), ("2", Seen::Duplicate), ("5", Seen::New)] {
///     let headers = [
///         ("prov-origin", Some(&b"service.instance.id=627c"[..])),
///         ("prov-seq", Some(number.as_bytes())),
///     ];
///     assert_eq!(writers.see("orders", &Provenance::read(headers)), seen);
/// }
/// let writer = writers.iter().next().unwrap();
/// assert_eq!((writer.topic(), writer.instance()), ("orders", "627c"));
/// assert_eq!((writer.records(), writer.duplicates(), writer.missing()), (4, 1, 2));
/// assert_eq!(writer.gaps().collect::<Vec<_>>(), [3..=4]);
/// ```
///
/// Gaps that are no loss: a record that was refused or failed had its number too. A topic's numbers are spread over its
/// partitions, so a gap can be filled later.
///
/// Memory has a bound: 1,024 writers ([`with_capacity`](Self::with_capacity)) of at most 17 KB each.
#[derive(Clone, Debug)]
pub struct Writers {
    capacity: usize,
    topics: HashMap<String, HashMap<String, Tally>>,
    count: usize,
    unnumbered: u64,
    untracked: u64,
}

/// What a record is to those of its writer that were read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// Its number was not read before.
    New,
    /// Its number was read before.
    Duplicate,
    /// A duplicate, or one that is very late: so many gaps came behind it that its own was forgotten.
    Unsure,
    /// It has no number, or nobody whose number it is.
    Unnumbered,
    /// There are too many writers already.
    Untracked,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    records: u64,
    duplicates: u64,
    unsure: u64,
    numbers: Runs,
}

impl Default for Writers {
    fn default() -> Self {
        Self::new()
    }
}

impl Writers {
    /// For up to 1,024 writers.
    pub fn new() -> Self {
        Self::with_capacity(MOST)
    }

    /// For up to so many writers. Who comes later is not tracked: who is tracked stays.
    pub fn with_capacity(writers: usize) -> Self {
        Self {
            capacity: writers,
            topics: HashMap::new(),
            count: 0,
            unnumbered: 0,
            untracked: 0,
        }
    }

    /// Counts a record of this topic.
    pub fn see(&mut self, topic: &str, record: &Provenance<'_>) -> Seen {
        let number = record.sequence.as_ref().map(|sequence| sequence.number);
        let instance = record
            .instance()
            .filter(|instance| (1..=LONGEST).contains(&instance.len()));
        let (Some(number), Some(instance)) = (number, instance) else {
            self.unnumbered += 1;
            return Seen::Unnumbered;
        };
        let Some(tally) = self.tally(topic, instance) else {
            self.untracked += 1;
            return Seen::Untracked;
        };
        tally.records += 1;
        match tally.numbers.add(number) {
            Number::New => Seen::New,
            Number::Known => {
                tally.duplicates += 1;
                Seen::Duplicate
            }
            Number::Unsure => {
                tally.unsure += 1;
                Seen::Unsure
            }
        }
    }

    fn tally(&mut self, topic: &str, instance: &str) -> Option<&mut Tally> {
        let known = self.topics.get(topic);
        let is_known = known.is_some_and(|topic| topic.contains_key(instance));
        if !is_known {
            if self.count >= self.capacity {
                return None;
            }
            self.count += 1;
            let topic = self.topics.entry(topic.to_owned()).or_default();
            topic.insert(instance.to_owned(), Tally::default());
        }
        self.topics.get_mut(topic)?.get_mut(instance)
    }

    /// Every writer, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Writer<'_>> {
        self.topics.iter().flat_map(|(topic, instances)| {
            instances.iter().map(|(instance, tally)| Writer {
                topic,
                instance,
                tally,
            })
        })
    }

    /// Records without a number, or without an instance whose number it is.
    pub fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Records of writers that came when there were too many.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }
}

/// An instance of a service, and what it wrote to a topic.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'w> {
    topic: &'w str,
    instance: &'w str,
    tally: &'w Tally,
}

impl<'w> Writer<'w> {
    /// The topic.
    pub fn topic(&self) -> &'w str {
        self.topic
    }

    /// The instance.
    pub fn instance(&self) -> &'w str {
        self.instance
    }

    /// How many records were read.
    pub fn records(&self) -> u64 {
        self.tally.records
    }

    /// How many of them had a number that was read before.
    pub fn duplicates(&self) -> u64 {
        self.tally.duplicates
    }

    /// How many came too late to tell whether they are duplicates.
    pub fn unsure(&self) -> u64 {
        self.tally.unsure
    }

    /// The lowest number. If a reader read all there ever was, those below it are missing too.
    pub fn first(&self) -> u64 {
        self.tally.numbers.first().unwrap_or_default()
    }

    /// The highest number.
    pub fn last(&self) -> u64 {
        self.tally.numbers.last().unwrap_or_default()
    }

    /// How many numbers between the first and the last were not read.
    pub fn missing(&self) -> u64 {
        self.tally.numbers.missing()
    }

    /// Which; of more than 1,023 gaps, the highest.
    pub fn gaps(&self) -> impl Iterator<Item = RangeInclusive<u64>> + use<'w> {
        self.tally.numbers.gaps()
    }
}

//! Which later records a resend would come behind.
//!
//! # What can be known here
//! The layer sees every record go in, with its topic, its key, and the partition if the application chose one. It does
//! not see where the partitioner puts a record, nor what became of the others: outcomes go to hooks, and a recoverer
//! hears of failures only. So:
//!
//! - What must stay in order with each other are the records of one [`Lane`]: of a chosen partition, else of a key
//!   (which goes to one partition), else of a topic, for without a key any two records may meet in one.
//! - *A later one was accepted* means: a later record of the lane went in, and it has not come back as surely not
//!   persisted. Whether it is queued, on its way, delivered or unknown is all the same: the resend would come behind it.
//!
//! # How
//! Every send gets the next number, and leaves its lane under that number in a ring: an addition and a store, no lock
//! and no allocation. The number travels with the recoverer. When a record fails and is surely not in the topic its
//! entry is struck out; before a resend, the entries behind it are searched for its lane, and then it is written back.
//! The ring remembers the last 65,536 sends. What is older than that was overtaken, for all that is known.
//!
//! A record that is sent while the search goes on, or between it and the resend, would be missed. So the lane that is
//! being resent is announced first. Sender and resender each write before they read, so at least one of them sees the
//! other: the resender finds the record's number, or the sender waits for the resend, a few microseconds.

use std::{
    cell::Cell,
    ptr,
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    time::{Duration, Instant},
};

use franking_core::Parts;

use super::sync::{AtomicU64, local, thread};

/// Sends that are remembered: at least as many as `buffer.memory` holds by default. 512 KiB.
const REMEMBERED: u64 = if cfg!(all(test, loom)) { 4 } else { 1 << 16 };

/// How long a sender lets a resend of its lane go first, and how long a resend waits for a sender to note its lane. It
/// takes microseconds, unless a hook that runs within the resend blocks, perhaps on what this very sender holds: then
/// the order of these two is lost, and nothing else.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the retry layer does where a resend would come behind later records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The record is not sent again, and its error says so: the records of a key, and those of a chosen partition, are
    /// stored in the order of their sends, or not at all.
    #[default]
    Keep,
    /// The record is sent again, behind later ones of its own key too. More records arrive, and whoever reads them must
    /// expect an old state behind a new one: put a version or a time into the value.
    GiveUp,
}

/// Records that must stay in order with each other. Two lanes may share a number: then they are taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane(u32);

impl Lane {
    /// No record's: stands in the place of what was struck out.
    pub(super) const NONE: Self = Self(0);

    fn of(record: &Parts) -> Self {
        let hash = hash(0, record.topic.as_bytes());
        let hash = match (record.partition, &record.key) {
            (Some(partition), _) => mix(hash, 1 | u64::from(partition.unsigned_abs()) << 1),
            (None, Some(key)) => self::hash(hash, key),
            (None, None) => hash,
        };
        Self(((hash >> 32) as u32).max(1))
    }
}

/// Where a record stands: its number among all sends, and its lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) lane: Lane,
}

/// The sends of a stack, in their order.
pub(super) struct Sends {
    count: AtomicU64,
    /// The lane whose records are being sent again right now.
    resending: AtomicU64,
    /// Of each send the lower half of its number, above its lane. Empty if order is given up.
    ring: Box<[AtomicU64]>,
    /// How many the budget was told of.
    told: AtomicU64,
}

impl Sends {
    pub(super) fn new(order: Order) -> Self {
        let remembered = match order {
            Order::Keep => REMEMBERED,
            Order::GiveUp => 0,
        };
        Self {
            count: AtomicU64::new(0),
            resending: AtomicU64::new(0),
            ring: (0..remembered).map(|_| AtomicU64::new(0)).collect(),
            told: AtomicU64::new(0),
        }
    }

    /// Notes one that is about to go in, and gives its ticket.
    pub(super) fn note(&self, record: &Parts) -> u32 {
        let keep = !self.ring.is_empty();
        // Before the number: who searches waits for numbers whose lane is not noted yet.
        let lane = if keep { Lane::of(record) } else { Lane::NONE };
        let number = self.count.fetch_add(1, SeqCst) + 1;
        if keep {
            self.entry(number).store(entry(number, lane), Release);
            if self.resending.load(SeqCst) == u64::from(lane.0) {
                self.let_pass(lane);
            }
        }
        number as u32
    }

    /// How many there were since this was last asked.
    pub(super) fn news(&self) -> u64 {
        let count = self.count.load(SeqCst);
        count.saturating_sub(self.told.fetch_max(count, Relaxed))
    }

    /// Strikes out a send that is surely not in the topic, and says its place; `None` if it is forgotten.
    pub(super) fn strike_out(&self, ticket: u32) -> Option<Place> {
        let number = self.number(ticket);
        if self.ring.is_empty() {
            // A lane of its own: it need not stay in order with any other.
            let lane = Lane(ticket.max(1));
            return Some(Place { number, lane });
        }
        let noted = self.entry(number).load(Acquire);
        let lane = Lane(noted as u32);
        let known = noted == entry(number, lane) && lane != Lane::NONE;
        (known && self.replace(number, lane, Lane::NONE)).then_some(Place { number, lane })
    }

    /// Announces that records of this lane are going to be sent again. For one lane at a time: `None` while it is
    /// another's turn.
    pub(super) fn resend(&self, lane: Lane) -> Option<Resending<'_>> {
        let turn = self
            .resending
            .compare_exchange(0, u64::from(lane.0), SeqCst, Relaxed);
        turn.is_ok().then(|| {
            HERE.with(|here| here.set(ptr::from_ref(self).addr()));
            Resending { sends: self, lane }
        })
    }

    /// The full number behind a ticket: the last one with this lower half.
    fn number(&self, ticket: u32) -> u64 {
        let count = self.count.load(SeqCst);
        count - u64::from((count as u32).wrapping_sub(ticket))
    }

    fn entry(&self, number: u64) -> &AtomicU64 {
        &self.ring[(number % REMEMBERED) as usize]
    }

    fn replace(&self, number: u64, lane: Lane, by: Lane) -> bool {
        let (old, new) = (entry(number, lane), entry(number, by));
        self.entry(number)
            .compare_exchange(old, new, AcqRel, Relaxed)
            .is_ok()
    }

    #[cold]
    fn let_pass(&self, lane: Lane) {
        // A hook within the resend may send.
        if HERE.with(Cell::get) == ptr::from_ref(self).addr() {
            return;
        }
        let since = Instant::now();
        while self.resending.load(SeqCst) == u64::from(lane.0) && since.elapsed() < PATIENCE {
            thread::yield_now();
        }
    }
}

local! {
    /// The address of the [`Sends`] that this thread is resending for.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, new records of its lane wait.
pub(super) struct Resending<'s> {
    sends: &'s Sends,
    lane: Lane,
}

impl Resending<'_> {
    /// The number of the latest send of the lane behind this one that is not struck out; 0 if there is none.
    pub(super) fn latest_behind(&self, number: u64) -> u64 {
        let last = self.sends.count.load(SeqCst);
        let first = (number + 1).max((last + 1).saturating_sub(REMEMBERED));
        // From the end: where there is one, it is mostly near.
        let latest = (first..=last).rev().find(|later| self.is_ours(*later));
        latest.unwrap_or(0)
    }

    /// Notes again what was struck out; `false` if it is forgotten.
    pub(super) fn write_back(&self, number: u64) -> bool {
        self.sends.replace(number, Lane::NONE, self.lane)
    }

    /// Whether this send is of the lane, for all that is known.
    fn is_ours(&self, number: u64) -> bool {
        let entry = self.sends.entry(number);
        let mut since = None;
        loop {
            let noted = entry.load(Acquire);
            match ((noted >> 32) as u32)
                .wrapping_sub(number as u32)
                .cast_signed()
            {
                0 => return Lane(noted as u32) == self.lane,
                // Forgotten: a later send has its place.
                1.. => return true,
                // Its sender has the number, and notes it in its next step; unless its thread was stopped between them.
                ..0 => {}
            }
            if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return true;
            }
            thread::yield_now();
        }
    }
}

impl Drop for Resending<'_> {
    fn drop(&mut self) {
        HERE.with(|here| here.set(0));
        self.sends.resending.store(0, SeqCst);
    }
}

fn entry(number: u64, lane: Lane) -> u64 {
    number << 32 | u64::from(lane.0)
}

/// Quick, and good enough: who makes collisions on purpose only makes the layer decline.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let hash = chunks
        .iter()
        .fold(seed, |hash, chunk| mix(hash, u64::from_le_bytes(*chunk)));
    // With the length, so that zeros at the end count.
    mix(hash.wrapping_add(bytes.len() as u64), word(rest))
}

/// Up to seven bytes as a number. Put together from what overlaps: to copy them into eight would have the processor wait
/// for memory that was just written.
fn word(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn mix(hash: u64, word: u64) -> u64 {
    let product =
        u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd6e8_feb8_6659_fd93);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use franking_core::Record;

    use super::*;

    fn record(key: &'static str) -> Record {
        Record::new("t").key(key)
    }

    #[test]
    fn a_ticket_finds_its_number_where_the_lower_half_begins_anew() {
        let sends = Sends::new(Order::Keep);
        sends.count.store(u64::from(u32::MAX) - 2, SeqCst);
        let tickets: Vec<_> = (0..6).map(|_| sends.note(&record("k"))).collect();
        assert_eq!(tickets[..3], [u32::MAX - 1, u32::MAX, 0]);
        let lane = Lane::of(&record("k"));
        for (number, ticket) in (u64::from(u32::MAX) - 1..).zip(&tickets) {
            let place = sends
                .strike_out(*ticket)
                .expect("a send that is remembered");
            assert_eq!((place.number, place.lane), (number, lane));
            let resending = sends.resend(lane).expect("nobody else's turn");
            let last = u64::from(u32::MAX) + 4;
            let latest = if number == last { 0 } else { last };
            assert_eq!(resending.latest_behind(number), latest);
            assert!(resending.write_back(number));
        }
    }

    #[test]
    fn what_is_struck_out_twice_or_forgotten_has_no_place() {
        let sends = Sends::new(Order::Keep);
        let (first, second) = (sends.note(&record("a")), sends.note(&record("b")));
        assert!(sends.strike_out(first).is_some());
        assert!(sends.strike_out(first).is_none());
        for _ in 2..REMEMBERED + 2 {
            sends.note(&record("c"));
        }
        assert!(sends.strike_out(second).is_none());
        let resending = sends.resend(Lane::of(&record("a"))).unwrap();
        assert!(!resending.write_back(1));
    }

    #[test]
    fn one_lane_at_a_time_is_resent() {
        let sends = Sends::new(Order::Keep);
        let (a, b) = (Lane::of(&record("a")), Lane::of(&record("b")));
        let resending = sends.resend(a);
        assert!(resending.is_some() && sends.resend(b).is_none());
        drop(resending);
        assert!(sends.resend(b).is_some());
    }

    #[test]
    fn a_sender_lets_a_resend_of_its_lane_go_first_and_no_other() {
        let sends = Sends::new(Order::Keep);
        let resending = sends.resend(Lane::of(&record("a"))).unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| sends.note(&record("b")));
            other.join().unwrap();
            let waits = scope.spawn(|| sends.note(&record("a")));
            thread::sleep(Duration::from_millis(50));
            assert!(!waits.is_finished());
            drop(resending);
            assert_eq!(waits.join().unwrap(), 2);
        });
    }

    #[test]
    fn a_resend_waits_for_a_sender_whose_lane_is_not_noted_yet() {
        let sends = Sends::new(Order::Keep);
        let place = sends.strike_out(sends.note(&record("a"))).unwrap();
        // Another sender has its number, and its thread is stopped there.
        let number = sends.count.fetch_add(1, SeqCst) + 1;
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let resending = sends.resend(place.lane).unwrap();
                resending.latest_behind(place.number)
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!waits.is_finished());
            let noted = entry(number, Lane::of(&record("b")));
            sends.entry(number).store(noted, Release);
            assert_eq!(waits.join().unwrap(), 0);
        });
    }

    #[test]
    fn the_budget_hears_of_each_send_once() {
        let sends = Sends::new(Order::GiveUp);
        (0..5).for_each(|_| _ = sends.note(&record("a")));
        assert_eq!((sends.news(), sends.news()), (5, 0));
        sends.note(&record("a"));
        assert_eq!(sends.news(), 1);
    }

    #[test]
    fn keys_have_lanes_of_their_own() {
        let keys = (0..100_000_u64).map(|key| {
            let record = Record::new("t").key(key.to_be_bytes().to_vec());
            Lane::of(&record).0
        });
        let mut lanes: Vec<_> = keys.collect();
        lanes.sort_unstable();
        lanes.dedup();
        // By chance about one pair of them meets.
        assert!(lanes.len() > 99_990, "{}", lanes.len());
    }
}

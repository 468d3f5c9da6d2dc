//! The way out of the room: settled records give it back.

use std::{fmt, sync::Arc, time::Instant};

use super::{Closing, Fate, Room, ledger::Returned};
use crate::{Failure, Flight, Placed, Share, Snapshot};

/// A record's room, from its acceptance to its final outcome.
pub(crate) struct Permit {
    pub(super) room: Arc<Share<Room>>,
    pub(super) bytes: usize,
    pub(super) generation: u64,
    /// In the totals. What is said last is in none.
    pub(super) counted: bool,
    pub(super) settled: bool,
}

impl Permit {
    pub(crate) fn settle(mut self, fate: Fate) {
        self.end(fate);
    }

    pub(crate) fn closing(&self) -> Closing {
        self.room.all().closing()
    }

    fn fate(&self, fate: Fate) -> Fate {
        if self.counted { fate } else { Fate::Uncounted }
    }

    fn end(&mut self, fate: Fate) {
        self.settled = true;
        let mut returned = Returned {
            generation: self.generation,
            ..Returned::default()
        };
        returned.add(self.bytes, self.fate(fate));
        self.room.give_back(&returned);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.end(Fate::Unknown);
        }
    }
}

/// The acknowledgements of one batch: settles records and gives their room back at the end, all at once.
///
/// An engine makes one for each batch of answers, with the time of the batch, and must hold no lock while it uses it:
/// hooks, recoverers, callbacks and wakers run inside.
pub struct Acks<'r> {
    room: &'r Arc<Room>,
    at: Instant,
    returned: Returned,
}

impl<'r> Acks<'r> {
    /// A batch that was acknowledged at this time.
    pub fn new(room: &'r Arc<Room>, at: Instant) -> Self {
        Self {
            room,
            at,
            returned: Returned::default(),
        }
    }

    /// Settles a record as delivered. Nobody is left on `flight` to be told anything.
    pub fn delivered(&mut self, flight: &mut Flight, placed: Placed, mut record: impl Snapshot) {
        let permit = flight.deliver(placed, &mut record, self.at);
        self.take_back(permit, Fate::Delivered);
    }

    /// Settles a record as failed, unless a recoverer keeps it.
    pub fn failed(&mut self, flight: Flight, failure: Failure, record: impl Snapshot) {
        let fate = Fate::from(failure.persistence());
        let permit = flight.unwind_failed(failure, record, self.at);
        self.take_back(permit, fate);
    }

    fn take_back(&mut self, permit: Option<Permit>, fate: Fate) {
        let Some(mut permit) = permit else { return };
        if !Arc::ptr_eq(permit.room.all(), self.room) {
            return permit.settle(fate);
        }
        if self.returned.records > 0 && self.returned.generation != permit.generation {
            self.room.give_back(&std::mem::take(&mut self.returned));
        }
        self.returned.generation = permit.generation;
        self.returned.add(permit.bytes, permit.fate(fate));
        permit.settled = true;
    }
}

impl Drop for Acks<'_> {
    fn drop(&mut self) {
        self.room.give_back(&self.returned);
    }
}

impl fmt::Debug for Acks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acks")
    }
}

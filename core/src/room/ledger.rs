//! The ledger: which records are outstanding, and how the others ended.

use std::collections::VecDeque;

use crate::Persistence;

/// The records that were accepted and are not settled, by the flush that waits for them.
#[derive(Default)]
pub(super) struct Ledger {
    /// Outstanding records of each generation; a flush begins a new one. The last is the current one.
    pub(super) generations: VecDeque<usize>,
    /// The number of the first of them.
    pub(super) first: u64,
    pub(super) totals: Totals,
}

/// How many records of this engine had which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Acknowledged (with `acks=0`: sent).
    pub delivered: u64,
    /// Failed, and not in the topic.
    pub not_persisted: u64,
    /// Failed, and possibly in the topic.
    pub unknown: u64,
}

impl Totals {
    /// All that ended.
    pub fn settled(&self) -> u64 {
        self.delivered + self.not_persisted + self.unknown
    }
}

impl std::ops::Sub for Totals {
    type Output = Totals;

    fn sub(self, earlier: Totals) -> Totals {
        Totals {
            delivered: self.delivered - earlier.delivered,
            not_persisted: self.not_persisted - earlier.not_persisted,
            unknown: self.unknown - earlier.unknown,
        }
    }
}

/// How a record's stay in the room ends.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Delivered,
    NotPersisted,
    Unknown,
    /// In no total: another engine takes the record over, or it is said last.
    Uncounted,
}

impl From<Persistence> for Fate {
    fn from(persistence: Persistence) -> Self {
        match persistence {
            Persistence::NotPersisted => Fate::NotPersisted,
            Persistence::Unknown => Fate::Unknown,
        }
    }
}

impl Ledger {
    /// Writes a record down and says in which generation.
    pub(super) fn accept(&mut self) -> u64 {
        if self.generations.is_empty() {
            self.generations.push_back(0);
        }
        if let Some(current) = self.generations.back_mut() {
            *current += 1;
        }
        self.first + self.generations.len() as u64 - 1
    }

    /// Ends the current generation and says which it was.
    pub(super) fn next_generation(&mut self) -> u64 {
        if self.generations.is_empty() {
            self.generations.push_back(0);
        }
        let ended = self.first + self.generations.len() as u64 - 1;
        self.generations.push_back(0);
        self.forget_settled();
        ended
    }

    /// Strikes records off; true if a generation came to its end.
    pub(super) fn settle(&mut self, returned: &Returned) -> bool {
        self.totals.delivered += returned.delivered;
        self.totals.not_persisted += returned.not_persisted;
        self.totals.unknown += returned.unknown;
        let index = (returned.generation - self.first) as usize;
        self.generations[index] -= returned.records;
        let ended = self.generations[index] == 0;
        self.forget_settled();
        ended
    }

    fn forget_settled(&mut self) {
        while self.generations.len() > 1 && self.generations[0] == 0 {
            self.generations.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn is_settled(&self, generation: u64) -> bool {
        self.first > generation
    }
}

/// What settled records give back.
#[derive(Default)]
pub(super) struct Returned {
    pub(super) generation: u64,
    pub(super) bytes: usize,
    pub(super) records: usize,
    pub(super) delivered: u64,
    pub(super) not_persisted: u64,
    pub(super) unknown: u64,
}

impl Returned {
    pub(super) fn add(&mut self, bytes: usize, fate: Fate) {
        self.bytes += bytes;
        self.records += 1;
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::NotPersisted => self.not_persisted += 1,
            Fate::Unknown => self.unknown += 1,
            Fate::Uncounted => {}
        }
    }
}

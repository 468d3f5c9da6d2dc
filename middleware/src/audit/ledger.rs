//! The book behind the counters: which cell stands for which bucket, and what was closed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicU64},
};

use franking_core::Topic;

use super::{Balance, Count, now, tally::Cell};

/// The cell of everything that found no other.
pub(super) const ELSEWHERE: u32 = 0;
/// Of the counts in a page, as in `Cell::tallies`.
const ATTEMPTED: usize = 3;

pub(super) struct Ledger {
    pages: Vec<Page>,
    open: HashMap<(Topic, i64), u32>,
    free: VecDeque<u32>,
    sequences: HashMap<Topic, Arc<AtomicU64>>,
    /// Buckets that were closed and have not been written.
    pub(super) closed: Vec<Balance>,
    /// The sum of all that were closed.
    past: Balance,
}

/// What the ledger knows of a cell.
#[derive(Default)]
struct Page {
    key: Option<(Topic, i64)>,
    /// By the clock, not by timestamps.
    opened: i64,
    /// What was carried over from the cell's tallies. Wrapping: an attempt may be taken back here before it is carried
    /// over.
    carried: [Count; 4],
}

impl Ledger {
    pub(super) fn new(cells: usize) -> Self {
        let mut pages: Vec<Page> = (0..cells).map(|_| Page::default()).collect();
        pages[ELSEWHERE as usize].opened = now();
        Self {
            pages,
            open: HashMap::new(),
            free: (1..cells as u32).collect(),
            sequences: HashMap::new(),
            closed: Vec::new(),
            past: Balance::default(),
        }
    }

    /// The number of the last record to this topic; `None` if there are too many topics.
    pub(super) fn sequence(&mut self, topic: &Topic) -> Option<Arc<AtomicU64>> {
        if let Some(sequence) = self.sequences.get(topic) {
            return Some(Arc::clone(sequence));
        }
        if self.sequences.len() >= self.pages.len() - 1 {
            return None;
        }
        let sequence = Arc::default();
        self.sequences.insert(topic.clone(), Arc::clone(&sequence));
        Some(sequence)
    }

    /// The cell of this bucket; `None` if too many are open.
    pub(super) fn open(&mut self, topic: &Topic, start: i64) -> Option<u32> {
        let key = (topic.clone(), start);
        if let Some(cell) = self.open.get(&key) {
            return Some(*cell);
        }
        let cell = self.free.pop_front()?;
        let page = &mut self.pages[cell as usize];
        page.key = Some(key.clone());
        page.opened = now();
        self.open.insert(key, cell);
        Some(cell)
    }

    /// Takes an attempt back that was counted in a cell which had been closed.
    pub(super) fn take_back(&mut self, cell: u32, len: u32) {
        let carried = &mut self.pages[cell as usize].carried[ATTEMPTED];
        *carried = minus(
            *carried,
            Count {
                records: 1,
                bytes: u64::from(len),
            },
        );
    }

    /// Empties the tallies of a cell into its page.
    pub(super) fn carry_over(&mut self, cells: &[Cell], cell: u32) {
        let page = &mut self.pages[cell as usize];
        let tallies = cells[cell as usize].tallies();
        for (carried, tally) in page.carried.iter_mut().zip(tallies) {
            *carried = plus(*carried, tally.take());
        }
    }

    /// Closes every bucket that is over (by its end, its opening and the time now) and has nothing in flight.
    pub(super) fn close(
        &mut self,
        cells: &[Cell],
        width: i64,
        now: i64,
        over: impl Fn(i64, i64, i64) -> bool,
    ) {
        for cell in 0..cells.len() as u32 {
            let page = &self.pages[cell as usize];
            let end = match &page.key {
                Some((_, start)) => start.saturating_add(width),
                None if cell == ELSEWHERE => page.opened,
                None => continue,
            };
            if over(end, page.opened, now) {
                self.close_cell(cells, cell, now);
            }
        }
    }

    fn close_cell(&mut self, cells: &[Cell], cell: u32, now: i64) {
        if self.balance(cells, cell).in_flight.records > 0 {
            return;
        }
        // From here on senders who know the cell count elsewhere; who was quicker is seen now.
        cells[cell as usize].next_generation();
        let balance = self.balance(cells, cell);
        if balance.in_flight.records > 0 || (cell == ELSEWHERE && balance.is_empty()) {
            return;
        }
        self.carry_over(cells, cell);
        let page = &mut self.pages[cell as usize];
        let counted = [
            balance.delivered,
            balance.not_persisted,
            balance.unknown,
            balance.attempted,
        ];
        // Not set to zero: an attempt that will be taken back may have been added meanwhile.
        for (carried, counted) in page.carried.iter_mut().zip(counted) {
            *carried = minus(*carried, counted);
        }
        page.opened = now;
        if let Some(key) = page.key.take() {
            self.open.remove(&key);
            self.free.push_back(cell);
        }
        self.past.add(&balance);
        // A bucket whose one record was refused before anything was counted has nothing to say.
        if !balance.is_empty() {
            self.closed.push(balance);
        }
    }

    /// What was not written yet.
    pub(super) fn balances(&self, cells: &[Cell]) -> Vec<Balance> {
        let mut balances = self.closed.clone();
        balances.extend(self.open_balances(cells));
        balances
    }

    pub(super) fn open_balances(&self, cells: &[Cell]) -> Vec<Balance> {
        (0..cells.len() as u32)
            .filter(|cell| *cell == ELSEWHERE || self.pages[*cell as usize].key.is_some())
            .map(|cell| self.balance(cells, cell))
            .filter(|balance| !balance.is_empty())
            .collect()
    }

    pub(super) fn totals(&self, cells: &[Cell]) -> Balance {
        let mut totals = self.past.clone();
        for balance in self.open_balances(cells) {
            totals.add(&balance);
        }
        totals
    }

    fn balance(&self, cells: &[Cell], cell: u32) -> Balance {
        let page = &self.pages[cell as usize];
        let mut counts = page.carried;
        for (count, tally) in counts.iter_mut().zip(cells[cell as usize].tallies()) {
            *count = plus(*count, tally.read());
        }
        let [delivered, not_persisted, unknown, attempted] = counts;
        let (topic, bucket_start) = page.key.clone().unzip();
        Balance {
            topic,
            bucket_start,
            attempted,
            delivered,
            not_persisted,
            unknown,
            in_flight: attempted.saturating_sub(delivered + not_persisted + unknown),
        }
    }
}

fn plus(a: Count, b: Count) -> Count {
    Count {
        records: a.records.wrapping_add(b.records),
        bytes: a.bytes.wrapping_add(b.bytes),
    }
}

fn minus(a: Count, b: Count) -> Count {
    Count {
        records: a.records.wrapping_sub(b.records),
        bytes: a.bytes.wrapping_sub(b.bytes),
    }
}

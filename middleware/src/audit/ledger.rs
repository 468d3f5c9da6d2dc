//! The book behind the counters: which cell stands for which bucket, and what was closed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::AtomicU64},
};

use franking_core::Topic;

use super::{
    Balance, Count,
    cell::{COLUMNS, Cell},
    latency::Histogram,
    now,
};

/// The cell of everything that found no other.
pub(super) const ELSEWHERE: u32 = 0;
/// Of the counts in a page, as in `Cell::tallies`.
const ATTEMPTED: usize = COLUMNS - 1;

pub(super) struct Ledger {
    pages: Vec<Page>,
    open: HashMap<(Topic, i64), u32>,
    free: VecDeque<u32>,
    sequences: HashMap<Topic, Arc<AtomicU64>>,
    /// How many were reported.
    pub(super) reports: u64,
    /// The sum of all that were closed.
    past: Balance,
    past_latency: Histogram,
}

/// What the ledger knows of a cell.
#[derive(Default)]
struct Page {
    key: Option<(Topic, i64)>,
    /// By the clock, not by timestamps.
    opened: i64,
    /// Opened when its bucket should have been reported already.
    late: bool,
    /// What was carried over from the cell's tallies. Wrapping: an attempt may be taken back here before it is carried
    /// over.
    carried: [Count; COLUMNS],
    carried_latency: Option<Histogram>,
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
            reports: 0,
            past: Balance::default(),
            past_latency: Histogram::default(),
        }
    }

    /// The number of the last record to this topic; `None` if there are too many topics, or Kafka takes none of this name:
    /// that can be anything, and would be in reports.
    pub(super) fn sequence(&mut self, topic: &Topic) -> Option<Arc<AtomicU64>> {
        if let Some(sequence) = self.sequences.get(topic) {
            return Some(Arc::clone(sequence));
        }
        if self.sequences.len() >= self.pages.len() - 1 || !topic.is_legal() {
            return None;
        }
        let sequence = Arc::default();
        self.sequences.insert(topic.clone(), Arc::clone(&sequence));
        Some(sequence)
    }

    /// The cell of this bucket, which is late if it should have been reported by this time; `None` if too many are open.
    pub(super) fn open(&mut self, topic: &Topic, start: i64, reported_by: i64) -> Option<u32> {
        let key = (topic.clone(), start);
        if let Some(cell) = self.open.get(&key) {
            return Some(*cell);
        }
        let cell = self.free.pop_front()?;
        let page = &mut self.pages[cell as usize];
        page.key = Some(key.clone());
        page.opened = now();
        page.late = reported_by <= page.opened;
        self.open.insert(key, cell);
        Some(cell)
    }

    /// Takes an attempt back that was counted in a cell which had been closed.
    pub(super) fn take_back(&mut self, cell: u32, len: u32) {
        let carried = &mut self.pages[cell as usize].carried[ATTEMPTED];
        *carried = carried.wrapping_sub(count((1, u64::from(len))));
    }

    /// Empties the tallies of a cell into its page.
    pub(super) fn carry_over(&mut self, cells: &[Cell], cell: u32) {
        let page = &mut self.pages[cell as usize];
        let tallies = cells[cell as usize].tallies();
        for (carried, tally) in page.carried.iter_mut().zip(tallies) {
            *carried = carried.wrapping_add(count(tally.take()));
        }
    }

    /// The same for its latencies.
    pub(super) fn carry_latency_over(&mut self, cells: &[Cell], cell: u32) {
        if let Some(counting) = cells[cell as usize].known_latency() {
            let carried = &mut self.pages[cell as usize].carried_latency;
            carried.get_or_insert_default().add(&counting.take());
        }
    }

    /// Closes every bucket that is over (by its end, its opening and the time now) and has nothing in flight: what it
    /// returns is in no other bucket any more.
    #[must_use]
    pub(super) fn close(
        &mut self,
        cells: &[Cell],
        width: i64,
        now: i64,
        over: impl Fn(i64, i64, i64) -> bool,
    ) -> Vec<Balance> {
        let mut closed = Vec::new();
        for cell in 0..cells.len() as u32 {
            let page = &self.pages[cell as usize];
            let end = match &page.key {
                Some((_, start)) => start.saturating_add(width),
                None if cell == ELSEWHERE => page.opened,
                None => continue,
            };
            if over(end, page.opened, now) {
                closed.extend(self.close_cell(cells, cell, now));
            }
        }
        closed
    }

    fn close_cell(&mut self, cells: &[Cell], cell: u32, now: i64) -> Option<Balance> {
        if self.balance(cells, cell).in_flight.records > 0 {
            return None;
        }
        // From here on senders who know the cell count elsewhere; who was quicker is seen now.
        cells[cell as usize].next_generation();
        let counted = self.counts(cells, cell);
        let balance = self.balance_of(cell, counted);
        if balance.in_flight.records > 0 || (cell == ELSEWHERE && balance.is_empty()) {
            return None;
        }
        self.carry_over(cells, cell);
        self.carry_latency_over(cells, cell);
        let page = &mut self.pages[cell as usize];
        // Not set to zero: an attempt that will be taken back may have been added meanwhile.
        for (carried, counted) in page.carried.iter_mut().zip(counted) {
            *carried = carried.wrapping_sub(counted);
        }
        // What was delivered had its latency counted before.
        let latency = page.carried_latency.take().unwrap_or_default();
        page.opened = now;
        if let Some(key) = page.key.take() {
            self.open.remove(&key);
            self.free.push_back(cell);
        }
        self.past.add(&balance);
        self.past_latency.add(&latency);
        // A bucket whose one record was refused before anything was counted has nothing to say.
        (!balance.is_empty()).then(|| Balance {
            latency: latency.summary(),
            ..balance
        })
    }

    /// Of the buckets that are open.
    pub(super) fn open_balances(&self, cells: &[Cell]) -> Vec<Balance> {
        let open = self.open_cells().map(|cell| Balance {
            latency: self.latency(cells, cell).summary(),
            ..self.balance(cells, cell)
        });
        open.filter(|balance| !balance.is_empty()).collect()
    }

    /// The sum of all, closed and open.
    pub(super) fn totals(&self, cells: &[Cell]) -> Balance {
        let mut totals = self.past.clone();
        let mut latency = self.past_latency.clone();
        for cell in self.open_cells() {
            totals.add(&self.balance(cells, cell));
            latency.add(&self.latency(cells, cell));
        }
        totals.latency = latency.summary();
        totals
    }

    fn open_cells(&self) -> impl Iterator<Item = u32> {
        (0..self.pages.len() as u32)
            .filter(|cell| *cell == ELSEWHERE || self.pages[*cell as usize].key.is_some())
    }

    fn balance(&self, cells: &[Cell], cell: u32) -> Balance {
        self.balance_of(cell, self.counts(cells, cell))
    }

    fn counts(&self, cells: &[Cell], cell: u32) -> [Count; COLUMNS] {
        let mut counts = self.pages[cell as usize].carried;
        for (sum, tally) in counts.iter_mut().zip(cells[cell as usize].tallies()) {
            *sum = sum.wrapping_add(count(tally.read()));
        }
        counts
    }

    /// Without the latency.
    fn balance_of(&self, cell: u32, counts: [Count; COLUMNS]) -> Balance {
        let page = &self.pages[cell as usize];
        let [
            delivered,
            not_persisted,
            unknown,
            retried,
            refused,
            attempted,
        ] = counts;
        let (topic, bucket_start) = page.key.clone().unzip();
        Balance {
            topic,
            bucket_start,
            attempted,
            delivered,
            not_persisted,
            unknown,
            in_flight: attempted.saturating_sub(delivered + not_persisted + unknown),
            retried,
            refused,
            late: if page.late {
                attempted
            } else {
                Count::default()
            },
            ..Balance::default()
        }
    }

    fn latency(&self, cells: &[Cell], cell: u32) -> Histogram {
        let carried = &self.pages[cell as usize].carried_latency;
        let mut histogram = carried.clone().unwrap_or_default();
        if let Some(counting) = cells[cell as usize].known_latency() {
            histogram.add(&counting.read());
        }
        histogram
    }
}

fn count((records, bytes): (u64, u64)) -> Count {
    Count { records, bytes }
}

//! The two ends of a record's way: counted as attempted, and counted by its outcome.

use std::{sync::atomic::Ordering, time::Instant};

use bytes::Bytes;
use franking_core::{Failure, Interceptor, Outcome, Parts, Persistence, Topic};

use super::{
    Audit, LOOK_EVERY,
    ledger::ELSEWHERE,
    recent::{self, Recent},
};

impl Interceptor for Audit {
    type Token = Ticket;

    fn on_send(&self, record: &mut Parts) -> Result<Ticket, Failure> {
        let at = record.time();
        let len =
            record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let (cell, number) = self.attempt(&record.topic, at, len);
        self.stamp(record, number);
        let started = record.now();
        Ok(Ticket { started, cell, len })
    }

    fn on_outcome(&self, ticket: Ticket, outcome: &Outcome<'_>) {
        self.settle(&ticket, outcome);
        let now = outcome.at.saturating_duration_since(self.born).as_secs();
        let due = self.look_at.load(Ordering::Relaxed);
        if now >= due {
            self.look(now, due);
        }
    }
}

/// Where a record was counted, with how many bytes, and since when: what travels with it to its outcome.
#[derive(Debug)]
pub struct Ticket {
    started: Instant,
    cell: u32,
    len: u32,
}

impl Audit {
    /// Counts an attempt, and says where it was counted and its number.
    fn attempt(&self, topic: &Topic, at: i64, len: u32) -> (u32, Option<u64>) {
        let index = recent::index(self.id, topic);
        let known = recent::look(index, |entry| {
            let here = entry.is_for(self.id, topic, at);
            here.then(|| self.attempt_at(entry, len)).flatten()
        });
        match known {
            Some((cell, number)) => (cell, Some(number)),
            None => self.attempt_anywhere(topic, at, len, index),
        }
    }

    /// Counts in a cell without a lock, unless the cell was closed since the thread saw it.
    fn attempt_at(&self, entry: &Recent, len: u32) -> Option<(u32, u64)> {
        let cell = &self.cells[entry.cell as usize];
        let full = cell.attempted.add(len);
        if !cell.is_still(entry.generation) {
            self.lock().take_back(entry.cell, len);
            return None;
        }
        if full {
            self.lock().carry_over(&self.cells, entry.cell);
        }
        Some((
            entry.cell,
            entry.sequence.fetch_add(1, Ordering::Relaxed) + 1,
        ))
    }

    #[cold]
    fn attempt_anywhere(
        &self,
        topic: &Topic,
        at: i64,
        len: u32,
        index: usize,
    ) -> (u32, Option<u64>) {
        let mut ledger = self.lock();
        let sequence = ledger.sequence(topic);
        let start = at.div_euclid(self.width).checked_mul(self.width);
        let found = match (&sequence, start) {
            (Some(_), Some(start)) => {
                let reported_by = start.saturating_add(self.width).saturating_add(self.delay);
                ledger.open(topic, start, reported_by)
            }
            _ => None,
        };
        let cell = found.unwrap_or(ELSEWHERE);
        // Under the lock, so that nobody closes it before this is counted.
        if self.cells[cell as usize].attempted.add(len) {
            ledger.carry_over(&self.cells, cell);
        }
        let generation = self.cells[cell as usize].generation();
        drop(ledger);
        let number = sequence
            .as_ref()
            .map(|sequence| sequence.fetch_add(1, Ordering::Relaxed) + 1);
        if let (Some(sequence), Some(start), Some(cell)) = (sequence, start, found) {
            let entry = Recent {
                audit: self.id,
                topic: topic.clone(),
                start,
                end: start.saturating_add(self.width),
                cell,
                generation,
                sequence,
            };
            recent::remember(index, entry);
        }
        (cell, number)
    }

    /// Counts an outcome. What tells more of it comes first: once it is settled, its bucket may be closed.
    fn settle(&self, ticket: &Ticket, outcome: &Outcome<'_>) {
        let cell = &self.cells[ticket.cell as usize];
        let mut full = false;
        if outcome.attempts > 1 {
            full |= cell.retried.add(ticket.len);
        }
        let settled = match outcome.result {
            Ok(_) => {
                let took = outcome.at.saturating_duration_since(ticket.started);
                if cell.latency().add(took) {
                    self.lock().carry_latency_over(&self.cells, ticket.cell);
                }
                &cell.delivered
            }
            Err(failure) => {
                if outcome.attempts == 0 {
                    full |= cell.refused.add(ticket.len);
                }
                match failure.persistence() {
                    Persistence::NotPersisted => &cell.not_persisted,
                    Persistence::Unknown => &cell.unknown,
                }
            }
        };
        full |= settled.add(ticket.len);
        if full {
            self.lock().carry_over(&self.cells, ticket.cell);
        }
    }

    fn stamp(&self, record: &mut Parts, number: Option<u64>) {
        let forwarded = record.history.as_ref().is_some_and(|h| h.is_forwarded());
        let headers = &mut record.headers;
        match (number, &self.at_instance) {
            (Some(number), Some(instance)) if forwarded || self.instance_on_all => {
                let digits = digits(number);
                headers.stamp_with(&self.sequence, digits + instance.len(), |text| {
                    let (decimal, behind) = text.split_at_mut(digits);
                    write_decimal(number, decimal);
                    behind.copy_from_slice(instance.as_bytes());
                });
            }
            (Some(number), _) if !forwarded => {
                headers.stamp_with(&self.sequence, digits(number), |text| {
                    write_decimal(number, text);
                });
            }
            _ => drop(headers.remove(self.sequence.as_str())),
        }
    }

    #[cold]
    fn look(&self, now: u64, due: u64) {
        let next = now + LOOK_EVERY;
        let mine = self
            .look_at
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            self.tick();
        }
    }
}

fn digits(number: u64) -> usize {
    1 + number.checked_ilog10().unwrap_or(0) as usize
}

/// Fills it up with so many digits, from the last one on.
fn write_decimal(number: u64, text: &mut [u8]) {
    let mut left = number;
    for byte in text.iter_mut().rev() {
        *byte = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 184_467, u64::MAX] {
            let mut text = vec![0; digits(number)];
            write_decimal(number, &mut text);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_cell_that_was_closed_meanwhile_is_not_counted_in() {
        let audit = Audit::new();
        let topic = Topic::from("a");
        let (cell, _) = audit.attempt(&topic, 0, 1);
        audit.cells[cell as usize].delivered.add(1);
        // Frees the cell that this thread remembers, and gives it to another topic.
        audit.report();
        let other = Topic::from("other");
        let others: Vec<_> = (0..1024)
            .map(|n| audit.attempt(&other, n * 600_000, 10))
            .collect();
        assert!(others.iter().any(|(other, _)| *other == cell));
        let (again, number) = audit.attempt(&topic, 0, 1);
        assert_eq!(number, Some(2));
        assert_eq!(again, ELSEWHERE, "all cells are taken");
        let snapshot = audit.snapshot();
        assert_eq!(snapshot.len(), 1025);
        assert!(snapshot.iter().all(|b| b.attempted.records == 1));
        assert_eq!(audit.totals().attempted.records, 1026);
        assert_eq!(audit.totals().in_flight.bytes, 10241);
    }
}

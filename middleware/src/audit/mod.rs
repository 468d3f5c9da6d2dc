//! The audit layer: the balance of every record, per topic and bucket of time, and the number of each.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use franking_core::{Code, Failure, InterceptorLayer, Record, testing::{Answer, Scripted, send}};
//! use franking_middleware::audit::Audit;
//! use tower_layer::Layer;
//!
//! let engine = Scripted::new();
//! let audit = Arc::new(Audit::new());
//! let mut stack = InterceptorLayer::new(Arc::clone(&audit)).layer(engine.clone());
//!
//! engine.script(Answer::fail(Failure::new(Code::TimedOut)));
//! send(&mut stack, Record::new("orders").value("a")).unwrap_err();
//! send(&mut stack, Record::new("orders").value("b"))?;
//! assert_eq!(engine.stored()[0].parts.headers.get_str("prov-seq"), Some("2"));
//!
//! let all = audit.totals();
//! assert_eq!((all.attempted.records, all.delivered.records, all.not_persisted.records), (2, 1, 1));
//! assert!(all.holds());
//! # Ok::<(), franking_core::SendError>(())
//! ```
//!
//! # The balance
//! For each topic and bucket, in records and in bytes of key and value (so that a reader who counts the same way can
//! compare):
//!
//! > attempted = delivered + not persisted + unknown + in flight
//!
//! A record belongs to the bucket of its timestamp; one without gets the time of the send, so that the topic and the
//! balance agree on its bucket. Buckets begin at multiples of their width (10 minutes) since the epoch. With `acks=0`
//! *delivered* means *sent*. Outside of a retry layer a record counts once, inside of it each attempt does.
//!
//! Of these are told besides: those that were *retried* (the engine had them more than once), *refused* (a layer further in
//! did not let them through; they are not persisted) and *late* (their bucket should have been reported already), and the
//! latency of what was delivered: mean, p95, p99 and maximum.
//!
//! # Reports
//! A bucket is reported ([`Report`]) when it is over, 60 s have passed, and nothing in it is in flight. **The sum of all
//! closed reports of a bucket is the truth about it.** Records that come later open it anew, and their report adds to the
//! first one. It stays open for its width and those 60 s at most, whatever timestamps say.
//!
//! Reports go to `tracing` (target `franking::audit`, level info, with the fields of [`Report`]) and to every sink
//! ([`AuditBuilder::sink`]): lines of a file that are chained by hashes ([`JsonLines`]), records of a topic ([`ToTopic`]), or
//! your own [`ReportSink`].
//!
//! - **Nothing is lost** when a report fails: it leaves the audit when every sink said that it *was* written, and comes
//!   again at each look until then. Its id stays the same, so that a collector knows it. While 4,096 reports wait, no
//!   bucket is closed; they then fill up, and what finds no place is counted without topic and bucket.
//! - [`report`](Audit::report) reports all there is, now. Of what has records in flight it writes a picture to `tracing`,
//!   with `closed=false`, repeated in a later report.
//! - There is no thread and no timer. The layer looks for buckets that are over when an outcome comes, at most every
//!   10 s, on the thread that settles records. A producer that has fallen silent reports when it calls `tick` or
//!   `report`, or when the last handle to the audit is dropped: then everything that is left is written.
//!
//! # `prov-seq`
//! The instance's n-th record to this topic, decimal, from 1: a reader finds gaps and duplicates. Gaps that are no loss:
//! a record that a layer further in refused or that failed had its number. Threads that send to one topic at the same
//! time get their numbers in the order in which they passed this layer, which need not be that of the offsets. It
//! counts from 1 again with a new `Audit`, so read it together with `service.instance.id` in `prov-origin`. The origin
//! of a forwarded record is another instance: there the number names its own, as `52@0b0c9b1e`
//! ([`AuditBuilder::instance_id`]), and without one there is no number.
//!
//! # Limits
//! At most 1,024 buckets are open and 1,024 topics are numbered ([`AuditBuilder::capacity`]), whatever timestamps and
//! topics come. What is beyond is counted in one balance without topic and bucket; records to topics beyond carry no
//! `prov-seq`. Negative timestamps and those of the far future are as good as others.
//!
//! # Cost
//! No allocation beside the hook. Over an engine that does nothing 26 ns for the hook, 20 for the clock, which is read once
//! for all layers, and four atomic additions of 7.
//! 130 KB for an audit and 1.5 KB for each open bucket; a thread remembers up to 16 of the topics that it sent to last.

mod balance;
mod builder;
mod cell;
pub mod chain;
mod latency;
mod ledger;
mod lines;
mod outbox;
mod recent;
mod report;
mod to_topic;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use franking_core::{Failure, HeaderName, Interceptor, Outcome, Parts, Persistence, Topic};
use uuid::Uuid;

pub use self::{
    balance::{Balance, Count},
    builder::AuditBuilder,
    latency::Latency,
    lines::JsonLines,
    outbox::{Receipt, ReportSink},
    report::Report,
    to_topic::ToTopic,
};
use self::{
    cell::Cell,
    ledger::{ELSEWHERE, Ledger},
    outbox::Outbox,
    recent::Recent,
};

/// How often an outcome looks for buckets that are over, in seconds.
const LOOK_EVERY: u64 = 10;

/// Keeps the balance and stamps `prov-seq`. See the [module's documentation](self).
///
/// Share it as an `Arc<Audit>`: one goes into the stack, one stays with the application.
pub struct Audit {
    /// Tells the audits of a process apart in what a thread remembers.
    id: u64,
    /// Tells the audits of the world apart in the ids of reports.
    uuid: Uuid,
    /// Whose records these are, as reports say it.
    instance: Option<String>,
    /// `@` and the instance, as it stands behind numbers.
    at_instance: Option<String>,
    instance_on_all: bool,
    sequence: HeaderName,
    width: i64,
    delay: i64,
    cells: Box<[Cell]>,
    ledger: Mutex<Ledger>,
    outbox: Arc<Outbox>,
    born: Instant,
    /// When the next outcome shall look for buckets that are over, in seconds since `born`.
    look_at: AtomicU64,
}

impl Default for Audit {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Audit {
    /// With buckets of 10 minutes, reported 60 s after their end, to `tracing`.
    pub fn new() -> Self {
        Self::default()
    }

    /// With other buckets, or other sinks.
    pub fn builder() -> AuditBuilder {
        AuditBuilder::default()
    }

    /// Gives reports to this sink too: those of buckets that are closed from now on. At most 63 of them.
    pub fn add_sink(&self, sink: impl ReportSink) {
        self.outbox.add_sink(Arc::new(sink));
    }

    /// The balance of each topic and bucket that was not written yet, in their order.
    pub fn snapshot(&self) -> Vec<Balance> {
        let mut balances = {
            let ledger = self.lock();
            let mut balances = self.outbox.balances();
            balances.extend(ledger.open_balances(&self.cells));
            balances
        };
        balances.sort_by(|a, b| (&a.topic, a.bucket_start).cmp(&(&b.topic, b.bucket_start)));
        balances
    }

    /// The balance of everything since the audit was made, also of what was written.
    pub fn totals(&self) -> Balance {
        self.lock().totals(&self.cells)
    }

    /// How many reports wait for a sink that has not written them.
    pub fn unwritten(&self) -> usize {
        self.outbox.len()
    }

    /// Reports the buckets that are over, as outcomes do from time to time, and hands out again what was not written. For
    /// a producer that may fall silent.
    pub fn tick(&self) {
        self.close(|end, opened, now| {
            // Not longer than its width either, so that a wrong timestamp cannot keep it open.
            let closes = end.max(opened).min(opened.saturating_add(self.width));
            closes.saturating_add(self.delay) <= now
        });
        self.outbox.write();
    }

    /// Reports every bucket now: for the end of a producer, after its close.
    pub fn report(&self) {
        self.close(|_, _, _| true);
        let open = self.lock().open_balances(&self.cells);
        self.outbox.write();
        for balance in open {
            report::trace(&self.picture(&balance));
        }
    }

    /// Moves what is over from the ledger to the outbox: at each moment it is in one of the two.
    fn close(&self, over: impl Fn(i64, i64, i64) -> bool) {
        let mut ledger = self.lock();
        if self.outbox.is_full() {
            return;
        }
        for balance in ledger.close(&self.cells, self.width, now(), over) {
            ledger.reports += 1;
            let report = Report {
                id: Some(format!("{}/{}", self.uuid, ledger.reports)),
                closed: true,
                ..self.picture(&balance)
            };
            self.outbox.push(ledger.reports, report, balance);
        }
    }

    fn picture(&self, balance: &Balance) -> Report {
        Report {
            instance: self.instance.clone(),
            ..Report::of(balance, self.width)
        }
    }

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
        let mut buffer = [0; 20];
        match (number, &self.at_instance) {
            (Some(number), Some(instance)) if forwarded || self.instance_on_all => {
                let mut text = decimal(number, &mut buffer).to_vec();
                text.extend_from_slice(instance.as_bytes());
                record.headers.stamp(&self.sequence, &text);
            }
            (Some(number), _) if !forwarded => {
                let text = decimal(number, &mut buffer);
                record.headers.stamp(&self.sequence, text);
            }
            _ => drop(record.headers.remove(self.sequence.as_str())),
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

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing of anybody else's runs under this lock, so a poisoned ledger is still whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Audit {
    /// Every hook holds the audit, so nothing is in flight any more.
    fn drop(&mut self) {
        self.report();
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}

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

fn decimal(number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut left = number;
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return &buffer[at..];
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 184_467, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
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

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
//! No allocation of its own. Over an engine that does nothing 70 ns, among them 5 for its token, 20 for the clock, which is read
//! once for all layers, and four atomic additions of 3 to 6.
//! 130 KB for an audit and 1.5 KB for each open bucket; a thread remembers up to 16 of the topics that it sent to last.

mod balance;
mod builder;
mod cell;
pub mod chain;
mod counting;
mod latency;
mod ledger;
mod lines;
mod outbox;
mod recent;
mod report;
mod to_topic;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use franking_core::HeaderName;
use uuid::Uuid;

pub use self::{
    balance::{Balance, Count},
    builder::AuditBuilder,
    counting::Ticket,
    latency::Latency,
    lines::JsonLines,
    outbox::{Receipt, ReportSink},
    report::Report,
    to_topic::ToTopic,
};
use self::{cell::Cell, ledger::Ledger, outbox::Outbox};

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

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing of anybody else's runs under this lock, so a poisoned ledger is still whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Audit {
    /// What waits for an outcome holds the audit, so nothing is in flight any more.
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

//! The reports that some sink has not written.
//!
//! A report leaves only when every sink said that it *was* written: the counts of a bucket are nowhere else any more.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use franking_core::Escaped;

use super::{Balance, Report};

/// So many reports wait at most; then no bucket is closed until there is place again.
const MOST: usize = 4096;
/// A bit each.
const MOST_SINKS: usize = 64;

/// Keeps reports: a file, a topic, or your own.
///
/// A sink may answer at once or later, from any thread. It is called on the threads that send and settle records, with
/// no lock of the audit held: it should not take long, and must not wait for a record of the same producer.
pub trait ReportSink: Send + Sync + 'static {
    /// Writes the report, then says so with [`Receipt::written`]. A receipt that is dropped without it, by an error or a
    /// panic, brings the report again at the next look, with the same id.
    fn write(&self, report: &Arc<Report>, receipt: Receipt);

    /// What it is called in messages.
    fn name(&self) -> &str;
}

/// Says whether a report was written.
#[must_use = "a receipt that is dropped says that the report was not written"]
pub struct Receipt {
    outbox: Arc<Outbox>,
    number: u64,
    sink: usize,
    open: bool,
}

impl Receipt {
    /// It was written, and will not come again.
    pub fn written(mut self) {
        self.open = false;
        self.outbox.settle(self.number, self.sink, true);
    }

    /// It was not written, and comes again. The first failure in a row is told to `tracing`.
    pub fn failed(mut self, reason: &dyn fmt::Display) {
        self.end(reason);
    }

    fn end(&mut self, reason: &dyn fmt::Display) {
        self.open = false;
        let told = self.outbox.settle(self.number, self.sink, false);
        // A subscriber that panics, as it may have just now, would panic once more, and that ends the process.
        if let Some(sink) = told.filter(|_| !thread::panicking()) {
            tracing::warn!(
                target: "franking::audit::sink",
                sink = sink.name(),
                reason = %Escaped(reason),
                "a report of the audit was not written; it is kept, and written again later"
            );
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.open {
            self.end(&"the sink gave no answer");
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    sinks: Vec<Arc<dyn ReportSink>>,
    entries: VecDeque<Entry>,
    /// Sinks whose last answer was a failure, by bits.
    failing: u64,
}

struct Entry {
    number: u64,
    report: Arc<Report>,
    balance: Balance,
    /// Sinks that have not written it, by bits.
    left: u64,
    /// Of these: those that are at it.
    busy: u64,
}

impl Outbox {
    pub(super) fn add_sink(&self, sink: Arc<dyn ReportSink>) {
        let mut state = self.lock();
        assert!(
            state.sinks.len() < MOST_SINKS,
            "an audit has at most {MOST_SINKS} sinks"
        );
        state.sinks.push(sink);
    }

    pub(super) fn push(&self, number: u64, report: Report, balance: Balance) {
        let mut state = self.lock();
        let left = match state.sinks.len() {
            0 => return,
            sinks => u64::MAX >> (MOST_SINKS - sinks),
        };
        state.entries.push_back(Entry {
            number,
            report: Arc::new(report),
            balance,
            left,
            busy: 0,
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().entries.len() >= MOST
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    pub(super) fn balances(&self) -> Vec<Balance> {
        let state = self.lock();
        state.entries.iter().map(|e| e.balance.clone()).collect()
    }

    /// Hands every report to every sink that has not written it, once. With no lock held: a sink is somebody else's code.
    pub(super) fn write(self: &Arc<Self>) {
        // The receipts are made before: those that a panic leaves behind put their reports back.
        for (sink, report, receipt) in self.round() {
            sink.write(&report, receipt);
        }
    }

    fn round(self: &Arc<Self>) -> Vec<(Arc<dyn ReportSink>, Arc<Report>, Receipt)> {
        let mut round = Vec::new();
        let State { sinks, entries, .. } = &mut *self.lock();
        for entry in entries {
            for (index, sink) in sinks.iter().enumerate() {
                if (entry.left & !entry.busy) >> index & 1 == 1 {
                    entry.busy |= 1 << index;
                    let receipt = Receipt {
                        outbox: Arc::clone(self),
                        number: entry.number,
                        sink: index,
                        open: true,
                    };
                    round.push((Arc::clone(sink), Arc::clone(&entry.report), receipt));
                }
            }
        }
        round
    }

    /// The sink, if it failed and did not before.
    fn settle(&self, number: u64, sink: usize, written: bool) -> Option<Arc<dyn ReportSink>> {
        let bit = 1 << sink;
        let mut state = self.lock();
        let index = state
            .entries
            .binary_search_by_key(&number, |entry| entry.number);
        if let Ok(index) = index {
            let entry = &mut state.entries[index];
            entry.busy &= !bit;
            if written {
                entry.left &= !bit;
                if entry.left == 0 {
                    state.entries.remove(index);
                }
            }
        }
        let failed_before = state.failing & bit != 0;
        match written {
            true => state.failing &= !bit,
            false => state.failing |= bit,
        }
        (!written && !failed_before).then(|| Arc::clone(&state.sinks[sink]))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    /// Neither the audit nor a receipt is left: what is here was not written, and will not be.
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let State { sinks, entries, .. } = &*self.lock();
        for (index, sink) in sinks.iter().enumerate() {
            let lost = entries.iter().filter(|entry| entry.left >> index & 1 == 1);
            for entry in lost {
                tracing::error!(
                    target: "franking::audit::sink",
                    sink = sink.name(),
                    report = ?entry.report,
                    "the audit ends with a report that was not written"
                );
            }
        }
    }
}

//! What became of every line: three counts, and the errors.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use franking::{Persistence, SendError, SendResult};
use indicatif::ProgressBar;
use serde_json::json;

use super::line::BadLine;
use crate::{json, terminal::BAD, text::escaped};

/// So many errors are told as they come; who wants all of them has a report.
const TOLD: u64 = 20;

/// Counts lines and outcomes. Outcomes come on the engine's thread.
pub(super) struct Tally {
    /// The last line that was taken from the input.
    lines: AtomicU64,
    bad_lines: AtomicU64,
    accepted: AtomicU64,
    delivered: AtomicU64,
    not_persisted: AtomicU64,
    unknown: AtomicU64,
    errors: Mutex<Errors>,
}

struct Errors {
    told: u64,
    by_code: BTreeMap<String, u64>,
    report: Option<BufWriter<File>>,
    /// The first error of the report itself.
    report_failed: Option<io::Error>,
    /// Errors are told above it.
    progress: ProgressBar,
}

/// The counts at one moment. Of what was accepted, what has no outcome yet is `outstanding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) lines: u64,
    pub(super) bad_lines: u64,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) not_persisted: u64,
    pub(super) unknown: u64,
    pub(super) outstanding: u64,
}

impl Tally {
    pub(super) fn new(report: Option<File>, progress: ProgressBar) -> Self {
        Self {
            lines: AtomicU64::new(0),
            bad_lines: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            not_persisted: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            errors: Mutex::new(Errors {
                told: 0,
                by_code: BTreeMap::new(),
                report: report.map(BufWriter::new),
                report_failed: None,
                progress,
            }),
        }
    }

    /// A line was taken from the input; gives its number, from 1.
    pub(super) fn line(&self) -> u64 {
        self.lines.fetch_add(1, Relaxed) + 1
    }

    /// The line is not sent.
    pub(super) fn bad(&self, line: u64, why: &BadLine) {
        self.bad_lines.fetch_add(1, Relaxed);
        let mut errors = self.errors();
        errors.report(json!({ "line": line, "outcome": "invalid", "error": why.to_string() }));
        errors.tell(line, &format!("not sent: {why}"));
    }

    /// A record was handed to the producer.
    pub(super) fn accept(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// What became of it, and the error if there is one.
    pub(super) fn ended(&self, line: u64, result: SendResult) -> Option<SendError> {
        let Err(error) = result else {
            self.delivered.fetch_add(1, Release);
            return None;
        };
        let (count, outcome) = match error.persistence() {
            Persistence::NotPersisted => (&self.not_persisted, "not_persisted"),
            Persistence::Unknown => (&self.unknown, "unknown"),
        };
        let mut errors = self.errors();
        count.fetch_add(1, Release);
        *errors
            .by_code
            .entry(error.code().name().to_owned())
            .or_default() += 1;
        errors.report(json!({
            "line": line, "outcome": outcome, "code": error.code().name(), "error": error.to_string(),
        }));
        errors.tell(line, &error.to_string());
        drop(errors);
        Some(error)
    }

    pub(super) fn counts(&self) -> Counts {
        // Outcomes before what was accepted, so that there are never more of them.
        let [delivered, not_persisted, unknown] =
            [&self.delivered, &self.not_persisted, &self.unknown].map(|count| count.load(Acquire));
        let accepted = self.accepted.load(Relaxed);
        Counts {
            lines: self.lines.load(Relaxed),
            bad_lines: self.bad_lines.load(Relaxed),
            accepted,
            delivered,
            not_persisted,
            unknown,
            outstanding: accepted.saturating_sub(delivered + not_persisted + unknown),
        }
    }

    /// Failures by their code.
    pub(super) fn by_code(&self) -> BTreeMap<String, u64> {
        self.errors().by_code.clone()
    }

    /// Ends the report with this line.
    ///
    /// # Errors
    /// If any part of it could not be written.
    pub(super) fn close_report(&self, last: serde_json::Value) -> io::Result<()> {
        let mut errors = self.errors();
        errors.report(last);
        if let Some(mut report) = errors.report.take() {
            report.flush()?;
        }
        errors.report_failed.take().map_or(Ok(()), Err)
    }

    fn errors(&self) -> MutexGuard<'_, Errors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Errors {
    fn report(&mut self, line: serde_json::Value) {
        if let Some(report) = &mut self.report
            && let Err(error) = json::line(&line).and_then(|line| writeln!(report, "{line}"))
        {
            self.report_failed.get_or_insert(error);
            self.report = None;
        }
    }

    fn tell(&mut self, line: u64, what: &str) {
        self.told += 1;
        if self.told > TOLD {
            return;
        }
        self.progress.suspend(|| {
            let mut err = anstream::stderr().lock();
            // Nobody is left to be told if this fails.
            let _ = writeln!(err, "{BAD}line {line}{BAD:#}: {}", escaped(what));
            if self.told == TOLD {
                let _ = writeln!(
                    err,
                    "further errors are counted; --report FILE has all of them"
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use franking::{Code, Failure};

    use super::*;

    #[test]
    fn counts_add_up_at_every_moment() {
        let tally = Tally::new(None, ProgressBar::hidden());
        let holds = |tally: &Tally| {
            let now = tally.counts();
            now.accepted == now.delivered + now.not_persisted + now.unknown + now.outstanding
        };
        for line in 1..=4 {
            assert_eq!(tally.line(), line);
            tally.accept();
            assert!(holds(&tally));
        }
        assert_eq!(tally.line(), 5);
        tally.bad(5, &BadLine("no separator".to_owned()));
        let unknown = Failure::new(Code::TimedOut).with_persistence(Persistence::Unknown);
        tally.ended(1, Err(unknown.into()));
        tally.ended(2, Err(Failure::new(Code::TimedOut).into()));
        tally.ended(3, Err(Failure::new(Code::Closed).into()));
        assert!(holds(&tally));
        let counts = Counts {
            lines: 5,
            bad_lines: 1,
            accepted: 4,
            delivered: 0,
            not_persisted: 2,
            unknown: 1,
            outstanding: 1,
        };
        assert_eq!(tally.counts(), counts);
        let codes = [("CLOSED".to_owned(), 1), ("TIMED_OUT".to_owned(), 2)];
        assert_eq!(tally.by_code(), BTreeMap::from(codes));
    }
}

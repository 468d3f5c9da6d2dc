//! What is said at the end, and the exit code.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{sending::Run, stop::Ended};
use crate::{
    json,
    terminal::{BAD, GOOD, HEADING},
    text::escaped,
};

/// What became of everything. `accepted` is the sum of the three outcomes.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    topic: String,
    ended: Ended,
    /// Records without an outcome when the reading was stopped before its end.
    outstanding_at_stop: Option<u64>,
    lines: u64,
    bad_lines: u64,
    accepted: u64,
    delivered: u64,
    not_persisted: u64,
    unknown: u64,
    /// Failures by their code.
    failures: BTreeMap<String, u64>,
    seconds: f64,
    records_per_s: f64,
}

impl Summary {
    /// As it is now.
    pub(super) fn new(run: &Run, ended: Ended, outstanding_at_stop: Option<u64>) -> Self {
        let counts = run.tally.counts();
        let seconds = run.started.elapsed().as_secs_f64();
        Self {
            topic: run.topic.to_string(),
            ended,
            outstanding_at_stop,
            lines: counts.lines,
            bad_lines: counts.bad_lines,
            accepted: counts.accepted,
            delivered: counts.delivered,
            not_persisted: counts.not_persisted,
            // Whoever ends now never hears what becomes of those that are on their way.
            unknown: counts.unknown + counts.outstanding,
            failures: run.tally.by_code(),
            seconds,
            records_per_s: counts.delivered as f64 / seconds,
        }
    }

    /// The worst that happened.
    pub(super) fn exit_code(&self) -> u8 {
        match self.ended {
            _ if self.unknown > 0 => 4,
            _ if self.not_persisted + self.bad_lines > 0 => 3,
            Ended::InputError | Ended::Error | Ended::Fatal => 1,
            Ended::Interrupted => 128 + 2,
            Ended::Terminated => 128 + 15,
            Ended::Input => 0,
        }
    }

    /// Prints it to stdout.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        let printed = match json {
            true => json::write(&mut out, self).and_then(|()| writeln!(out)),
            false => self.table(&mut out),
        };
        match printed.and_then(|()| out.flush()) {
            // Whoever has read enough still gets the exit code.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{HEADING}{} records to {} in {:.2} s, {:.0} delivered a second{HEADING:#}",
            self.accepted,
            escaped(&self.topic),
            self.seconds,
            self.records_per_s
        )?;
        writeln!(out, "  {GOOD}delivered{GOOD:#}      {:>12}", self.delivered)?;
        for (name, count, means) in [
            ("not persisted", self.not_persisted, "not in the topic"),
            ("unknown", self.unknown, "in the topic or not"),
            ("bad lines", self.bad_lines, "not sent"),
        ] {
            match count {
                0 => writeln!(out, "  {name:<13}  {count:>12}")?,
                _ => writeln!(out, "  {BAD}{name:<13}{BAD:#}  {count:>12}  {means}")?,
            }
        }
        for (code, count) in &self.failures {
            writeln!(out, "  {count} failed with {}", escaped(code))?;
        }
        let why = match self.ended {
            Ended::Input => return Ok(()),
            Ended::InputError => "the input could not be read any further",
            Ended::Interrupted => "interrupted",
            Ended::Terminated => "terminated",
            Ended::Error => "stopped at the first error",
            Ended::Fatal => "the producer failed fatally",
        };
        writeln!(
            out,
            "{why} after line {}, with {} records outstanding",
            self.lines,
            self.outstanding_at_stop.unwrap_or(0)
        )
    }
}

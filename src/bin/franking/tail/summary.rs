//! What was read, told at the end.

use std::io::Write as _;

use franking::provenance::{Seen, Writer, Writers};

use crate::{
    reading::Record,
    terminal::{BAD, FAINT},
    text::escaped,
};

/// How many writers are told of one by one.
const MOST: usize = 20;

pub(super) struct Summary {
    read: u64,
    pub(super) shown: u64,
    malformed: u64,
    writers: Writers,
    /// Whether all partitions are read from their beginning: only then is a number that was not read missing.
    whole: bool,
}

impl Summary {
    pub(super) fn new(whole: bool) -> Self {
        Self {
            read: 0,
            shown: 0,
            malformed: 0,
            writers: Writers::new(),
            whole,
        }
    }

    pub(super) fn read(&mut self, record: &Record<'_>) -> Seen {
        self.read += 1;
        self.malformed += u64::from(!record.provenance.notes.is_empty());
        self.writers.see(record.topic, &record.provenance)
    }

    pub(super) fn tell(&self, at_end: bool) {
        let mut err = anstream::stderr().lock();
        // Nobody is left to be told if this fails.
        let _ = writeln!(
            err,
            "{FAINT}{} read, {} shown, {} without a number, {} with malformed headers{FAINT:#}",
            self.read,
            self.shown,
            self.writers.unnumbered(),
            self.malformed,
        );
        let mut writers: Vec<_> = self.writers.iter().collect();
        writers.sort_by_key(|writer| (writer.topic(), writer.instance()));
        for writer in writers.iter().take(MOST) {
            let _ = writeln!(err, "{}", self.line(writer, at_end));
        }
        if writers.len() > MOST {
            let _ = writeln!(
                err,
                "{FAINT}and {} more instances{FAINT:#}",
                writers.len() - MOST
            );
        }
        if self.writers.untracked() > 0 {
            let _ = writeln!(
                err,
                "{FAINT}and {} records of instances beyond the first {}{FAINT:#}",
                self.writers.untracked(),
                writers.len()
            );
        }
    }

    fn line(&self, writer: &Writer<'_>, at_end: bool) -> String {
        let mut line = format!(
            "{FAINT}instance {}: #{} to #{}, {} read{FAINT:#}",
            escaped(writer.instance()),
            writer.first(),
            writer.last(),
            writer.records(),
        );
        if self.whole && at_end && writer.missing() > 0 {
            line += &format!(", {BAD}{} missing{BAD:#}", writer.missing());
        }
        if writer.duplicates() > 0 {
            line += &format!(", {BAD}{} doubled{BAD:#}", writer.duplicates());
        }
        line
    }
}

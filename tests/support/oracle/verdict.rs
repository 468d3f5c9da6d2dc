//! What the oracle found: figures on one line, and each clause that was violated.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What must hold of every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clause {
    /// What was acknowledged is stored.
    AckedIsStored,
    /// What is said not to be persisted is not stored.
    NotPersistedIsNotStored,
    /// What is stored was sent.
    StoredWasSent,
    /// No record is stored twice.
    OneCopy,
    /// Within a partition, the records of a stream are in the order in which they were sent.
    Order,
    /// A record is where its acknowledgement says.
    OffsetIsTrue,
    /// The application hears exactly one outcome of each record that it waits for.
    OneOutcome,
    /// A hook that was left on a record is unwound once.
    OneHook,
    /// The application and the hook hear the same.
    Agreement,
    /// Attempted = delivered + not persisted + unknown + in flight, and as many of each as the hook heard of.
    AuditBalances,
    /// Acknowledgements keep coming while records are in flight.
    Progress,
}

/// The figures of a run, and its violations.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub sent: u64,
    pub acked: u64,
    pub not_persisted: u64,
    pub unknown: u64,
    /// Copies in the topic.
    pub stored: u64,
    /// Acknowledged and not stored.
    pub lost: u64,
    /// Stored more than once.
    pub doubled: u64,
    /// Stored behind a later record of its stream.
    pub inverted: u64,
    pub longest_stall: Duration,
    violations: BTreeMap<Clause, Violations>,
}

/// How often a clause was violated, and the first few cases.
#[derive(Clone, Debug, Default)]
struct Violations {
    times: u64,
    first: Vec<String>,
}

impl Verdict {
    /// The clauses that do not hold.
    pub fn violated(&self) -> Vec<Clause> {
        self.violations.keys().copied().collect()
    }

    /// How often this clause was violated.
    pub fn times(&self, clause: Clause) -> u64 {
        self.violations
            .get(&clause)
            .map_or(0, |violations| violations.times)
    }

    /// Prints the figures on one line, and panics with the violations if there are any.
    pub fn must_hold(&self, run: &str) {
        println!("{run}: {self}");
        let mut told = String::new();
        for (clause, Violations { times, first }) in &self.violations {
            told += &format!("\n{clause:?}, {times} times: {}", first.join("; "));
        }
        assert!(told.is_empty(), "{run}: the oracle found violations{told}");
    }

    pub(super) fn violate(&mut self, clause: Clause, what: impl FnOnce() -> String) {
        let violations = self.violations.entry(clause).or_default();
        violations.times += 1;
        if violations.first.len() < 5 {
            violations.first.push(what());
        }
    }

    pub(super) fn excuse(&mut self, clause: Clause) {
        self.violations.remove(&clause);
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            acked,
            not_persisted,
            unknown,
            stored,
            lost,
            doubled,
            inverted,
            longest_stall,
            ..
        } = self;
        write!(
            f,
            "{sent} sent, {acked} acked, {not_persisted} not persisted, {unknown} unknown, {stored} stored; \
             {lost} lost, {doubled} doubled, {inverted} inverted; longest stall {:.3} s",
            longest_stall.as_secs_f64()
        )
    }
}

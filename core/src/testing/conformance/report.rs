//! What the suite found.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How a clause ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The service keeps it.
    Kept,
    /// It does not, as was seen here.
    Broken(String),
    /// It could not be tried, for this reason.
    LeftOut(String),
}

/// One clause and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clause {
    /// The promise that it belongs to.
    pub promise: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
}

/// Every clause with its verdict; `Display` prints them as a table.
#[derive(Clone, Debug)]
#[must_use = "a report that nobody reads proves nothing"]
pub struct Report {
    pub(super) clauses: Vec<Clause>,
}

impl Report {
    /// All clauses.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// The names of those that are broken.
    pub fn broken(&self) -> Vec<&'static str> {
        self.clauses
            .iter()
            .filter(|clause| matches!(clause.verdict, Verdict::Broken(_)))
            .map(|clause| clause.name)
            .collect()
    }

    /// Prints the table.
    ///
    /// # Panics
    /// If a clause is broken, with the table.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.broken().is_empty(), "promises are broken:\n{self}");
        println!("{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for clause in &self.clauses {
            let (mark, reason) = match &clause.verdict {
                Verdict::Kept => ("kept", ""),
                Verdict::Broken(reason) => ("BROKEN", reason.as_str()),
                Verdict::LeftOut(reason) => ("left out", reason.as_str()),
            };
            let line = format!("{:12} {:33} {mark:9} {reason}", clause.promise, clause.name);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Why a clause ends early.
pub(super) enum Stop {
    Broken(String),
    LeftOut(String),
}

pub(super) type Checked<T = ()> = Result<T, Stop>;

/// Ends the clause as broken unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err($crate::testing::conformance::report::Stop::Broken(format!($($reason)+)));
        }
    };
}
pub(super) use ensure;

/// Runs a clause; a panic in it, or in the service, breaks it.
pub(super) fn verdict(run: impl FnOnce() -> Checked) -> Verdict {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Verdict::Kept,
        Ok(Err(Stop::Broken(reason))) => Verdict::Broken(reason),
        Ok(Err(Stop::LeftOut(reason))) => Verdict::LeftOut(reason),
        Err(panic) => Verdict::Broken(format!("it panicked: {}", text(&*panic))),
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is no text")
}

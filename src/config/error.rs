//! What is wrong with a configuration: every problem, each with what to write instead.

use std::error::Error;
use std::fmt;

use franking_core::Escaped;

/// One thing that is wrong, or risky, about one property.
///
/// Neither a problem's fields nor its text ever hold the value of a sensitive property, or of one whose name is not
/// known: a misspelt `sasl.pasword` is a password too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The property as it was written, or the name that is missing.
    pub property: String,
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// What is wrong, as a clause: ``"`2` is not one of its values"``.
    pub message: String,
    /// What to write or do, as a clause: ``"write `all`, `1` or `0`"``.
    pub instead: String,
}

/// The sorts of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A property that must be there is not.
    Missing,
    /// No property has this name.
    Unknown,
    /// The value is not a number, out of range, not one of the allowed words, or not written as it must be.
    Invalid,
    /// Two properties, each valid alone, cannot both hold.
    Contradiction,
    /// A known property that this producer does not take.
    Refused,
    /// The value is valid, but the crate was built without the cargo feature that it needs.
    NeedsFeature,
    /// Not an error: found in [`Config::warnings`](super::Config::warnings) only.
    Warning,
}

impl Problem {
    /// A problem of `property`. `message` and `instead` are clauses, without a capital or a full stop.
    pub fn new(
        property: impl Into<String>,
        kind: ProblemKind,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self {
            property: property.into(),
            kind,
            message: message.into(),
            instead: instead.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name is anybody's text: escaped and cut, it keeps to its line.
        let name: String = self
            .property
            .chars()
            .take(80)
            .flat_map(char::escape_debug)
            .collect();
        write!(
            f,
            "`{name}`: {}; {}",
            Escaped(&self.message),
            Escaped(&self.instead)
        )
    }
}

/// A configuration that cannot be used, with all its problems.
///
/// [`Display`](fmt::Display) lists every problem, one a line. Nobody has to fix a file one start at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// An error with these problems, in this order.
    pub fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Every problem.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every problem, to be joined with those of another check.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "the producer's configuration has 1 problem:")?,
            count => write!(f, "the producer's configuration has {count} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n- {problem}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_one_line_of_its_own() {
        let error = ConfigError::new(vec![
            Problem::new("acks", ProblemKind::Invalid, "`2` is wrong", "write `all`"),
            Problem::new(
                "two\nlines",
                ProblemKind::Unknown,
                "no property",
                "remove it",
            ),
        ]);
        assert_eq!(
            error.to_string(),
            "the producer's configuration has 2 problems:\n\
             - `acks`: `2` is wrong; write `all`\n\
             - `two\\nlines`: no property; remove it"
        );
    }
}

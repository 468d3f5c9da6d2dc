//! How the program speaks: colours for terminals, progress, errors.

use std::{error::Error, io::Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

/// A heading.
pub(crate) const HEADING: Style = Style::new().bold();
/// What went as it should.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What may not be what was meant.
const WARNING: Style = AnsiColor::Yellow.on_default();
/// What is there for who wants to know more.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Prints an error with its causes to stderr.
pub(crate) fn error(error: &(dyn Error + 'static)) {
    let mut err = anstream::stderr().lock();
    // Nobody is left to be told if this fails.
    let _ = writeln!(err, "{BAD}error:{BAD:#} {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(err, "  because: {error}");
        cause = error.source();
    }
}

/// Prints what somebody should know to stderr.
pub(crate) fn warning(what: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(
        anstream::stderr().lock(),
        "{WARNING}warning:{WARNING:#} {what}"
    );
}

/// Prints a line to stderr. Not `eprintln!`, which panics where nobody reads it.
pub(crate) fn remark(what: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{what}");
}

/// A bar on stderr; nothing where that is no terminal.
pub(crate) fn progress(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} records {per_sec}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

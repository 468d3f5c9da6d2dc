//! How the program speaks: colours for terminals, progress, errors.

use std::{error::Error, io::Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::text::escaped;

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
    let _ = writeln!(err, "{BAD}error:{BAD:#} {}", lines(error));
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(err, "  because: {}", lines(error));
        cause = error.source();
    }
}

/// An error's text can be a list of lines; each is made safe. What others wrote in it has its ends of lines escaped already,
/// where it was put there.
fn lines(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}

/// Prints what somebody should know to stderr.
pub(crate) fn warning(what: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(
        anstream::stderr().lock(),
        "{WARNING}warning:{WARNING:#} {}",
        escaped(what)
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

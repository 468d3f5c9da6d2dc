//! How far it is, while it runs.

use std::{io::Write as _, time::Duration};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Run, tally::Counts};

/// How the progress is shown, on stderr.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    /// A line that changes where stderr is a terminal, and nothing elsewhere
    Auto,
    /// A line of names and values every second, for logs
    Plain,
    /// Nothing
    None,
}

const SHOWN_EVERY: Duration = Duration::from_millis(250);
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

impl Progress {
    /// The line that changes. Where none is wanted, or no terminal is, nothing of it is seen.
    pub(super) fn bar(self) -> ProgressBar {
        match self {
            Progress::Auto => {
                let style = ProgressStyle::with_template("{spinner} {msg}");
                ProgressBar::new_spinner()
                    .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            }
            Progress::Plain | Progress::None => ProgressBar::hidden(),
        }
    }

    /// Shows it for ever.
    pub(super) async fn show(self, run: &Run) {
        let every = match self {
            Progress::Auto if !run.bar.is_hidden() => SHOWN_EVERY,
            Progress::Plain => WRITTEN_EVERY,
            Progress::Auto | Progress::None => return,
        };
        let mut ticks = tokio::time::interval(every);
        let mut before = 0;
        loop {
            ticks.tick().await;
            let counts = run.tally.counts();
            if self == Progress::Plain {
                // Nobody is left to be told if this fails.
                let _ = writeln!(std::io::stderr(), "{}", plain(&counts));
                continue;
            }
            let rate = (counts.delivered - before) as f64 / every.as_secs_f64();
            before = counts.delivered;
            run.bar.set_message(message(&counts, rate));
            run.bar.tick();
        }
    }
}

fn plain(counts: &Counts) -> String {
    let Counts {
        lines,
        bad_lines,
        accepted,
        delivered,
        not_persisted,
        unknown,
        outstanding,
    } = counts;
    format!(
        "progress: lines={lines} bad_lines={bad_lines} accepted={accepted} delivered={delivered} \
         not_persisted={not_persisted} unknown={unknown} outstanding={outstanding}"
    )
}

fn message(counts: &Counts, rate: f64) -> String {
    let mut text = format!(
        "{} delivered, {} outstanding, {rate:.0} records/s",
        counts.delivered, counts.outstanding
    );
    for (count, name) in [
        (counts.not_persisted, "not persisted"),
        (counts.unknown, "unknown"),
        (counts.bad_lines, "bad lines"),
    ] {
        if count > 0 {
            text += &format!(", {count} {name}");
        }
    }
    text
}

//! The log: to stderr, around the line that shows the progress.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// What `RUST_LOG` says, or warnings and errors. librdkafka's warnings repeat its errors, some of them twenty times a second.
const DEFAULT: &str = "warn,franking::librdkafka=error";

pub(super) fn to_stderr(bar: &ProgressBar) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .with_writer(Above(bar.clone()))
        .init();
}

/// Writes above the progress.
struct Above(ProgressBar);

impl<'w> MakeWriter<'w> for Above {
    type Writer = &'w Above;

    fn make_writer(&'w self) -> &'w Above {
        self
    }
}

impl Write for &Above {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

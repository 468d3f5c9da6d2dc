//! `franking send`: lines become records.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::ValueEnum;
use franking::{DefaultStack, Producer, config::Config, serializers::BytesSerializer};

use crate::{
    BoxError,
    connection::{self, Connection},
};

mod input;
mod json;
mod line;
mod log;
mod progress;
mod sending;
mod settings;
mod stop;
mod summary;
mod tally;

use progress::Progress;
use sending::Run;
use stop::{Signals, Stop};
use tally::Tally;

const HELP: &str = "\
Examples:
  franking send -b localhost:9092 -t orders < orders.txt
  echo 'table-7:two espressos' | franking send -b localhost:9092 -t orders -K :
  franking send -c client.properties -X linger.ms=50 -t orders -H source=till --json orders.txt
  tail -F till.log | franking send -b localhost:9092 -t till --progress plain

  echo '{\"key\": \"table-7\", \"value\": {\"cups\": 2}, \"headers\": {\"source\": \"till\"}}' |
      franking send -b localhost:9092 -t orders --format json

Lines:
  Each is a value, or with --key-separator a key, the first separator and a value.
  An empty line is an empty value. A line ends with \\n; a \\r before that is part of it.

JSON lines:
  Each is an object with any of key, value, headers, partition and timestamp (in
  milliseconds). A string is sent as its text, null as Kafka's null (a null value
  deletes the key from a compacted topic), other JSON as it is written. Headers are
  an object or a list of [name, value] pairs. Blank lines are skipped.

What happens:
  Records pass the default stack (see `franking stack`). It stamps them with their
  origin, as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES tell it, or franking-send.
  The input is read no faster than it is sent. A bad line is told with its number,
  and the others are sent. At the end everything is waited for, and counted:
  delivered, not persisted (surely not in the topic), unknown (sent, but no answer
  says whether it is in the topic). RUST_LOG chooses what is logged to stderr.

  SIGINT or SIGTERM stop the reading. What was accepted is delivered within
  --deadline; lines after it are not sent. A second signal ends at once, and calls
  unknown what has no outcome yet.

Exit codes:
  0         every line of the input was delivered
  1         it could not start or go on: no broker, a wrong property, no input
  2         the command line is wrong
  3         some lines are surely not in the topic: not persisted, or bad lines
  4         of some records it is unknown
  130, 143  stopped by SIGINT or SIGTERM; all that was accepted was delivered";

/// Arguments of `franking send`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The lines; - or nothing is stdin
    file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// The topic to write to
    #[arg(short, long)]
    topic: String,
    /// What a line is
    #[arg(long, value_enum, default_value_t = Lines::Plain)]
    format: Lines,
    /// Between key and value; \t is a tab. Without it lines are values
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Send Kafka's null for an empty key or value: a null value deletes the key from a compacted topic
    #[arg(long)]
    empty_is_null: bool,
    /// A header for every record. Can be given many times
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// How long SIGINT or SIGTERM wait for what was accepted
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    deadline: Duration,
    /// Stop at the first record that fails, or line that is bad
    #[arg(long)]
    stop_on_error: bool,
    /// Write every error to this file, as JSON lines with the line's number and what became of its record; the last line
    /// is the summary
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How to show how far it is
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Print the counts as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lines {
    /// A value, or key, separator and value
    Plain,
    /// A JSON object with key, value, headers, partition and timestamp
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "write a number of seconds, as 30 or 0.5".to_owned())
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let properties = settings::properties(args)?;
    let config = Config::check(&properties, connection::REQUIRED)?;
    let topic = settings::topic(args);
    let format = settings::format(args, &topic)?;
    let origin = settings::origin()?;
    let input = settings::input(args)?;
    let report = settings::report(args)?;
    let bar = args.progress.bar();
    log::to_stderr(&bar);
    // For as long as the process lives: the callback of each record refers to it, and two threads that count references
    // pass the count back and forth.
    let run: &'static Run = Box::leak(Box::new(Run {
        topic,
        tally: Tally::new(report, bar.clone()),
        stop: Stop::default(),
        bar,
        started: Instant::now(),
        deadline: args.deadline,
        stop_on_error: args.stop_on_error,
        json: args.json,
        told: AtomicBool::new(false),
    }));

    // The records are sent on this thread; the other one is for signals, progress and retries.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::spawn(run.hear(Signals::take()?));
        settings::reach(&properties, run).await?;
        let producer: Producer<Bytes, Bytes> = Producer::builder()
            .properties(properties)
            .key_serializer(BytesSerializer)
            .value_serializer(BytesSerializer)
            .layer(DefaultStack::new(origin))
            .build()?;
        tokio::spawn(args.progress.show(run));
        // A character in JSON may take more than the record's.
        let pieces = input::read(input, config.max_request_size().saturating_mul(2))?;
        run.send(&producer, &format, pieces).await
    })
}

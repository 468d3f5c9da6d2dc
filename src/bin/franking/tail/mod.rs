//! `franking tail`: records with their provenance.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::ArgGroup;

use crate::{
    BoxError,
    connection::{Connection, OneTopic},
    reading::{From, Reading, Record},
    stop,
};

mod filter;
mod json;
mod summary;
mod telling;

use filter::Filter;
use summary::Summary;
use telling::Teller;
pub(crate) use telling::clock;

const HELP: &str = "\
Examples:
  franking tail -b localhost:9092 -t orders
  franking tail -b localhost:9092 -t orders --from -10 --exit
  franking tail -c client.properties -t orders --from 2026-11-22T10:00:00Z --service shop/checkout
  franking tail -b localhost:9092 -t orders --from beginning --exit --json | jq .provenance.service
  franking tail -b localhost:9092 -t orders --trace 0af7651916cd43dd8448eb211c80319c --verbose

What is shown:
  Topic, partition and offset; when it was made; who wrote it; the number that its writer
  gave it. Then, where they are there: the trace it was sent in, its id, the services it
  passed, its key and value. What is wrong with its headers is a note.
  Whatever is in a record, nothing of it is a command to the terminal: control and
  invisible characters, and those that turn the direction of writing, are escaped.
  Headers say what their writer wrote: whoever may write to the topic may write anything.

Filters:
  An option that is given more than once takes records that match any of its values;
  different options must all match.

From:
  beginning, end, an offset, -N (the last N of each partition), a time in UTC as
  2026-11-22T10:00:00Z, or @MILLISECONDS since 1970.
  The topic's partitions are those that it has at the start.

Exit codes:
  0         the end was reached (--exit), --count were shown, or nobody reads any more
  1         it could not start or go on: no broker, no such topic, a wrong property
  2         the command line is wrong
  130, 143  stopped by SIGINT or SIGTERM; what was read is shown";

/// Arguments of `franking tail`.
#[derive(clap::Args)]
#[command(
    after_help = HELP,
    group = ArgGroup::new("what").args(OneTopic::IDS).required(true)
)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    topic: OneTopic,
    /// Where to begin
    #[arg(
        long,
        default_value = "end",
        value_name = "PLACE",
        allow_hyphen_values = true
    )]
    from: From,
    /// Only this partition. Can be given many times
    #[arg(short, long = "partition", value_name = "NUMBER")]
    partitions: Vec<i32>,
    /// End when everything is read that is there
    #[arg(short, long)]
    exit: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object a record
    #[arg(long, conflicts_with_all = ["verbose", "width"])]
    json: bool,
    /// Print everything that the headers say, and the headers
    #[arg(short, long)]
    verbose: bool,
    /// Cut lines at so many columns; a terminal's own otherwise
    #[arg(long, value_name = "COLUMNS")]
    width: Option<usize>,
    /// Show at most so many bytes of a key, a value or a header
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    max_bytes: usize,
    /// Do not tell at the end what was read
    #[arg(short, long)]
    quiet: bool,
    // The last one: its heading goes on for whatever stands behind it.
    #[command(flatten)]
    filter: filter::Wanted,
}

/// How long the reading may wait, and so how soon a signal is heard.
const WAIT: Duration = Duration::from_millis(100);

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let filter = Filter::new(&args.filter)?;
    let properties = args.connection.properties()?;
    let stop = stop::hear()?;
    let mut reading = Reading::start(&properties, args.topic.name(), &args.partitions, args.from)?;
    let whole = args.from == From::Beginning && args.partitions.is_empty();
    let mut summary = Summary::new(whole);
    let stdout = io::stdout();
    let teller = Teller::new(&stdout, args);
    let mut out = BufWriter::with_capacity(1 << 16, stdout.lock());

    let wanted = args.count.unwrap_or(u64::MAX);
    while summary.shown < wanted && stop.asked().is_none() {
        // What is buffered is shown as soon as nothing more is there at once.
        let mut message = reading.next(Duration::ZERO)?;
        if message.is_none() {
            drop(message);
            out.flush()?;
            if (args.exit && reading.is_at_end()) || stop::is_closed(&stdout) {
                break;
            }
            message = reading.next(WAIT)?;
        }
        let Some(message) = message else { continue };
        let record = Record::of(&message);
        summary.read(&record);
        if filter.takes(&record) {
            summary.shown += 1;
            if args.json {
                json::write(&mut out, &record, args.max_bytes)?;
            } else {
                out.write_all(teller.tell(&record).as_bytes())?;
            }
        }
    }
    out.flush()?;
    if !args.quiet {
        summary.tell(reading.is_at_end());
    }
    Ok(ExitCode::from(stop.asked().unwrap_or(0)))
}

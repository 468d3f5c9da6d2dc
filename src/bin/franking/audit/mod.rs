//! `franking audit`: what is stored, against what its writers numbered and reported.

use std::{
    fs::File,
    io::{BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use crate::{
    BoxError,
    connection::{Connection, OneTopic},
    reading::{From, Reading, Record},
};

mod reports;
mod tally;
mod telling;
mod verdict;

use reports::Reports;
use tally::Tally;
use verdict::Verdict;

const HELP: &str = "\
Examples:
  franking audit -b localhost:9092 orders
  franking audit -b localhost:9092 orders --bucket 1m --from 2026-11-22T10:00:00Z
  franking audit -b localhost:9092 orders --reports audit.jsonl && echo complete
  franking audit -c client.properties orders --json | jq '.instances[] | select(.missing > 0)'

What it does:
  It reads the topic to the end that it has now, and counts, by the instance that wrote:
    missing   numbers between the first and the last that are not there. Records that were
              refused or failed had their numbers too.
    doubled   records whose number was there before.
    late      records behind one that is 60 s (--late) past the end of their bucket.
  And by buckets of the records' own time: how many there are.

Reports:
  --reports takes the lines of the writers' audit layers, as tracing's JSON format or as
  plain JSON objects have them: topic, bucket_start, bucket_millis, delivered,
  not_persisted, unknown, closed; of lines with the same id the first counts. Then in each
  bucket what is stored is held against what was delivered, and gaps are explained by
  records that failed. Read from the beginning, or from the first bucket reported.

Exit codes:
  0  nothing is missing or doubled
  1  it could not start or go on
  2  the command line is wrong
  3  something is missing: a number that no report explains, or a bucket holds fewer
     records than were delivered
  4  nothing is missing, but something is doubled, or not reported";

/// Arguments of `franking audit`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    topic: OneTopic,
    /// How much time a bucket covers, as 10m, 90s or 1h
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    bucket: Duration,
    /// How far past the end of its bucket the topic is when a record counts as late
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    late: Duration,
    /// Where to begin: see `franking tail --help`
    #[arg(
        long,
        default_value = "beginning",
        value_name = "PLACE",
        allow_hyphen_values = true
    )]
    from: From,
    /// What the writers reported, as JSON lines. Can be given many times
    #[arg(long, value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("write a time, as 10m, 90s or 1h".to_owned()),
    }
}

/// How long the reading waits for a record before it looks whether the end is there.
const WAIT: Duration = Duration::from_millis(100);

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let topic = args.topic.name();
    let width = i64::try_from(args.bucket.as_millis())?;
    let mut reports = Reports::new(topic, width);
    for path in &args.reports {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        reports
            .read(BufReader::new(file))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let properties = args.connection.properties()?;
    let mut reading = Reading::start(&properties, topic, &[], args.from)?;
    let mut tally = Tally::new(width, i64::try_from(args.late.as_millis())?);
    while !reading.is_at_end() {
        if let Some(message) = reading.next(WAIT)? {
            tally.count(&Record::of(&message));
        }
    }
    let reports = (!args.reports.is_empty()).then_some(&reports);
    let verdict = Verdict::of(topic, &tally, reports);
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
    } else {
        telling::tell(&mut out, &verdict)?;
    }
    out.flush()?;
    Ok(ExitCode::from(verdict.code()))
}

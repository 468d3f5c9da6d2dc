//! `franking audit`: what is stored, against what its writers numbered and reported.

use std::{
    fs::File,
    io::{BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::ArgGroup;
use franking::{config::Properties, middleware::audit::chain::Link};

use crate::{
    BoxError,
    connection::{Connection, OneTopic},
    json,
    reading::{From, Reading, Record},
    stop::{self, Stop},
};

mod reports;
mod tally;
mod telling;
mod verdict;
mod verifying;

use reports::Reports;
use tally::Tally;
use verdict::Verdict;

const HELP: &str = "\
Examples:
  franking audit -b localhost:9092 orders
  franking audit -b localhost:9092 orders --bucket 1m --from 2026-11-22T10:00:00Z
  franking audit -b localhost:9092 orders --reports-topic audit && echo complete
  franking audit -c client.properties orders --json | jq '.instances[] | select(.missing > 0)'
  franking audit --verify audit.jsonl

What it does:
  It reads the topic to the end that it has now, and counts, by the instance that wrote:
    missing   numbers between the first and the last that are not there. Records that were
              refused or failed had their numbers too.
    doubled   records whose number was there before.
    late      records behind one that is 60 s (--late) past the end of their bucket.
  And by buckets of the records' own time: how many there are.

Reports:
  What the writers' audit layers reported, from a topic (--reports-topic), or from files
  (--reports): lines of their own, or tracing's in JSON format. Of reports with the same id
  the first counts. Then in each bucket what is stored is held against what was delivered,
  and gaps are explained by records that failed. Read the topic from the beginning, or from
  the first bucket reported.

Verifying:
  The lines of a file are numbered, and each has the hash of the one before. --verify finds
  those that were changed, removed, added or moved. Of files that were rotated name all, the
  oldest first. That the end was cut off is only seen by a link, LINE:HASH, that was kept
  elsewhere: each --verify prints the last one, and --link looks for it. Where old files
  were deleted, --link says what the first line follows.

Ctrl-C ends the reading, and it tells what it has read.

Exit codes:
  0  nothing is missing or doubled
  1  it could not start or go on
  2  the command line is wrong
  3  something is missing: a number that no report explains, or a bucket holds fewer
     records than were delivered; or a line that --verify looks at is not as it was written
  4  nothing is missing, but something is doubled, or not reported
  130, 143  SIGINT or SIGTERM ended it: it told of what it had read";

/// Arguments of `franking audit`.
#[derive(clap::Args)]
#[command(
    after_help = HELP,
    group = ArgGroup::new("what").args(OneTopic::IDS).arg("verify").required(true)
)]
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
    /// What the writers reported, in a topic of the same cluster. Can be given many times
    #[arg(long, value_name = "TOPIC")]
    reports_topic: Vec<String>,
    /// Instead of a topic: look whether the lines of these files are as they were written
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["reports", "reports_topic"])]
    verify: Vec<PathBuf>,
    /// With --verify: a line that must be there, or that the first one follows. Can be given many times
    #[arg(long, value_name = "LINE:HASH", requires = "verify")]
    link: Vec<Link>,
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
    if !args.verify.is_empty() {
        return verifying::run(&args.verify, &args.link, args.json);
    }
    let topic = args.topic.name();
    let properties = args.connection.properties()?;
    let stop = stop::hear()?;
    let width = i64::try_from(args.bucket.as_millis())?;
    let reports = reports(args, &properties, width, &stop)?;
    let mut tally = Tally::new(width, i64::try_from(args.late.as_millis())?);
    read(&properties, topic, args.from, &stop, |record| {
        tally.count(record);
        Ok(())
    })?;
    let interrupted = stop.asked();
    let verdict = Verdict {
        complete: interrupted.is_none(),
        ..Verdict::of(topic, &tally, reports.as_ref())
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", json::line(&verdict)?)?;
    } else {
        telling::tell(&mut out, &verdict)?;
    }
    out.flush()?;
    Ok(ExitCode::from(interrupted.unwrap_or(verdict.code())))
}

/// From files and topics; `None` if none are given.
fn reports(
    args: &Args,
    properties: &Properties,
    width: i64,
    stop: &Stop,
) -> Result<Option<Reports>, BoxError> {
    if args.reports.is_empty() && args.reports_topic.is_empty() {
        return Ok(None);
    }
    let mut reports = Reports::new(args.topic.name(), width);
    for path in &args.reports {
        let named = |error: BoxError| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| named(error.into()))?;
        reports.read(BufReader::new(file)).map_err(named)?;
    }
    for topic in &args.reports_topic {
        read(properties, topic, From::Beginning, stop, |record| {
            let added = reports.add(record.value.unwrap_or_default());
            added.map_err(|width| {
                let Record {
                    partition, offset, ..
                } = record;
                format!("{topic}-{partition}@{offset} has {width}").into()
            })
        })?;
    }
    Ok(Some(reports))
}

/// Reads a topic to the end that it has now, or until it is told to stop.
fn read(
    properties: &Properties,
    topic: &str,
    from: From,
    stop: &Stop,
    mut each: impl FnMut(&Record<'_>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let mut reading = Reading::start(properties, topic, &[], from)?;
    while !reading.is_at_end() && stop.asked().is_none() {
        if let Some(message) = reading.next(WAIT)? {
            each(&Record::of(&message))?;
        }
    }
    Ok(())
}

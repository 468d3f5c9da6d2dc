//! `franking bench`: what a record costs this process.
//!
//! Two clients send the same records with the same settings of the same librdkafka, and the same allocator (mimalloc, for
//! Rust and C): `rdkafka` is this project's engine, `future-producer` is rust-rdkafka's own, used as its users use it.
//!
//! # What is the same
//! - The properties: what [`Config`](franking::config::Config) makes for the engine is given to rust-rdkafka too.
//! - One task sends; up to [`WINDOW`] records are in flight; their futures are awaited in order.
//! - What is measured: from the first send to the last acknowledgement, user and system time of all threads. Start,
//!   metadata, the producer id and the end are outside.
//!
//! # What differs
//! - `queue.buffering.max.messages` and `.kbytes`: the engine counts room itself and switches librdkafka's limits off.
//!   `FutureProducer` needs them; they are set to the same window and the same memory.
//! - rust-rdkafka copies key and value, as its API does. The engine keeps the record's `Bytes`: here they are clones of a
//!   thousand values made before, so neither client pays for making them.

use std::{collections::BTreeMap, io::Write, process::ExitCode, time::Duration};

use clap::ValueEnum;
use serde::Serialize;

use crate::{BoxError, connection::Connection, stop, terminal};

mod broker;
mod engine;
mod future_producer;
mod measure;
mod provenance;
mod telemetry;
mod window;
mod workload;

use measure::Measured;
use workload::Workload;

/// Records in flight, at most.
const WINDOW: usize = 100_000;

/// Between a client's metadata and its first record. An idempotent librdkafka asks for its producer id in the background;
/// if no connection is up when it first looks, it looks again after 500 ms, and all records wait for that.
const SETTLE: Duration = Duration::from_millis(700);

/// After so many records it looks whether it was told to stop.
const ASKED: u64 = 1024;

const HELP: &str = "\
Examples:
  franking bench --bootstrap localhost:9092 --topic bench --client rdkafka --stack full
  franking bench --bootstrap localhost:9092 --topic bench --client future-producer --stack headers --json | tail -1
  franking bench --bootstrap localhost:9092 --topic bench --stack full --sampled 0.01

CPU per record is the figure to compare: user and system time of the whole process, librdkafka's threads included, from
the first send to the last acknowledgement. Run the clients in turns; a shared machine is noisy.
-X and --config set properties for both clients. Ctrl-C ends the sending; what was sent is waited for, and told.
Values are random bytes, which no codec makes smaller. No record fails quietly: the exit code is 1 if one did.";

/// Arguments of `franking bench`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// The topic to write to; the broker may create it
    #[arg(long, default_value = "franking-bench")]
    topic: String,
    /// How many records to send
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    records: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=900_000), value_name = "BYTES")]
    value_bytes: u32,
    /// Who sends
    #[arg(long, value_enum, default_value_t = Client::Rdkafka)]
    client: Client,
    /// What is added to each record
    #[arg(long, value_enum, default_value_t = StackKind::None)]
    stack: StackKind,
    /// With --stack full: the share of traces that are sampled; without it none is
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    sampled: Option<f64>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Client {
    /// franking's producer on its rdkafka engine
    Rdkafka,
    /// rust-rdkafka's own FutureProducer
    FutureProducer,
}

/// What is added to each record.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StackKind {
    /// Nothing
    None,
    /// By hand, the headers that the full stack writes: same names and sizes, new for each record
    Headers,
    /// The default stack, with OpenTelemetry's SDK installed
    Full,
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("write a number from 0 to 1".to_owned()),
    }
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    client: Client,
    stack: StackKind,
    sampled: f64,
    records: u64,
    value_bytes: u32,
    wall_s: f64,
    records_per_s: f64,
    cpu_ns_per_record: f64,
    ack_ms: AckMillis,
    delivered: u64,
    failed: u64,
    /// Failures by their code.
    failures: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct AckMillis {
    p50: f64,
    p99: f64,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    if args.stack == StackKind::Full && args.client == Client::FutureProducer {
        return Err("--stack full is franking's own; `--client future-producer --stack headers` writes the same headers \
                    by hand"
            .into());
    }
    if args.sampled.is_some() && args.stack != StackKind::Full {
        return Err("--sampled is for --stack full: the others make no spans".into());
    }
    let workload = Workload::new(args)?;
    broker::check(&workload)?;
    let stop = stop::hear()?;

    // One thread beside that of the sending task: for the sampled acknowledgements and the layers' own tasks.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let measured = runtime.block_on(async {
        match args.client {
            Client::Rdkafka => engine::run(args, &workload, &stop).await,
            Client::FutureProducer => future_producer::run(args, &workload, &stop).await,
        }
    })?;
    report(args, measured, stop.asked())
}

fn report(args: &Args, measured: Measured, interrupted: Option<u8>) -> Result<ExitCode, BoxError> {
    let wall_s = measured.wall.as_secs_f64();
    let failed: u64 = measured.failures.values().sum();
    // Fewer than were wanted if it was interrupted.
    let records = measured.delivered + failed;
    let report = Report {
        client: args.client,
        stack: args.stack,
        sampled: args.sampled.unwrap_or(0.0),
        records,
        value_bytes: args.value_bytes,
        wall_s,
        records_per_s: records as f64 / wall_s,
        cpu_ns_per_record: measured.cpu.as_nanos() as f64 / records.max(1) as f64,
        ack_ms: AckMillis {
            p50: measured.ack_millis(0.50),
            p99: measured.ack_millis(0.99),
        },
        delivered: measured.delivered,
        failed,
        failures: measured.failures,
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        table(&mut out, &report)?;
    }
    Ok(match (interrupted, report.failed) {
        (Some(code), _) => ExitCode::from(code),
        (None, 0) => ExitCode::SUCCESS,
        (None, _) => ExitCode::FAILURE,
    })
}

fn table(out: &mut impl Write, report: &Report) -> Result<(), BoxError> {
    use terminal::{BAD, HEADING};
    writeln!(
        out,
        "{HEADING}{} records of {} bytes: {}, {}{HEADING:#}",
        report.records,
        report.value_bytes,
        name(report.client),
        name(report.stack),
    )?;
    for (reason, count) in &report.failures {
        writeln!(out, "  {BAD}{count} failed{BAD:#}: {reason}")?;
    }
    writeln!(
        out,
        "  delivered      {:>12} of {}",
        report.delivered, report.records
    )?;
    writeln!(
        out,
        "  wall time      {:>12.2} s   {:.0} records/s",
        report.wall_s, report.records_per_s
    )?;
    writeln!(
        out,
        "  acknowledged   {:>12.1} ms  p50, {:.1} ms p99",
        report.ack_ms.p50, report.ack_ms.p99
    )?;
    writeln!(
        out,
        "  {HEADING}CPU            {:>12.0} ns  per record{HEADING:#}",
        report.cpu_ns_per_record
    )?;
    Ok(())
}

/// As it is written on the command line.
fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

//! `franking send` and signals: what was accepted is delivered within the deadline, or told for what it is.

#![cfg(feature = "cli")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::message::Message as _;
use serde_json::Value;

use support::oracle::{Copy, Heard, History, Judge};
use support::sending::{Ended, Program};
use support::{Cluster, in_time, kafka, read, read_each, topic};

const RECORDS: u64 = 10_000;
/// A deadline of 2 s, and what it takes to end.
const IN_TIME: Duration = Duration::from_millis(2_500);

/// One test at a time: they measure how long a program takes to end, and a broker's start takes all there is.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines whose values are their numbers, from 1.
fn numbers(count: u64) -> String {
    (1..=count).map(|number| format!("{number}\n")).collect()
}

/// What the progress said of all records: none has an outcome.
const ALL_QUEUED: &str = "accepted=10000 delivered=0 not_persisted=0 unknown=0 outstanding=10000";

/// Compares what the program told of each line with what is in the topic, of one partition.
fn judge(bootstrap: &str, topic: &str, ended: &Ended, report: &Path, run: &str) {
    let history = History::new();
    let told = failures(report);
    for line in 1..=ended.count("accepted") {
        let id = history.sends(0);
        history.enters(id);
        let heard = match told.get(&line).map(|told| told.as_str()) {
            None => Heard::Delivered {
                partition: 0,
                offset: None,
            },
            Some("not_persisted") => Heard::NotPersisted,
            Some("unknown") => Heard::Unknown,
            Some(other) => panic!("line {line}: {other}"),
        };
        history.application_hears(id, heard);
        history.hook_hears(id, heard, Instant::now());
    }
    let mut copies = vec![];
    read_each(bootstrap, topic, |message| {
        let value = std::str::from_utf8(message.payload().unwrap()).unwrap();
        copies.push(Copy {
            partition: message.partition(),
            offset: message.offset(),
            // Numbers of lines are from 1, those of records from 0.
            id: value.parse().ok().map(|line: u64| line - 1),
        });
    });
    let verdict = Judge::of(&history, &copies).verdict();
    let outcomes = [verdict.acked, verdict.not_persisted, verdict.unknown];
    assert_eq!(outcomes, ended.outcomes(), "the report and the summary");
    verdict.must_hold(run);
}

/// The lines that were not delivered, and what became of each, as a report tells it.
fn failures(report: &Path) -> BTreeMap<u64, String> {
    let text = fs::read_to_string(report).unwrap();
    let mut told = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(number) = line["line"].as_u64() {
            let outcome = line["outcome"].as_str().unwrap().to_owned();
            assert_eq!(
                told.insert(number, outcome),
                None,
                "line {number} has two outcomes"
            );
        }
    }
    told
}

fn report(name: &str) -> PathBuf {
    let name = format!("franking-stopping-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

#[test]
fn sigterm_delivers_everything_that_is_queued() {
    let _alone = alone();
    // Neither time nor size makes a batch ready.
    let topic = topic(
        kafka(),
        "send-sigterm",
        1,
        &[("max.message.bytes", "10000000")],
    );
    let report = report("sigterm");
    let mut args = vec!["--report", report.to_str().unwrap(), "--progress", "plain"];
    for property in [
        "linger.ms=60000",
        "batch.size=10000000",
        "batch.num.messages=1000000",
        "max.request.size=10000000",
    ] {
        args.extend(["-X", property]);
    }
    let mut program = Program::start(kafka(), &topic, &args);
    program.write(&numbers(RECORDS));
    // The fault happens while they are queued, and none of them is stored.
    program.says(ALL_QUEUED);
    assert_eq!(read(kafka(), &topic).len(), 0);

    let started = Instant::now();
    program.signal("-TERM");
    let ended = program.wait();
    let took = started.elapsed();
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(143), [RECORDS, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(ended.summary["ended"], "SIGTERM");
    assert_eq!(ended.count("outstanding_at_stop"), RECORDS);
    judge(
        kafka(),
        &topic,
        &ended,
        &report,
        &format!("SIGTERM with 10,000 queued, {took:?}"),
    );
    fs::remove_file(report).unwrap();
    // Neither the linger nor the deadline was waited for.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// A program with one record in the topic of a broker that is then frozen, and 10,000 lines that it accepted after that.
fn stuck(cluster: &Cluster, topic: &str, more: &[&str]) -> Program {
    // Small requests, one at a time: some records are in flight, most wait behind them.
    let args = [
        "-X",
        "batch.size=100000",
        "-X",
        "max.in.flight.requests.per.connection=1",
        "--progress",
        "plain",
    ];
    let mut program = Program::start(cluster.bootstrap(), topic, &[&args[..], more].concat());
    program.write("1\n");
    program.says("accepted=1 delivered=1 ");
    cluster.freeze(1);
    let lines = numbers(RECORDS + 1);
    program.write(lines.strip_prefix("1\n").unwrap());
    program.says("accepted=10001 delivered=1 not_persisted=0 unknown=0 outstanding=10000");
    program
}

/// SIGTERM to a program whose broker does not answer, with a deadline of 2 s: how long it takes to end. `mend` brings the
/// broker back.
fn times_out(run: &str, fault: impl Fn(&Cluster), mend: impl Fn(&Cluster)) -> Duration {
    let _alone = alone();
    let cluster = Cluster::start(1, &[]);
    let topic = topic(cluster.bootstrap(), "send-dead", 1, &[]);
    let report = report(run);
    let args = ["--deadline", "2", "--report", report.to_str().unwrap()];
    let program = stuck(&cluster, &topic, &args);
    fault(&cluster);

    let started = Instant::now();
    program.signal("-TERM");
    let ended = program.wait();
    let took = started.elapsed();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert_eq!(ended.count("outstanding_at_stop"), RECORDS);
    let [delivered, not_persisted, unknown] = ended.outcomes();
    assert_eq!(
        (delivered, not_persisted + unknown),
        (1, RECORDS),
        "{ended:?}"
    );
    // Of those that were in flight nothing is known, and of those behind them everything.
    assert!(unknown > 0 && not_persisted > unknown, "{ended:?}");
    assert!(took >= Duration::from_secs(2), "{took:?}");

    mend(&cluster);
    judge(
        cluster.bootstrap(),
        &topic,
        &ended,
        &report,
        &format!("SIGTERM, broker {run}, {took:?}"),
    );
    fs::remove_file(report).unwrap();
    took
}

#[test]
fn with_a_frozen_broker_the_deadline_is_kept_and_the_counts_are_true() {
    // What the broker finds in its sockets when it goes on, it stores.
    in_time(IN_TIME, || {
        times_out("frozen", |_| {}, |cluster| cluster.thaw(1))
    });
}

#[test]
fn with_a_dead_broker_the_deadline_is_kept_and_the_counts_are_true() {
    in_time(IN_TIME, || {
        times_out(
            "dead",
            |cluster| cluster.kill_node(1),
            |cluster| cluster.restart_node(1),
        )
    });
}

#[test]
fn a_second_signal_ends_at_once_and_calls_unknown_what_has_no_outcome() {
    let _alone = alone();
    let cluster = Cluster::start(1, &[]);
    let topic = topic(cluster.bootstrap(), "send-twice", 1, &[]);
    let program = stuck(&cluster, &topic, &["--deadline", "60"]);
    program.signal("-INT");
    program.says("10000 records have 60 s");
    let started = Instant::now();
    program.signal("-TERM");
    let ended = program.wait();
    let took = started.elapsed();
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(4), [1, 0, RECORDS]),
        "{ended:?}"
    );
    assert_eq!(ended.summary["ended"], "SIGINT");
    assert!(took < Duration::from_secs(1), "{took:?}");
    cluster.thaw(1);
}

#[test]
fn a_signal_while_it_waits_for_lines_ends_it() {
    let _alone = alone();
    let topic = topic(kafka(), "send-idle", 1, &[]);
    let mut program = Program::start(kafka(), &topic, &["--progress", "plain"]);
    program.write("1\n2\n");
    program.says("delivered=2");
    // Half a line is none.
    program.write("3");
    let started = Instant::now();
    program.signal("-INT");
    let ended = program.wait();
    let took = started.elapsed();
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(130), [2, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(read(kafka(), &topic).len(), 2);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

//! `franking send` as its users run it: what it makes of lines, and what it says of those that are wrong.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::sending::{Ended, Program};
use support::{Cluster, Stored, eventually, kafka, read, topic};

/// Sends this input to the end.
fn send(topic: &str, more: &[&str], input: &str) -> Ended {
    let mut program = Program::start(kafka(), topic, more);
    program.write(input);
    program.end()
}

fn text(bytes: &Option<Vec<u8>>) -> Option<&str> {
    let bytes = bytes.as_deref()?;
    Some(std::str::from_utf8(bytes).unwrap())
}

/// What is in the topic, in the order of its only partition.
fn pairs(stored: &[Stored]) -> Vec<(Option<&str>, Option<&str>)> {
    let pairs = stored.iter();
    pairs
        .map(|stored| (text(&stored.key), text(&stored.value)))
        .collect()
}

/// The values of a header.
fn header<'s>(stored: &'s Stored, name: &str) -> Vec<Option<&'s str>> {
    let named = stored.headers.iter().filter(|(other, _)| other == name);
    named.map(|(_, value)| text(value)).collect()
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("franking-send-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn each_line_is_a_value_and_the_default_stack_stamps_it() {
    let topic = topic(kafka(), "send-values", 1, &[]);
    // The last line has no end.
    let ended = send(
        &topic,
        &["-H", "source=till", "-H", "hop=1"],
        "one\n\nthree\r\nlast",
    );
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [4, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(ended.summary["ended"], "input");
    assert_eq!(ended.summary["topic"], *topic);
    assert_eq!(ended.said, "");

    let stored = read(kafka(), &topic);
    let values = ["one", "", "three\r", "last"].map(|value| (None, Some(value)));
    assert_eq!(pairs(&stored), values);
    for stored in &stored {
        assert_eq!(header(stored, "source"), [Some("till")]);
        assert_eq!(header(stored, "hop"), [Some("1")]);
        assert_eq!(header(stored, "prov-id").len(), 1);
        let origin = header(stored, "prov-origin")[0].unwrap();
        assert!(origin.contains("service.name=franking-send"), "{origin}");
    }
}

#[test]
fn a_separator_makes_keys() {
    let topic = topic(kafka(), "send-keys", 1, &[]);
    let ended = send(&topic, &["-K", "\\t"], "a\t1\nb\t2\t3\n\t\n");
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [3, 0, 0]),
        "{ended:?}"
    );
    let ended = send(&topic, &["-K", "::", "--empty-is-null"], "c::4\nd::\n::5\n");
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [3, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(
        pairs(&read(kafka(), &topic)),
        [
            (Some("a"), Some("1")),
            (Some("b"), Some("2\t3")),
            (Some(""), Some("")),
            (Some("c"), Some("4")),
            (Some("d"), None),
            (None, Some("5")),
        ]
    );
}

#[test]
fn lines_of_json_say_everything_about_a_record() {
    let topic = topic(kafka(), "send-json", 2, &[]);
    let input = r#"{"key": "k", "value": {"cups": 2}, "headers": [["hop", "a"], ["hop", null]], "partition": 1, "timestamp": 1700000000000}

{"value": "text", "headers": {"hop": "c"}, "partition": 1}
{"key": 7, "value": null, "partition": 0}
"#;
    let ended = send(&topic, &["--format", "json", "-H", "hop=all"], input);
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [3, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(ended.count("lines"), 4);

    let stored = read(kafka(), &topic);
    assert_eq!(
        stored
            .iter()
            .map(|stored| stored.partition)
            .collect::<Vec<_>>(),
        [0, 1, 1]
    );
    assert_eq!(
        pairs(&stored),
        [
            (Some("7"), None),
            (Some("k"), Some(r#"{"cups": 2}"#)),
            (None, Some("text")),
        ]
    );
    assert_eq!(stored[1].timestamp, 1_700_000_000_000);
    assert_eq!(header(&stored[1], "hop"), [Some("all"), Some("a"), None]);
    assert_eq!(header(&stored[2], "hop"), [Some("all"), Some("c")]);
}

#[test]
fn a_bad_line_is_told_with_its_number_and_loses_no_other() {
    let topic = topic(kafka(), "send-bad", 1, &[]);
    let report = file("report", "");
    let input = r#"{"value": "1"}
{"value": "hunter2"
{"value": "3"}
{"value": "4", "partition": 9}
{"vlaue": "hunter2"}
{"value": "6"}"#;
    let args = ["--format", "json", "--report", report.to_str().unwrap()];
    let ended = send(&topic, &args, input);
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(3), [3, 1, 0]),
        "{ended:?}"
    );
    assert_eq!((ended.count("lines"), ended.count("bad_lines")), (6, 2));
    assert_eq!(ended.summary["failures"]["UNKNOWN_TOPIC_OR_PARTITION"], 1);
    for told in [
        "line 2: not sent: it is not JSON",
        "line 4: ",
        "line 5: not sent: \"vlaue\"",
    ] {
        assert!(ended.said.contains(told), "{told}: {}", ended.said);
    }
    let values = ["1", "3", "6"].map(|value| (None, Some(value)));
    assert_eq!(pairs(&read(kafka(), &topic)), values);

    let text = fs::read_to_string(&report).unwrap();
    fs::remove_file(&report).unwrap();
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.pop().unwrap(), ended.summary);
    lines.sort_by_key(|line| line["line"].as_u64());
    let told = lines.iter().map(|line| {
        (
            line["line"].as_u64().unwrap(),
            line["outcome"].as_str().unwrap(),
        )
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(2, "invalid"), (4, "not_persisted"), (5, "invalid")]);
    // Neither shows what was on a line.
    assert!(!format!("{}{text}", ended.said).contains("hunter2"));
}

#[test]
fn stop_on_error_reads_no_further_and_still_delivers_what_was_accepted() {
    let topic = topic(kafka(), "send-stop", 1, &[]);
    let ended = send(
        &topic,
        &["-K", ":", "--stop-on-error"],
        "a:1\nb:2\nbad\nc:3\n",
    );
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(3), [2, 0, 0]),
        "{ended:?}"
    );
    assert_eq!(ended.summary["ended"], "stop_on_error");
    assert_eq!(ended.count("lines"), 3);
    assert_eq!(read(kafka(), &topic).len(), 2);
}

#[test]
fn a_line_longer_than_a_record_may_be_is_thrown_away_alone() {
    let topic = topic(kafka(), "send-long", 1, &[]);
    // One that the producer refuses, one that is never whole in memory.
    let (large, huge) = ("l".repeat(1_500_000), "h".repeat(20_000_000));
    let input = format!("first\n{large}\n{huge}\nlast\n");
    let ended = send(&topic, &[], &input);
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(3), [2, 1, 0]),
        "{ended:?}"
    );
    assert_eq!(ended.summary["failures"]["RECORD_TOO_LARGE"], 1);
    assert!(
        ended.said.contains("line 3: not sent: it is longer"),
        "{}",
        ended.said
    );
    let values = ["first", "last"].map(|value| (None, Some(value)));
    assert_eq!(pairs(&read(kafka(), &topic)), values);
}

#[test]
fn properties_come_from_a_file_and_the_command_line_goes_before_it() {
    let topic = topic(kafka(), "send-config", 1, &[]);
    // Serializers are part of the files that Java's tools take.
    let serializer = "org.apache.kafka.common.serialization.StringSerializer";
    let config = file(
        "config",
        &format!("bootstrap.servers = 127.0.0.1:1\nacks = all\nkey.serializer = {serializer}\n"),
    );
    let args = ["-c", config.to_str().unwrap(), "-X", "acks=0"];
    let ended = send(&topic, &args, "one\n");
    fs::remove_file(&config).unwrap();
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [1, 0, 0]),
        "{ended:?}"
    );
    assert!(eventually(|| read(kafka(), &topic).len() == 1));
}

#[test]
fn what_is_wrong_at_the_start_is_said_before_anything_is_read() {
    let fails = |bootstrap: &str, topic: &str, more: &[&str]| {
        let ended = Program::start(bootstrap, topic, more).end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.said
    };
    for (more, said) in [
        (
            &["-X", "sasl.password:hunter2"][..],
            "-X number 1 has no `=`",
        ),
        (&["-X", "linger.sm=5"], "did you mean `linger.ms`"),
        (&["-H", "=x"], "-H number 1"),
        (&["-K", ""], "--key-separator is empty"),
        (&["-K", ":", "--format", "json"], "for plain lines"),
        (&["/nowhere/at/all"], "/nowhere/at/all: "),
        (&["-c", "/nowhere/at/all"], "/nowhere/at/all: "),
    ] {
        let text = fails(kafka(), "t", more);
        assert!(text.contains(said), "{more:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = fails("127.0.0.1:1", "t", &[]);
    assert!(
        text.contains("no broker answers at 127.0.0.1:1 within 10 s"),
        "{text}"
    );
}

/// Bytes that a process has in memory.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

#[test]
fn an_input_that_comes_faster_than_it_is_sent_stays_where_it_is() {
    const LINE: usize = 1_000;
    const LINES: usize = 200_000;
    let cluster = Cluster::start(1, &[]);
    let topic = topic(cluster.bootstrap(), "send-bounded", 1, &[]);
    let mut program = Program::start(cluster.bootstrap(), &topic, &[]);
    program.write("first\n");
    assert!(eventually(|| read(cluster.bootstrap(), &topic).len() == 1));
    let before = resident(program.pid());

    cluster.freeze(1);
    let taken = Arc::new(AtomicUsize::new(0));
    let (mut input, written) = (program.take_input(), Arc::clone(&taken));
    let writer = thread::spawn(move || {
        let line = "v".repeat(LINE - 1) + "\n";
        for _ in 0..LINES {
            input.write_all(line.as_bytes()).unwrap();
            written.fetch_add(LINE, SeqCst);
        }
    });
    // Until nothing more is taken for a second.
    let (mut last, mut since) = (0, Instant::now());
    assert!(eventually(|| {
        let now = taken.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_secs(1)
    }));
    let held = resident(program.pid()).saturating_sub(before);
    println!(
        "send, frozen broker: {last} of {} bytes taken, {held} bytes more in memory",
        LINE * LINES
    );
    // `buffer.memory` is 32 MiB, which counts more than the lines.
    assert!(last < 32 << 20, "{last} bytes were taken");
    assert!(
        held < 128 << 20,
        "{held} bytes in memory for {last} bytes of lines"
    );

    cluster.thaw(1);
    writer.join().unwrap();
    let ended = program.end();
    let all = 1 + LINES as u64;
    assert_eq!(
        (ended.code, ended.outcomes()),
        (Some(0), [all, 0, 0]),
        "{ended:?}"
    );
}

//! `franking tail` as its users run it, on a real broker.

#![cfg(feature = "cli")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::middleware::origin::Origin;
use franking::{DefaultStack, Producer, ProducerRecord};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;

use support::{bytes_builder, kafka, topic, topic_name};

const PATIENCE: Duration = Duration::from_secs(60);
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ID: &str = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
const WHO: &str =
    "service.namespace=shop,service.name=checkout,service.version=4.2.0,service.instance.id=627c";

/// Records of other years are deleted after some minutes otherwise.
const FOR_EVER: (&str, &str) = ("retention.ms", "-1");

type Outgoing = ProducerRecord<Bytes, Bytes>;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_franking"));
    command
        .args(["tail", "--bootstrap", kafka()])
        .args(args)
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    command
}

fn tail(args: &[&str]) -> Output {
    command(args).output().expect("the program starts")
}

/// Everything that is in the topic now, as it is printed; panics if that fails.
fn all(topic: &str, more: &[&str]) -> String {
    let mut args = [&["--topic", topic, "--exit"], more].concat();
    if !more.contains(&"--from") {
        args.extend(["--from", "beginning"]);
    }
    let output = tail(&args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// As [`all`], with a JSON object for each record.
fn objects(topic: &str, more: &[&str]) -> Vec<Value> {
    all(topic, &[&["--json"], more].concat())
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn text(bytes: &str) -> Bytes {
    Bytes::copy_from_slice(bytes.as_bytes())
}

/// Sends these, and waits for each.
fn send(producer: &Producer<Bytes, Bytes>, records: impl IntoIterator<Item = Outgoing>) {
    for record in records {
        let sent = franking::testing::block_on(producer.send(record), PATIENCE);
        sent.expect("in time").expect("delivered");
    }
}

/// A producer without layers: it writes whatever it is given.
fn plain() -> Producer<Bytes, Bytes> {
    bytes_builder(kafka()).build().unwrap()
}

/// What a checkout service sends in a trace, with its default stack.
fn stamped(topic: &str, numbers: std::ops::RangeInclusive<u32>) {
    let origin = Origin::builder()
        .service_namespace("shop")
        .service_name("checkout")
        .service_version("4.2.0")
        .instance_id("627c")
        .environment("prod")
        .build()
        .unwrap();
    let producer = bytes_builder(kafka())
        .layer(DefaultStack::new(origin))
        .build()
        .unwrap();
    let record = |n: u32| {
        ProducerRecord::new(topic.to_owned())
            .key(text(&format!("table-{n}")))
            .value(text(&format!("{n} cups")))
            .header("traceparent", PARENT)
            .header("source", "till")
            .partition(0)
    };
    send(&producer, numbers.map(record));
}

#[test]
fn a_record_is_shown_with_who_when_and_in_which_trace() {
    let topic = topic(kafka(), "tail-text", 1, &[]);
    stamped(&topic, 1..=2);
    let shown = all(&topic, &[]);
    let lines: Vec<_> = shown.lines().collect();
    let head = format!("{topic}-0@0  20");
    assert!(lines[0].starts_with(&head), "{shown}");
    assert!(
        lines[0].ends_with("Z  shop/checkout 4.2.0 (prod)  #1"),
        "{shown}"
    );
    assert_eq!(
        lines[1],
        format!("  trace  {TRACE}  span b7ad6b7169203331"),
        "{shown}"
    );
    assert!(lines[2].starts_with("  id     01"), "{shown}");
    assert_eq!(
        lines[3..5],
        ["  key    table-1", "  value  1 cups"],
        "{shown}"
    );
    assert_eq!(lines.len(), 10, "{shown}");
    assert!(!shown.contains('\x1b'), "no colour where no terminal is");

    let verbose = all(&topic, &["--verbose", "--count", "1"]);
    for line in [
        "  origin service.instance.id 627c",
        "  header source till",
        &format!("  header traceparent {PARENT}"),
    ] {
        assert!(
            verbose.lines().any(|shown| shown == line),
            "{line}: {verbose}"
        );
    }
}

#[test]
fn json_says_everything() {
    let topic = topic(kafka(), "tail-json", 1, &[FOR_EVER]);
    stamped(&topic, 1..=1);
    send(
        &plain(),
        [ProducerRecord::new(topic.clone())
            .key(Bytes::from_static(b"\xff\0"))
            .timestamp(1_700_000_000_000)
            .header("prov-id", ID)
            .header("prov-origin", WHO)
            .header("prov-seq", "52@0b0c")
            .header(
                "prov-path",
                "…;shop/checkout@orders-2:184467;audit@orders-0:7",
            )
            .header("prov-rev", "41")
            .header("prov-mark", "pii-email@37,large@2")
            .header("prov-sig", "v1;kid=shop-3;Zm9v")
            .header("empty", "")
            .header("null", None::<&str>)],
    );
    let read = objects(&topic, &[]);
    let first = &read[0];
    assert_eq!(first["topic"], *topic);
    assert_eq!(
        (&first["partition"], &first["offset"]),
        (&0.into(), &0.into())
    );
    assert_eq!(
        (&first["key"], &first["value"]),
        (&"table-1".into(), &"1 cups".into())
    );
    let made = &first["provenance"];
    assert_eq!(
        made["made"], first["timestamp"],
        "the stack reads the clock once"
    );
    assert_eq!(made["trace"]["trace_id"], TRACE);
    assert_eq!(made["trace"]["sampled"], true);
    assert_eq!(made["service"], "checkout");
    assert_eq!(made["origin"]["deployment.environment.name"], "prod");
    assert_eq!(
        (&made["number"], &made["instance"]),
        (&1.into(), &"627c".into())
    );
    assert_eq!(made["notes"], serde_json::json!([]));

    let second = &read[1];
    assert_eq!(second["key"], serde_json::json!({ "hex": "ff00" }));
    assert_eq!(
        (&second["value"], &second["timestamp"]),
        (&Value::Null, &1_700_000_000_000_i64.into())
    );
    let headers = second["headers"].as_array().unwrap();
    assert_eq!(
        headers[7..],
        [
            serde_json::json!(["empty", ""]),
            serde_json::json!(["null", null])
        ]
    );
    let made = &second["provenance"];
    assert_eq!(
        (&made["id"], &made["made"]),
        (&ID.into(), &1_795_359_845_123_i64.into())
    );
    assert_eq!(
        (&made["number"], &made["instance"]),
        (&52.into(), &"0b0c".into())
    );
    assert_eq!(made["path"]["cut"], true);
    assert_eq!(made["path"]["hops"][0]["offset"], 184_467);
    assert_eq!(made["path"]["hops"][1]["service"], "audit");
    assert_eq!(
        made["marks"],
        serde_json::json!(["pii-email@37", "large@2"])
    );
    assert_eq!(
        made["signature"],
        serde_json::json!({ "key_id": "shop-3", "hex": "666f6f" })
    );
    assert_eq!(made["revision"], "41");

    let shown = all(&topic, &["--from", "1"]);
    assert!(shown.contains("#52 of 0b0c\n"), "{shown}");
    let path = "  path   … → shop/checkout orders-2@184467 → audit orders-0@7\n";
    assert!(shown.contains(path), "{shown}");
    assert!(
        shown.contains("  key    \\xff\\u{0}\n  value  null\n"),
        "{shown}"
    );
}

/// Characters that are not seen, but do something.
fn is_dangerous(char: char) -> bool {
    let code = u32::from(char);
    (char.is_control() && char != '\n')
        || [0x061c, 0xfeff].contains(&code)
        || (0x200b..=0x200f).contains(&code)
        || (0x2028..=0x202e).contains(&code)
        || (0x2060..=0x206f).contains(&code)
        || code >= 0xe0000
}

#[test]
fn hostile_records_are_harmless() {
    // As Kafka did not before 3.6, take any time.
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let topic = topic(kafka(), "tail-hostile", 1, &[any_time, FOR_EVER]);
    let controls: String = (0..=0x9f)
        .filter_map(char::from_u32)
        .filter(|c| c.is_control())
        .collect();
    let evil = format!(
        "\x1b[2J\x1b]0;title\x07\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\n{controls}{}",
        "\u{301}".repeat(500)
    );
    let encoded: String = evil.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut hostile = ProducerRecord::new(topic.clone())
        .key(text(&evil))
        .value(text(&evil.repeat(50)))
        .header("prov-id", "ffffffff-ffff-7fff-bfff-ffffffffffff")
        .header("prov-origin", format!("service.name={}", &encoded[..3000]))
        .header("prov-seq", format!("7@{}", &encoded[..300]))
        .header("prov-path", format!("{}@t-0:0", &encoded[..300]))
        .header("traceparent", &*evil)
        .header("\u{202e}name", &*evil);
    for _ in 0..5000 {
        hostile = hostile.header("x", None::<&str>);
    }
    let old = ProducerRecord::new(topic.clone())
        .value(text("long ago...."))
        .timestamp(1)
        .header("prov-origin", Bytes::from_static(b"\xff\xfe"));
    // Of the year 11476.
    let late = ProducerRecord::new(topic.clone()).timestamp(300_000_000_000_000);
    send(&plain(), [hostile, old, late]);

    for more in [
        &[][..],
        &["--verbose"],
        &["--json"],
        &["--width", "80", "--verbose"],
        &["--max-bytes", "10"],
    ] {
        let shown = all(&topic, more);
        let bad = shown.chars().find(|char| is_dangerous(*char));
        assert_eq!(bad, None, "{more:?}: {shown}");
        assert!(shown.contains("long ago"), "{more:?}: {shown}");
    }
    let narrow = all(&topic, &["--width", "80", "--verbose"]);
    for line in narrow.lines() {
        // Each mark takes no column, and at most two stand on a character.
        let seen = line.chars().filter(|char| *char != '\u{301}').count();
        assert!(seen <= 80, "{seen}: {line}");
    }
    assert!(narrow.lines().count() < 200, "few lines for many headers");
    let notes = all(&topic, &["--malformed"]);
    assert!(
        notes.contains("  note   headers: 4097 are too many to be read\n"),
        "{notes}"
    );
    assert!(
        notes.contains("  note   prov-origin: not UTF-8\n"),
        "{notes}"
    );
    let read = objects(&topic, &[]);
    assert_eq!(read[0]["key"], *evil, "and JSON brings it all back");
    assert_eq!(read[0]["headers"].as_array().unwrap().len(), 1000);
    assert_eq!(read[0]["headers_left_out"], 3097);
    let cut = &objects(&topic, &["--max-bytes", "7"])[1]["value"];
    assert_eq!(*cut, serde_json::json!({ "text": "long ag", "bytes": 12 }));
}

#[test]
fn filters_take_what_matches_all_of_them() {
    let topic = topic(kafka(), "tail-filters", 1, &[]);
    stamped(&topic, 1..=3);
    let other = |value: &str| ProducerRecord::new(topic.clone()).value(text(value));
    send(
        &plain(),
        [
            other("plain"),
            other("payment")
                .header("prov-origin", "service.namespace=shop,service.name=payment")
                .header("prov-id", ID)
                .header("source", "web"),
            other("broken")
                .header("prov-seq", "x")
                .header("token", None::<&str>),
        ],
    );
    let values = |more: &[&str]| -> Vec<String> {
        let read = objects(&topic, more);
        read.iter()
            .map(|record| record["value"].as_str().unwrap().to_owned())
            .collect()
    };
    let stamped = ["1 cups", "2 cups", "3 cups"];
    assert_eq!(values(&[]).len(), 6);
    assert_eq!(values(&["--service", "checkout"]), stamped);
    assert_eq!(values(&["--service", "shop/payment"]), ["payment"]);
    assert_eq!(
        values(&["--service", "shop/payment", "--service", "checkout"]).len(),
        4
    );
    assert_eq!(values(&["--service", "other/payment"]), [""; 0]);
    assert_eq!(values(&["--origin", "service.version=4.2.0"]), stamped);
    assert_eq!(values(&["--key", "table-2"]), ["2 cups"]);
    assert_eq!(values(&["--header", "source"]).len(), 4);
    assert_eq!(values(&["--header", "source=web"]), ["payment"]);
    assert_eq!(values(&["--header", "token"]), ["broken"]);
    assert_eq!(
        values(&["--header", "token="]),
        [""; 0],
        "null is not empty"
    );
    assert_eq!(values(&["--trace", TRACE]), stamped);
    assert_eq!(values(&["--trace", &TRACE.to_uppercase()]), stamped);
    assert_eq!(values(&["--id", ID]), ["payment"]);
    assert_eq!(values(&["--malformed"]), ["broken"]);
    assert_eq!(values(&["--trace", TRACE, "--key", "table-3"]), ["3 cups"]);
    assert_eq!(
        values(&["--trace", TRACE, "--header", "source=web"]),
        [""; 0]
    );
    assert_eq!(
        values(&["--service", "checkout", "--count", "2"]),
        stamped[..2]
    );
}

#[test]
fn it_begins_where_it_is_told_to() {
    let topic = topic(kafka(), "tail-from", 2, &[FOR_EVER]);
    let at = |n: i64| {
        ProducerRecord::new(topic.clone())
            .value(text(&n.to_string()))
            .partition((n % 2) as i32)
            .timestamp(1_700_000_000_000 + n * 1000)
    };
    send(&plain(), (0..10).map(at));
    let values = |from: &str, more: &[&str]| -> Vec<i64> {
        let read = objects(&topic, &[&["--from", from], more].concat());
        let value = |record: &Value| record["value"].as_str().unwrap().parse().unwrap();
        let mut values: Vec<_> = read.iter().map(value).collect();
        values.sort_unstable();
        values
    };
    assert_eq!(values("beginning", &[]), (0..10).collect::<Vec<_>>());
    assert_eq!(values("end", &[]), [0; 0]);
    assert_eq!(values("4", &[]), [8, 9], "offset 4 of each partition");
    assert_eq!(values("999", &[]), [0; 0]);
    assert_eq!(values("-1", &[]), [8, 9]);
    assert_eq!(values("-999", &[]).len(), 10);
    assert_eq!(values("@1700000005500", &[]), [6, 7, 8, 9]);
    assert_eq!(values("2023-11-14T22:13:27Z", &[]), [7, 8, 9]);
    assert_eq!(values("2100-01-01 00:00:00", &[]), [0; 0]);
    assert_eq!(values("beginning", &["-p", "1"]), [1, 3, 5, 7, 9]);
    assert_eq!(values("-2", &["-p", "1", "-p", "0"]), [6, 7, 8, 9]);
}

/// A `tail` that runs; killed if its test fails.
struct Running {
    process: Child,
    lines: Option<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut process = command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = process.stdout.take().map(BufReader::new);
        Self { process, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Nobody reads what it prints any more.
    fn hang_up(&mut self) {
        drop(self.lines.take());
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Its code, and what it wrote to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        self.process
            .stderr
            .as_mut()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

#[test]
fn it_follows_and_ends_when_nobody_reads_any_more() {
    let topic = topic(kafka(), "tail-follows", 1, &[]);
    let mut idle = Running::start(&["--topic", &topic, "--json"]);
    let mut busy = Running::start(&["--topic", &topic, "--json"]);
    let producer = plain();
    let record = |n: u32| ProducerRecord::new(topic.clone()).value(text(&format!("{n:>1000}")));
    // It begins at the end, whenever that is: so until it is there, records come.
    let (first, sent) = thread::scope(|scope| {
        let first = scope.spawn(|| idle.line());
        let other = scope.spawn(|| busy.line());
        let mut sent = 0;
        while !first.is_finished() || !other.is_finished() {
            send(&producer, [record(sent)]);
            sent += 1;
        }
        (first.join().unwrap(), sent)
    });
    assert!(serde_json::from_str::<Value>(&first).unwrap()["value"].is_string());

    // While nothing comes.
    idle.hang_up();
    let (code, said) = idle.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("error"),
        "{said}"
    );

    // While much comes: more than a pipe holds.
    busy.hang_up();
    send(&producer, (sent..sent + 200).map(record));
    let (code, said) = busy.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("error"),
        "{said}"
    );
}

#[test]
fn signals_end_it_and_it_says_what_it_read() {
    let topic = topic(kafka(), "tail-signals", 1, &[]);
    stamped(&topic, 1..=3);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut running = Running::start(&["--topic", &topic, "--from", "beginning", "--json"]);
        for _ in 0..3 {
            running.line();
        }
        running.signal(signal);
        let (ended, said) = running.end();
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("3 read, 3 shown"), "{said}");
        assert!(said.contains("instance 627c: #1 to #3, 3 read"), "{said}");
    }
    // A pipe that nobody empties does not hold it for good.
    let flood = |n: u32| ProducerRecord::new(topic.clone()).value(text(&format!("{n:>1000}")));
    send(&plain(), (0..300).map(flood));
    let running = Running::start(&["--topic", &topic, "--from", "beginning", "--json"]);
    thread::sleep(Duration::from_secs(3));
    running.signal("-INT");
    thread::sleep(Duration::from_millis(300));
    running.signal("-INT");
    assert_eq!(running.end().0, Some(130));
}

#[test]
fn what_is_missing_or_doubled_is_told_at_the_end() {
    let topic = topic(kafka(), "tail-gaps", 2, &[]);
    let numbered = |n: u32| {
        ProducerRecord::new(topic.clone())
            .value(text("x"))
            .partition((n % 2) as i32)
            .header("prov-origin", WHO)
            .header("prov-seq", n.to_string())
    };
    send(&plain(), [1, 2, 4, 4, 7].map(numbered));
    let said = |more: &[&str]| {
        let output = tail(&[&["--topic", &*topic, "--exit"], more].concat());
        String::from_utf8(output.stderr).unwrap()
    };
    let whole = said(&["--from", "beginning"]);
    assert!(
        whole.contains("instance 627c: #1 to #7, 5 read, 3 missing, 1 doubled\n"),
        "{whole}"
    );
    // Who reads a part does not know what is missing.
    let part = said(&["--from", "beginning", "-p", "1"]);
    assert!(part.contains("instance 627c: #1 to #7, 2 read\n"), "{part}");
    assert_eq!(said(&["--from", "beginning", "--quiet"]), "");
}

#[test]
fn what_is_wrong_is_said_and_no_secret_with_it() {
    let fails = |args: &[&str]| {
        let output = tail(args);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{args:?}: {output:?}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !said.contains("hunter2") && !said.contains("panicked"),
            "{said}"
        );
        said
    };
    let absent = topic_name("tail-absent");
    let said = fails(&["-t", &absent]);
    assert!(
        said.contains(&format!("there is no topic `{absent}`")),
        "{said}"
    );
    // And it did not make it.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka())
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    assert!(metadata.topics().iter().all(|topic| topic.name() != absent));

    let topic = topic(kafka(), "tail-errors", 1, &[]);
    let said = fails(&["-t", &topic, "-p", "3"]);
    assert!(said.contains("has no partition 3"), "{said}");
    let said = fails(&["-t", &topic, "-b", "127.0.0.1:1"]);
    assert!(
        said.contains("the argument '--bootstrap"),
        "given twice: {said}"
    );
    for (property, tells) in [
        ("sasl.pasword=hunter2", "did you mean `sasl.password`"),
        ("hunter2", "-X number 1 has no `=`"),
        ("fetch.min.bytes=much", "`fetch.min.bytes`"),
        ("isolation.level=none", "`isolation.level`"),
        ("sasl.oauthbearer.client.secret=hunter2", "no HTTP client"),
    ] {
        let said = fails(&["-t", &topic, "-X", property]);
        assert!(said.contains(tells), "{property}: {said}");
    }
    for (args, tells) in [
        (["--from", "yesterday"], "2026-11-22T10:00:00Z"),
        (["--trace", "xyz"], "32 hexadecimal digits"),
        (["--id", "7"], "write a UUID"),
        (["--origin", "service"], "write NAME=VALUE"),
    ] {
        let said = fails(&[&["-t", &*topic], &args[..]].concat());
        assert!(said.contains(tells), "{args:?}: {said}");
    }

    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args([
            "tail",
            "-b",
            "127.0.0.1:1",
            "-t",
            "t",
            "-X",
            "client.id=hunter2",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no broker answers at 127.0.0.1:1") && said.contains("refused"),
        "{said}"
    );
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_consumers_or_producers_properties_file_will_do() {
    let topic = topic(kafka(), "tail-config", 1, &[]);
    stamped(&topic, 1..=1);
    let path =
        std::env::temp_dir().join(format!("franking-tail-{}.properties", std::process::id()));
    let text = format!(
        "bootstrap.servers={}\nacks=all\nlinger.ms=5\nkey.deserializer=org.example.Text\ngroup.id=shop\n\
         auto.offset.reset=latest\nenable.auto.commit=true\nfetch.max.wait.ms=50\nisolation.level=read_uncommitted\n",
        kafka()
    );
    std::fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args([
            "tail",
            "-t",
            &topic,
            "--from",
            "beginning",
            "--exit",
            "--json",
            "--config",
        ])
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn colour_comes_when_it_is_asked_for_and_from_nobody_else() {
    let topic = topic(kafka(), "tail-colour", 1, &[]);
    send(
        &plain(),
        [ProducerRecord::new(topic.clone()).value(text("\x1b[41mred"))],
    );
    let output = command(&[
        "--topic",
        &topic,
        "--from",
        "beginning",
        "--exit",
        "--quiet",
    ])
    .env("CLICOLOR_FORCE", "1")
    .output()
    .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("\x1b[1m"), "{shown:?}");
    assert!(
        !shown.contains("\x1b[41m") && shown.contains("\\u{1b}[41mred"),
        "{shown:?}"
    );
    // What is turned on is turned off on the same line.
    assert!(
        shown
            .lines()
            .all(|line| line.matches("\x1b[0m").count() * 2 == line.matches('\x1b').count()),
        "{shown:?}"
    );
}

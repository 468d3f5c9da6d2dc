//! The program, on a real broker with a topic full of hostile records.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::{kafka, topic};
use crate::{EVIL, evil, harm};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_franking"));
    command
        .args(args)
        .args(["--bootstrap", kafka()])
        .env_remove("NO_COLOR")
        .env_remove("RUST_LOG")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .stdin(Stdio::null());
    command
}

/// Runs it, and looks at every byte that it wrote.
fn harmless(args: &[&str]) -> Output {
    let output = program(args).output().unwrap();
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        assert_eq!(harm(bytes), None, "{name} of {args:?}");
    }
    // In colours the program's own are the only commands.
    let coloured = program(args).env("CLICOLOR_FORCE", "1").output().unwrap();
    for (name, bytes) in [("stdout", &coloured.stdout), ("stderr", &coloured.stderr)] {
        assert_eq!(
            harm(&without_colours(bytes)),
            None,
            "{name} of {args:?} in colours"
        );
    }
    output
}

/// Without what the program itself sets: dimmed, bold, red, green, yellow, and back.
fn without_colours(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert!(!text.contains("\u{1b}[31mred"), "a forger's colour");
    for colour in ["0", "1", "2", "31", "32", "33"] {
        text = text.replace(&format!("\u{1b}[{colour}m"), "");
    }
    text.into_bytes()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Of a client that takes any name of a header.
fn client() -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka())
        .set("message.max.bytes", "20000000")
        .create()
        .unwrap()
}

fn write(client: &BaseProducer, topic: &str, key: &[u8], value: &[u8], headers: OwnedHeaders) {
    let record = BaseRecord::to(topic)
        .key(key)
        .payload(value)
        .headers(headers)
        .partition(0);
    client
        .send(record)
        .unwrap_or_else(|(error, _)| panic!("{error}"));
    client.flush(Duration::from_secs(30)).unwrap();
}

fn add(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

/// A topic in which everything that can be hostile is, in every place. How many records, and the bytes of the largest.
fn hostile_topic() -> (String, usize) {
    let topic = topic(kafka(), "hostile", 1, &[("max.message.bytes", "20000000")]);
    let client = client();
    let mut count = 0;
    for text in EVIL.into_iter().map(str::to_owned).chain([evil()]) {
        let encoded = percent(&text);
        let mut headers = OwnedHeaders::new();
        // The names end at a NUL, where librdkafka reads them; in front of it they are as hostile.
        headers = add(headers, &format!("{text}name"), text.as_bytes());
        headers = add(headers, "prov-id", b"01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e");
        let origin = format!(
            "service.name={encoded},service.namespace={encoded},{encoded}={encoded},service.instance.id={encoded}"
        );
        headers = add(headers, "prov-origin", origin.as_bytes());
        headers = add(headers, "prov-seq", format!("7@{encoded}").as_bytes());
        headers = add(
            headers,
            "prov-path",
            format!("{encoded}/{encoded}@t-0:0").as_bytes(),
        );
        headers = add(
            headers,
            "prov-sig",
            format!("v1;kid={text};AAAA").as_bytes(),
        );
        headers = add(headers, "prov-rev", text.as_bytes());
        headers = add(headers, "prov-mark", text.as_bytes());
        headers = add(
            headers,
            "traceparent",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        headers = add(headers, "tracestate", format!("a={text}").as_bytes());
        write(&client, &topic, text.as_bytes(), text.as_bytes(), headers);
        let mut broken = text.into_bytes();
        broken.extend(b"\xff\xc0\xaf\xed\xa0\x80\xf8");
        let headers = add(OwnedHeaders::new(), "prov-origin", &broken);
        write(&client, &topic, &broken, &broken, headers);
        count += 2;
    }
    (topic, count)
}

#[test]
fn tail_on_a_hostile_topic_is_harmless() {
    let (topic, count) = hostile_topic();
    let tail = |more: &[&str]| {
        let args = [
            &["tail", "-t", &topic, "--from", "beginning", "--exit"],
            more,
        ]
        .concat();
        let output = harmless(&args);
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout.len() > count * 20,
            "{more:?}: it shows something"
        );
        output
    };
    for more in [
        &[][..],
        &["--verbose"],
        &["--json"],
        &["--max-bytes", "3", "--verbose"],
        &["--max-bytes", "3", "--json"],
        &["--malformed"],
    ] {
        tail(more);
    }
    let narrow = tail(&["--verbose", "--width", "60"]);
    let text = String::from_utf8(narrow.stdout).unwrap();
    let marks = |char: &char| !('\u{300}'..='\u{36f}').contains(char);
    let widest = text
        .lines()
        .map(|line| line.chars().filter(marks).count())
        .max();
    assert_eq!(widest, Some(60));
    println!(
        "{count} hostile records: {} lines of at most 60 columns",
        text.lines().count()
    );
}

#[test]
fn audit_on_a_hostile_topic_is_harmless() {
    let (topic, _) = hostile_topic();
    let reports = crate::support::topic(kafka(), "hostile-reports", 1, &[]);
    let client = client();
    for text in EVIL {
        let report = serde_json::json!({
            "id": text, "instance": text, "topic": topic, "bucket_start": 0, "bucket_millis": 600_000, "delivered": 1,
        });
        write(
            &client,
            &reports,
            b"",
            report.to_string().as_bytes(),
            OwnedHeaders::new(),
        );
    }
    let file = std::env::temp_dir().join(topic.as_str());
    std::fs::write(&file, evil() + "\n").unwrap();
    for more in [
        &[][..],
        &["--json"],
        &["--reports-topic", &reports],
        &["--reports-topic", &reports, "--json"],
    ] {
        let output = harmless(&[&["audit", &topic], more].concat());
        assert!(
            matches!(output.status.code(), Some(0 | 3 | 4)),
            "{output:?}"
        );
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("31mred"), "it names the instances: {told}");
    }
    let path = file.to_str().unwrap();
    for more in [&[][..], &["--json"]] {
        let args = [&["audit", "--verify", path], more].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_franking"))
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(harm(&output.stdout), None);
        assert_eq!(harm(&output.stderr), None);
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn send_tells_of_hostile_names_harmlessly() {
    let report = std::env::temp_dir().join(crate::support::topic_name("hostile-report"));
    let report_path = report.to_str().unwrap();
    let sound = topic(kafka(), "hostile-lines", 1, &[]);
    // A command line holds no NUL.
    let texts = EVIL.into_iter().filter(|text| !text.contains('\0'));
    for text in texts.map(str::to_owned) {
        for (to, more) in [(&text, &[][..]), (&sound, &[]), (&sound, &["--json"])] {
            // Lines of JSON whose members, headers and topic are hostile.
            let name = format!("{text}\u{1b}");
            let lines = [
                serde_json::json!({ "value": "v" }),
                serde_json::json!({ "value": "v", "headers": { name.as_str(): "v" } }),
                serde_json::json!({ name.as_str(): 1 }),
            ];
            let mut command = program(&[
                "send",
                "-t",
                to,
                "--format",
                "json",
                "--report",
                report_path,
                "-X",
                "max.block.ms=300",
                "-X",
                "delivery.timeout.ms=2000",
                "-X",
                "request.timeout.ms=1000",
                "-X",
                "linger.ms=0",
            ]);
            let mut child = command
                .args(more)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = child.stdin.take().unwrap();
            for line in &lines {
                writeln!(input, "{line}").unwrap();
            }
            drop(input);
            let output = child.wait_with_output().unwrap();
            assert!(!output.status.success(), "{output:?}");
            let written = std::fs::read(&report).unwrap();
            // Such a topic is refused before a line is read.
            assert_eq!(written.is_empty(), *to == text, "{output:?}");
            for bytes in [&output.stdout, &output.stderr, &written] {
                assert_eq!(harm(bytes), None, "{text:?}");
            }
        }
    }
    std::fs::remove_file(report).unwrap();
}

/// Of a broker, a file, a property that the command line names.
#[test]
fn errors_at_the_start_are_harmless() {
    for text in EVIL.into_iter().map(|text| text.replace('\0', "")) {
        let property = format!("{text}={text}");
        let value = format!("acks={text}");
        for args in [
            &["tail", "-t", &text, "--exit"][..],
            &["tail", "-t", "t", "-c", &text],
            &["send", "-t", "t", "-X", &property],
            &["send", "-t", "t", "-X", &value],
            &["audit", &text],
            &["audit", "--verify", &text],
        ] {
            // The topic is looked for only once: a name that Kafka does not take.
            if args[0] != "send"
                && args[1] != "--verify"
                && !args.contains(&"-c")
                && text != EVIL[0]
            {
                continue;
            }
            let output = program(args).output().unwrap();
            assert!(!output.status.success(), "{args:?}");
            assert_eq!(harm(&output.stdout), None, "{args:?}");
            assert_eq!(harm(&output.stderr), None, "{args:?}");
        }
    }
}

/// The most memory that a process took so far, in KiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn huge_records_are_shown_in_part_and_take_bounded_memory() {
    const SIZE: usize = 10 << 20;
    let topic = topic(
        kafka(),
        "hostile-huge",
        1,
        &[("max.message.bytes", "20000000")],
    );
    let client = client();
    const RECORDS: usize = 8;
    for n in 0..RECORDS {
        // What grows most when it is escaped, and what is no text.
        let value = match n % 2 {
            0 => "\u{200b}".repeat(SIZE / 3).into_bytes(),
            _ => vec![0xff; SIZE],
        };
        let mut headers = OwnedHeaders::new();
        for _ in 0..10_000 {
            headers = add(headers, "x", b"\x1b[2J");
        }
        write(&client, &topic, b"k", &value, headers);
    }
    for (more, most) in [
        // A MiB of each value, of which each byte is four at most, and a hundred headers.
        (&[][..], 4 << 20),
        (&["--json"], 4 << 20),
        (&["--width", "80", "--verbose"], 16 << 10),
    ] {
        let args = [
            &["tail", "-t", &topic, "--from", "beginning", "--exit"],
            more,
        ]
        .concat();
        let mut child = program(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut stdout, &mut bytes).unwrap();
            bytes
        });
        let (mut memory, begun) = (0, Instant::now());
        while child.try_wait().unwrap().is_none() {
            memory = memory.max(peak(child.id()));
            assert!(begun.elapsed() < Duration::from_secs(120), "it ends");
            std::thread::sleep(Duration::from_millis(5));
        }
        let bytes = reading.join().unwrap();
        assert_eq!(harm(&bytes), None, "{more:?}");
        let each = bytes.len() / RECORDS;
        println!(
            "{more:?}: {RECORDS} records of 10 MiB, {each} bytes shown of each, {memory} KiB at most"
        );
        assert!(each > 80 && each <= most, "{more:?}: {each}");
        // 80 MiB were read.
        assert!(memory > 0 && memory < 200 << 10, "{more:?}: {memory} KiB");
    }
}

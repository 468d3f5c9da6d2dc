//! `franking audit` as its users run it, on a real broker: what is lost, doubled or late is found, and nothing else.

#![cfg(feature = "cli")]

mod support;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use franking::middleware::audit::{Audit, JsonLines, Receipt, Report, ReportSink};
use franking::middleware::origin::Origin;
use franking::testing::block_on;
use franking::{Code, DefaultStack, Producer, ProducerRecord};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use support::{Stored, bytes_builder, eventually, kafka, read, topic};

const PATIENCE: Duration = Duration::from_secs(60);
const FOR_EVER: (&str, &str) = ("retention.ms", "-1");

/// The exit code, and the verdict.
fn audit(topic: &str, more: &[&str]) -> (Option<i32>, Value) {
    let args = [&["audit", "-b", kafka(), topic, "--json"], more].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(&args)
        .output()
        .expect("the program starts");
    let verdict = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{args:?}: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code(), verdict)
}

/// A service with the default stack.
struct Service {
    producer: Producer<Bytes, Bytes>,
    audit: Arc<Audit>,
}

impl Service {
    fn start(instance: &str) -> Self {
        let origin = Origin::builder()
            .service_namespace("shop")
            .service_name("checkout")
            .instance_id(instance)
            .build()
            .unwrap();
        let stack = DefaultStack::new(origin);
        let audit = Arc::clone(stack.audit());
        let producer = bytes_builder(kafka()).layer(stack).build().unwrap();
        Self { producer, audit }
    }

    fn send(&self, topic: &str, count: usize) {
        for n in 0..count {
            let record = ProducerRecord::new(topic.to_owned()).value(Bytes::from(n.to_string()));
            block_on(self.producer.send(record), PATIENCE)
                .unwrap()
                .unwrap();
        }
    }

    /// What its audit layer writes, in tracing's JSON format, in a file.
    fn reports(&self, name: &str) -> Reports {
        let lines = Lines::default();
        let write = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || write.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || self.audit.report());
        let path =
            std::env::temp_dir().join(format!("franking-audit-{}-{name}", std::process::id()));
        std::fs::write(&path, &*lines.0.lock().unwrap()).unwrap();
        Reports(path)
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is there as long as its test.
struct Reports(PathBuf);

impl Reports {
    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a stored record once more, as a retry of somebody else's would.
fn write_again(topic: &str, stored: &Stored) {
    let mut again = ProducerRecord::new(topic.to_owned())
        .value(Bytes::from(stored.value.clone().unwrap()))
        .partition(stored.partition)
        .timestamp(stored.timestamp);
    for (name, value) in &stored.headers {
        again = again.header(name, value.clone());
    }
    let plain = bytes_builder(kafka()).build().unwrap();
    block_on(plain.send(again), PATIENCE).unwrap().unwrap();
}

#[test]
fn what_was_delivered_and_is_stored_is_complete() {
    let topic = topic(kafka(), "audit-complete", 3, &[]);
    let services = ["one", "two"].map(Service::start);
    let reports: Vec<_> = services
        .iter()
        .enumerate()
        .map(|(n, service)| {
            service.send(&topic, 30 + n);
            service.reports(&format!("complete-{n}"))
        })
        .collect();
    let (code, verdict) = audit(&topic, &[]);
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(verdict["records"], 61);
    let instances = verdict["instances"].as_array().unwrap();
    let told: Vec<_> = instances
        .iter()
        .map(|i| (i["instance"].as_str().unwrap(), i["last"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("one", 30), ("two", 31)], "{verdict}");
    assert_eq!(instances[0]["service"], "shop/checkout");

    let (code, verdict) = audit(
        &topic,
        &[
            "--reports",
            reports[0].path(),
            "--reports",
            reports[1].path(),
        ],
    );
    assert_eq!(code, Some(0), "{verdict}");
    let delivered = |bucket: &Value| bucket["delivered"].as_u64().unwrap();
    let buckets = verdict["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(delivered).sum::<u64>(), 61, "{verdict}");

    // One writer's reports alone do not account for what the other wrote.
    let (code, verdict) = audit(&topic, &["--reports", reports[0].path()]);
    assert_eq!(
        (code, &verdict["unreported"]),
        (Some(4), &json!(31)),
        "{verdict}"
    );
    // Reports of other buckets cannot be compared.
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(["audit", "-b", kafka(), &topic, "--bucket", "1m"])
        .args(["--reports", reports[0].path()])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("buckets of 600000 ms, not 60000"), "{said}");
}

#[test]
fn records_that_were_lost_are_missing() {
    let topic = topic(kafka(), "audit-lost", 1, &[]);
    let service = Service::start("one");
    service.send(&topic, 20);
    let reports = service.reports("lost");
    // The first five are gone: no gap, for a reader may have begun late, but the reports know.
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka())
        .create()
        .unwrap();
    let mut until = TopicPartitionList::new();
    until
        .add_partition_offset(&topic, 0, Offset::Offset(5))
        .unwrap();
    let options = AdminOptions::new();
    block_on(admin.delete_records(&until, &options), PATIENCE)
        .unwrap()
        .unwrap();
    let (code, verdict) = audit(&topic, &[]);
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(verdict["instances"][0]["first"], 6);
    let (code, verdict) = audit(&topic, &["--reports", reports.path()]);
    assert_eq!(
        (code, &verdict["missing"]),
        (Some(3), &json!(5)),
        "{verdict}"
    );
}

#[test]
fn a_gap_is_missing_unless_a_report_explains_it() {
    let topic = topic(kafka(), "audit-gap", 1, &[]);
    let service = Service::start("one");
    service.send(&topic, 3);
    let large = ProducerRecord::new(topic.clone()).value(Bytes::from(vec![b'x'; 2 << 20]));
    let refused = block_on(service.producer.send(large), PATIENCE).unwrap();
    assert_eq!(*refused.unwrap_err().code(), Code::RecordTooLarge);
    service.send(&topic, 3);
    let reports = service.reports("gap");
    let (code, verdict) = audit(&topic, &[]);
    assert_eq!(
        (code, &verdict["missing"]),
        (Some(3), &json!(1)),
        "{verdict}"
    );
    assert_eq!(
        verdict["instances"][0]["gaps"],
        json!([[4, 4]]),
        "{verdict}"
    );
    let (code, verdict) = audit(&topic, &["--reports", reports.path()]);
    assert_eq!(
        (code, &verdict["explained"]),
        (Some(0), &json!(1)),
        "{verdict}"
    );
}

#[test]
fn what_is_there_twice_or_late_is_told() {
    let topic = topic(kafka(), "audit-doubled", 2, &[FOR_EVER]);
    let service = Service::start("one");
    service.send(&topic, 10);
    for stored in &read(kafka(), &topic)[..2] {
        write_again(&topic, stored);
    }
    let (code, verdict) = audit(&topic, &[]);
    assert_eq!(
        (code, &verdict["doubled"]),
        (Some(4), &json!(2)),
        "{verdict}"
    );
    assert_eq!(verdict["instances"][0]["doubled"], 2);
    assert_eq!(verdict["late"], 0);

    // A record of a bucket that was over two minutes before.
    let newest = read(kafka(), &topic)
        .iter()
        .map(|r| r.timestamp)
        .max()
        .unwrap();
    let over = newest / 60_000 * 60_000 - 60_001;
    for partition in [0, 1] {
        let late = ProducerRecord::new(topic.clone())
            .value(Bytes::from_static(b"late"))
            .partition(partition)
            .timestamp(over)
            .header("prov-origin", "service.instance.id=slow")
            .header("prov-seq", (partition + 1).to_string());
        let plain = bytes_builder(kafka()).build().unwrap();
        block_on(plain.send(late), PATIENCE).unwrap().unwrap();
    }
    let (_, verdict) = audit(&topic, &["--bucket", "1m", "--late", "1s"]);
    let partitions: std::collections::BTreeSet<_> = read(kafka(), &topic)
        .iter()
        .filter(|r| r.timestamp > over)
        .map(|r| r.partition)
        .collect();
    assert_eq!(verdict["late"], partitions.len(), "{verdict}");
    let slow = verdict["instances"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["instance"] == "slow");
    assert_eq!(slow.unwrap()["late"], partitions.len(), "{verdict}");
    let (_, patient) = audit(&topic, &["--bucket", "1m", "--late", "1h"]);
    assert_eq!(patient["late"], 0, "{patient}");
}

#[test]
fn a_person_reads_a_table_and_nothing_harmful() {
    let topic = topic(kafka(), "audit-text", 1, &[]);
    let plain = bytes_builder(kafka()).build().unwrap();
    for number in ["1", "2", "5", "5"] {
        let record = ProducerRecord::new(topic.clone())
            .value(Bytes::from_static(b"x"))
            .header(
                "prov-origin",
                "service.name=a%1B%5B2J%E2%80%AE,service.instance.id=i%0A",
            )
            .header("prov-seq", number);
        block_on(plain.send(record), PATIENCE).unwrap().unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(["audit", "-b", kafka(), "-t", &topic])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown}");
    assert!(shown.contains("a\\u{1b}[2J\\u{202e} i\\n"), "{shown}");
    assert!(shown.contains("#3–#4"), "{shown}");
    assert!(shown.ends_with("✗ 2 missing, 1 doubled\n"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() <= 120),
        "{shown}"
    );
}

/// A report as it is in a topic or a file.
fn reported(stored: &Stored) -> Report {
    serde_json::from_slice(stored.value.as_deref().unwrap()).unwrap()
}

/// Reports go through the engine to a topic, the last of them at the close, and `franking audit` reads them there.
#[test]
fn reports_in_a_topic_are_complete_after_the_close() {
    let topic = topic(kafka(), "audited", 2, &[FOR_EVER]);
    let reports = topic_of_reports();
    let origin = Origin::builder()
        .service_name("checkout")
        .instance_id("one")
        .build()
        .unwrap();
    let stack = DefaultStack::new(origin);
    let audit = Arc::clone(stack.audit());
    let producer = bytes_builder(kafka())
        .audit_topic(&audit, reports.clone())
        .layer(stack)
        .build()
        .unwrap();
    let order = |n: usize| {
        ProducerRecord::new(topic.clone())
            .value(Bytes::from(n.to_string()))
            .timestamp(600_000 * (1 + n as i64 % 3))
    };
    for n in 0..30 {
        block_on(producer.send(order(n)), PATIENCE)
            .unwrap()
            .unwrap();
    }
    audit.report();
    assert!(eventually(|| audit.unwritten() == 0));
    assert_eq!(read(kafka(), &reports).len(), 3);
    // In flight when it is closed: their outcomes come first, then the reports about them.
    for n in 0..500 {
        drop(
            block_on(producer.enqueue(order(n)), PATIENCE)
                .unwrap()
                .unwrap(),
        );
    }
    let in_flight = producer.room().outstanding();
    let closed = block_on(producer.close(PATIENCE), PATIENCE).unwrap();
    assert!(in_flight > 0, "they were in flight");
    assert_eq!(audit.unwritten(), 0);
    assert_eq!(audit.totals().delivered.records, 530);
    // Of reports it does not speak.
    assert!(
        closed.delivered <= 500 && closed.not_persisted + closed.unknown == 0,
        "{closed}"
    );

    let told: Vec<_> = read(kafka(), &reports).iter().map(reported).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(
        told.iter()
            .all(|r| r.closed && r.instance.as_deref() == Some("one"))
    );
    assert!(
        told.iter()
            .all(|r| r.latency_max_us >= r.latency_p95_us && r.latency_p95_us > 0)
    );
    let ids: BTreeSet<_> = told.iter().map(|r| r.id.clone().unwrap()).collect();
    assert_eq!(ids.len(), 6);
    println!("{in_flight} in flight at the close, {closed}; 6 reports of 530 records");

    let (code, verdict) = self::audit(&topic, &["--reports-topic", &reports]);
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(verdict["reports"], 6);
    assert_eq!(verdict["instances"][0]["delivered"], 530);
    assert_eq!(verdict["instances"][0]["records"], 530);
    // The same reports once more, as after a lost acknowledgement: they count once.
    for stored in read(kafka(), &reports) {
        write_again(&reports, &stored);
    }
    let (code, verdict) = self::audit(&topic, &["--reports-topic", &reports]);
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(verdict["reports"], 12);
}

fn topic_of_reports() -> String {
    topic(kafka(), "audit-reports", 1, &[FOR_EVER])
}

/// A broker that is away at the close: the reports are not in the topic, and are not lost.
#[test]
fn reports_that_a_close_could_not_send_are_kept() {
    let keeper = Lines::default();
    struct Keeper(Lines);
    impl ReportSink for Keeper {
        fn write(&self, report: &Arc<Report>, receipt: Receipt) {
            let mut lines = self.0.0.lock().unwrap();
            serde_json::to_writer(&mut *lines, &**report).unwrap();
            lines.push(b'\n');
            receipt.written();
        }
        fn name(&self) -> &str {
            "keeper"
        }
    }
    let audit = Arc::new(Audit::builder().sink(Keeper(keeper.clone())).build());
    let producer = bytes_builder("127.0.0.1:1")
        .audit_topic(&audit, "audit-reports")
        .layer(DefaultStack::new(Origin::new("checkout").unwrap()).with_audit(Arc::clone(&audit)))
        .build()
        .unwrap();
    for _ in 0..10 {
        let record = ProducerRecord::new("orders").value(Bytes::from_static(b"x"));
        drop(
            block_on(producer.enqueue(record), PATIENCE)
                .unwrap()
                .unwrap(),
        );
    }
    let closed = block_on(producer.close(Duration::from_millis(300)), PATIENCE).unwrap();
    assert_eq!(
        (closed.delivered, closed.not_persisted),
        (0, 10),
        "{closed}"
    );
    let lines = keeper.0.lock().unwrap().clone();
    let report: Report = serde_json::from_slice(&lines).unwrap();
    assert_eq!((report.attempted, report.not_persisted), (10, 10));
    // The topic's sink still waits for it.
    assert_eq!(audit.unwritten(), 1);
}

/// The exit code, and the findings.
fn verify(args: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args([&["audit", "--json", "--verify"], args].concat())
        .output()
        .unwrap();
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), findings)
}

#[test]
fn a_file_of_reports_is_read_and_verified() {
    let topic = topic(kafka(), "audit-file", 1, &[]);
    let name = format!("franking-audit-file-{}", std::process::id());
    let file = Reports(std::env::temp_dir().join(&name));
    let _ = std::fs::remove_file(&file.0);
    for instance in ["one", "two", "three"] {
        let lines = JsonLines::open(&file.0).unwrap();
        let audit = Arc::new(Audit::builder().instance_id(instance).sink(lines).build());
        let origin = Origin::builder()
            .service_name("checkout")
            .instance_id(instance);
        let stack = DefaultStack::new(origin.build().unwrap()).with_audit(audit);
        let producer = bytes_builder(kafka()).layer(stack).build().unwrap();
        for _ in 0..5 {
            let record = ProducerRecord::new(topic.clone()).value(Bytes::from_static(b"x"));
            block_on(producer.send(record.timestamp(1)), PATIENCE)
                .unwrap()
                .unwrap();
        }
        block_on(producer.close(PATIENCE), PATIENCE).unwrap();
        // The last handle goes with the producer, and the file is written.
    }
    let (code, verdict) = self::audit(&topic, &["--reports", file.path()]);
    assert_eq!(
        (code, &verdict["reports"]),
        (Some(0), &json!(3)),
        "{verdict}"
    );

    let (code, findings) = verify(&[file.path()]);
    assert_eq!(
        (code, &findings["lines"]),
        (Some(0), &json!(3)),
        "{findings}"
    );
    let end = findings["end"].as_str().unwrap().to_owned();
    assert_eq!(verify(&[file.path(), "--link", &end]).0, Some(0));

    let whole = std::fs::read_to_string(&file.0).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let other = |name: &str, text: String| {
        let path = std::env::temp_dir().join(format!("{}-{name}", file.path()));
        std::fs::write(&path, text).unwrap();
        Reports(path)
    };
    // One record more, one line less, the end cut off, the first file of two deleted.
    let changed = other(
        "changed",
        whole.replacen("\"delivered\":5", "\"delivered\":6", 1),
    );
    let (code, findings) = verify(&[changed.path()]);
    assert_eq!(
        (code, &findings["broken"][0]["line"]),
        (Some(3), &json!(1)),
        "{findings}"
    );
    assert_eq!(
        findings["broken"].as_array().unwrap().len(),
        1,
        "{findings}"
    );
    let garbled = other("garbled", format!("{}\nno JSON\n{}\n", lines[0], lines[2]));
    let (code, findings) = verify(&[garbled.path()]);
    assert_eq!(
        (code, findings["broken"].as_array().unwrap().len()),
        (Some(3), 1),
        "{findings}"
    );
    let removed = other("removed", format!("{}\n{}\n", lines[0], lines[2]));
    let (code, findings) = verify(&[removed.path()]);
    assert_eq!(
        (code, &findings["broken"][0]["line"]),
        (Some(3), &json!(2)),
        "{findings}"
    );
    let cut = other("cut", format!("{}\n{}\n", lines[0], lines[1]));
    assert_eq!(verify(&[cut.path()]).0, Some(0));
    let (code, findings) = verify(&[cut.path(), "--link", &end]);
    assert_eq!(
        (code, &findings["absent"]),
        (Some(3), &json!([end])),
        "{findings}"
    );
    let later = other("later", format!("{}\n", lines[2]));
    assert_eq!(verify(&[later.path()]).0, Some(3));
    assert_eq!(verify(&[cut.path(), later.path()]).0, Some(0));
    assert_eq!(verify(&[later.path(), cut.path()]).0, Some(3));
    let middle = verify(&[cut.path()]).1["end"].as_str().unwrap().to_owned();
    let (code, findings) = verify(&[later.path(), "--link", &middle]);
    assert_eq!(
        (code, &findings["after"]),
        (Some(0), &json!(2)),
        "{findings}"
    );
}

#[test]
fn a_signal_ends_it_and_it_tells_what_it_has_read() {
    let topic = topic(kafka(), "audit-signal", 1, &[]);
    // A batch each, and fetched one by one, so that it is not at the end before the signal comes.
    let plain = bytes_builder(kafka())
        .property("batch.size", "1")
        .build()
        .unwrap();
    for _ in 0..5_000 {
        let record = ProducerRecord::new(topic.clone()).value(Bytes::from_static(b"x"));
        drop(block_on(plain.enqueue(record), PATIENCE).unwrap().unwrap());
    }
    block_on(plain.close(PATIENCE), PATIENCE).unwrap();
    let running = Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(["audit", "-b", kafka(), &topic, "--json"])
        .args(["-X", "max.partition.fetch.bytes=1"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = running.wait_with_output().unwrap();
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{verdict}");
    assert_eq!(verdict["complete"], false, "{verdict}");
    assert!(verdict["records"].as_u64() < Some(5_000), "{verdict}");
}

/// Nobody closes it: the reports go with the last handle, and the engine ends behind them.
#[test]
fn a_producer_that_is_dropped_reports_too() {
    let topic = topic(kafka(), "audit-dropped", 1, &[]);
    let reports = topic_of_reports();
    let stack = DefaultStack::new(Origin::new("checkout").unwrap());
    let producer = bytes_builder(kafka())
        .audit_topic(stack.audit(), reports.clone())
        .layer(stack)
        .build()
        .unwrap();
    for _ in 0..100 {
        let record = ProducerRecord::new(topic.clone()).value(Bytes::from_static(b"x"));
        drop(
            block_on(producer.enqueue(record), PATIENCE)
                .unwrap()
                .unwrap(),
        );
    }
    let in_flight = producer.room().outstanding();
    drop(producer);
    assert!(in_flight > 0, "they were in flight");
    let told = || -> Vec<_> { read(kafka(), &reports).iter().map(reported).collect() };
    let delivered = |told: &[Report]| -> u64 { told.iter().map(|r| r.delivered).sum() };
    assert!(eventually(|| delivered(&told()) >= 100));
    let told = told();
    let delivered = delivered(&told);
    println!(
        "{in_flight} in flight at the drop; {} reports of {delivered} records",
        told.len()
    );
    assert_eq!(delivered, 100, "{told:?}");
}

//! `franking audit` as its users run it, on a real broker: what is lost, doubled or late is found, and nothing else.

#![cfg(feature = "cli")]

mod support;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use franking::middleware::audit::Audit;
use franking::middleware::origin::Origin;
use franking::testing::block_on;
use franking::{Code, DefaultStack, Producer, ProducerRecord};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use support::{Stored, bytes_builder, kafka, read, topic};

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

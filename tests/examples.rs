//! The examples, run as a reader would run them, against a real Kafka.
//!
//! `cargo test` builds them with the tests; `cargo test --test examples` alone does not, so put `cargo build --examples`
//! before it.

mod support;

use std::{path::PathBuf, process::Command};

/// Runs an example that cargo built beside this test, and gives what it printed.
fn run(example: &str) -> String {
    run_with(example, &[])
}

/// The same, with further arguments behind the bootstrap servers.
fn run_with(example: &str, args: &[&str]) -> String {
    let test = std::env::current_exe().unwrap();
    let target: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().into();
    let output = Command::new(target.join("examples").join(example))
        .arg(support::kafka())
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{example}: {error}"));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{example}: {stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

#[test]
fn first_producer() {
    let printed = run("first_producer");
    for line in [
        "sent: orders",
        "queued: Some(",
        "called back: partition",
        "closed: ",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    // What was outstanding at the end was delivered.
    assert!(printed.contains("0 not persisted, 0 unknown"), "{printed}");
}

#[test]
fn own_interceptor() {
    let printed = run("own_interceptor");
    assert!(
        printed.contains("older than this topic accepts"),
        "{printed}"
    );
    assert!(printed.contains("delivered: 1"), "{printed}");
}

#[test]
fn tower_layer() {
    let printed = run("tower_layer");
    assert!(printed.contains("sent: partition"), "{printed}");
}

#[test]
fn partitioners() {
    let mut all = String::new();
    // Twelve partitions; a busy machine sends in larger bursts, so one of three will do.
    let seen = (0..3).any(|_| {
        let printed = run("partitioners");
        let batch = |name: &str| -> f64 {
            let line = printed.lines().find(|line| line.contains(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        all += &printed;
        batch("murmur2_random") > 3.0 * batch("round_robin")
    });
    assert!(seen, "{all}");
}

#[test]
fn with_and_without() {
    let printed = run("with_and_without");
    let (without, with) = printed.split_once("with it:").unwrap();
    assert!(without.contains("no headers"), "{printed}");
    for header in [
        "prov-id: ",
        "prov-origin: service.name=greeter",
        "prov-seq: 1",
        "1 attempted, 1 delivered",
    ] {
        assert!(with.contains(header), "{printed}");
    }
}

#[test]
fn own_serializer() {
    let printed = run("own_serializer");
    for line in [
        "sent: partition",
        "refused: topic \"bills\": SERIALIZATION",
        "because: tables count from 1",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let stored = support::read(support::kafka(), "bills");
    assert_eq!(stored[0].value.as_deref(), Some(&b"12.50"[..]));
    let currency = ("currency".to_owned(), Some(b"EUR".to_vec()));
    assert_eq!(stored[0].headers, [currency]);
}

#[test]
fn avro() {
    let double = support::RegistryDouble::start();
    let printed = run_with("avro", &[&double.url()]);
    // The id's five bytes, a length and "north", a double, the union's branch and 60 in zigzag.
    assert!(printed.contains("sent: 21 bytes to readings"), "{printed}");
    let asked = double.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/subjects/readings-value/versions");
}

#[test]
fn audit() {
    let file = std::env::temp_dir().join(format!("franking-example-{}", std::process::id()));
    let printed = run_with("audit", &[file.to_str().unwrap()]);
    assert!(
        printed.contains("attempted 100 = delivered 100 "),
        "{printed}"
    );
    assert!(printed.contains("reports that no sink has: 0"), "{printed}");
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(
        lines.starts_with(r#"{"line":1,"previous":"0000"#),
        "{lines}"
    );
    // What is in the file is in the topic too. The end of a minute may fall into it.
    let stored = support::read(support::kafka(), "audit-reports");
    let reports: Vec<_> = lines.lines().map(report).collect();
    assert!((1..=2).contains(&reports.len()), "{lines}");
    for report in reports {
        assert!(stored.iter().any(|record| {
            let value = record.value.as_deref().unwrap();
            self::report(std::str::from_utf8(value).unwrap()) == report
        }));
    }
}

fn report(json: &str) -> franking::middleware::audit::Report {
    serde_json::from_str(json).unwrap()
}

#[test]
fn user_actions() {
    let printed = run("user_actions");
    assert!(printed.contains("done, and on record"), "{printed}");
    let balance = "audit: 1001 attempted, 1001 delivered, 0 not persisted, 0 unknown";
    assert!(printed.contains(balance), "{printed}");
    let stored = support::read(support::kafka(), "user-actions");
    let last = stored
        .iter()
        .rfind(|record| record.key.as_deref() == Some(b"user-7"));
    // Behind all views of that user.
    let changed = &b"{\"action\":\"changed_password\"}"[..];
    assert_eq!(last.and_then(|last| last.value.as_deref()), Some(changed));
}

#[test]
fn app_metrics() {
    let printed = run("app_metrics");
    assert!(
        printed.contains("0 not persisted, 0 unknown, 0 dropped"),
        "{printed}"
    );
    let stored = support::read(support::kafka(), "metrics");
    assert_eq!(stored.len(), 20);
    let first = stored
        .iter()
        .find(|record| record.key.as_deref() == Some(b"cpu.utilization"));
    let value = first.and_then(|first| first.value.clone()).unwrap();
    assert_eq!(f64::from_be_bytes(value.try_into().unwrap()), 0.25);
}

#[test]
fn log_shipping() {
    let printed = run("log_shipping");
    assert!(
        printed.contains("0 not persisted, 0 unknown, 0 dropped"),
        "{printed}"
    );
    let stored = support::read(support::kafka(), "logs");
    assert_eq!(stored.len(), 101);
    let warned = r#"{"level":"WARN","target":"log_shipping","message":"few beans left=3"}"#;
    assert!(
        stored
            .iter()
            .any(|record| record.value.as_deref() == Some(warned.as_bytes()))
    );
}

#[test]
fn device_data() {
    let printed = run("device_data");
    assert!(
        printed.contains("1200 readings of 20 devices stored, 0 failed"),
        "{printed}"
    );
    let stored = support::read(support::kafka(), "device-readings");
    let ours = stored
        .iter()
        .filter(|record| record.key.as_deref() == Some(b"thermostat-3"));
    let times: Vec<_> = ours.map(|record| record.timestamp).collect();
    assert_eq!(times.len(), 60);
    assert!(times.is_sorted() && times[59] - times[0] == 59 * 60_000);
}

#[test]
fn request_reply() {
    let printed = run("request_reply");
    assert!(
        printed.contains("tea: 300 cents\nespresso: 800 cents"),
        "{printed}"
    );
}

#[test]
fn before_a_database() {
    let printed = run("before_a_database");
    assert!(
        printed.contains("applied 4 changes, and 0 when they were read again"),
        "{printed}"
    );
    assert!(
        printed.contains("espresso: 38 kg") && !printed.contains("tea:"),
        "{printed}"
    );
}

#[test]
fn forwarding() {
    let printed = run("forwarding");
    let lines: Vec<_> = printed.lines().collect();
    let [order, id, copy, same, hop, invoice, new, first, second] = &*lines else {
        panic!("{printed}")
    };
    assert_eq!(*order, "forwarding.orders: two cups");
    assert_eq!(*copy, "forwarding.orders.eu: two cups");
    assert_eq!(id, same, "who wrote it, and which record it is");
    assert!(id.ends_with(", written by checkout"), "{printed}");
    assert!(
        hop.contains("by mirror, from forwarding.orders-"),
        "{printed}"
    );
    assert_eq!(*invoice, "forwarding.invoices: 5.80");
    assert!(new.ends_with(", written by billing"), "{printed}");
    assert_eq!(hop, first);
    assert!(
        second.contains("by billing, from forwarding.orders.eu-"),
        "{printed}"
    );
}

#[test]
fn cloud_events() {
    let printed = run("cloud_events");
    for line in [
        "ce_specversion: 1.0",
        "ce_type: com.example.order.placed",
        "ce_source: //shop/checkout",
        "content-type: application/json",
        r#"{"cups":2}"#,
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    };
    assert_eq!(value("ce_id: "), value("prov-id: "));
}

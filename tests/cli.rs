//! The `franking` program as its users run it.

#![cfg(feature = "cli")]

mod support;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

fn franking(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_franking"))
        .args(args)
        .output()
        .expect("the program starts")
}

/// Its stdout; panics with its stderr if it failed.
fn succeeds(args: &[&str]) -> String {
    let output = franking(args);
    assert!(
        output.status.success(),
        "franking {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_teaches_by_examples() {
    for args in [
        &["--help"][..],
        &["demo", "--help"],
        &["send", "--help"],
        &["stack", "--help"],
        &["tail", "--help"],
        &["audit", "--help"],
        &["bench", "--help"],
    ] {
        let help = succeeds(args);
        assert!(help.contains("Examples:"), "{args:?}: {help}");
        assert!(help.contains("franking "), "{args:?}: {help}");
    }
}

#[test]
fn stack_prints_the_five_layers_in_their_order() {
    let layers = ["trace", "origin", "audit", "metrics", "retry"];
    let text = succeeds(&["stack"]);
    let places = layers.map(|layer| text.find(&format!("▼ {layer} ")).expect(&text));
    assert!(places.is_sorted(), "{text}");
    assert!(!text.contains('\x1b'), "no colour where no terminal is");

    let json: Value = serde_json::from_str(&succeeds(&["stack", "--json"])).unwrap();
    let named: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["layer"].as_str().unwrap())
        .collect();
    assert_eq!(named, layers);
}

#[test]
fn the_demo_tells_one_story_whose_figures_agree() {
    let started = Instant::now();
    let story: Value = serde_json::from_str(&succeeds(&["demo", "--json"])).unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "{story}");
    assert_eq!(story["ok"], true, "{story}");

    // The faults happened.
    assert!(story["cut"]["connections"].as_u64() > Some(0), "{story}");
    assert!(
        story["cut"]["records_in_flight"].as_u64() > Some(0),
        "{story}"
    );
    assert_eq!(story["refused"]["code"], "RECORD_TOO_LARGE");
    assert_eq!(story["refused"]["given_back"], true);
    assert_eq!(story["retried"]["attempts"], 2);

    // The applications, the audits, and the consumer count the same.
    for (n, topic) in ["orders", "payments"].into_iter().enumerate() {
        let balance = &story["audit"][n];
        let count = |name: &str| balance[name].as_u64().unwrap_or_else(|| panic!("{story}"));
        assert_eq!(balance["topic"], topic);
        assert_eq!(
            count("attempted"),
            count("delivered") + count("not_persisted") + count("unknown") + count("in_flight"),
            "{story}"
        );
        assert_eq!(count("read_back"), count("delivered"), "{story}");
        assert_eq!(story[topic]["delivered"], balance["delivered"], "{story}");

        let learned = &story["learned"][n];
        assert_eq!(learned["topic"], topic);
        assert_eq!(learned["records"], balance["delivered"], "{story}");
        assert_eq!(
            learned["missing"].as_array().map(Vec::len),
            Some(count("not_persisted") as usize),
            "{story}"
        );
    }
    assert_eq!(story["orders"]["delivered"], story["payments"]["delivered"]);
    assert_eq!(story["traces"]["continued"], story["payments"]["delivered"]);
}

#[test]
fn the_demo_is_short_and_plain_where_no_terminal_is() {
    let text = succeeds(&["demo"]);
    assert!(text.contains("All of it agrees"), "{text}");
    assert!(text.lines().count() < 60, "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn the_bench_delivers_every_record_with_each_client_and_stack() {
    for (client, stack, more) in [
        ("rdkafka", "none", &[][..]),
        ("rdkafka", "headers", &[]),
        ("rdkafka", "full", &[]),
        ("rdkafka", "full", &["--sampled", "0.5"]),
        ("future-producer", "none", &[]),
        ("future-producer", "headers", &[]),
    ] {
        let run = format!("{client} {stack} {more:?}");
        let mut args = vec![
            "bench",
            "--topic",
            "cli-bench",
            "--records",
            "20000",
            "--json",
        ];
        args.extend(["--bootstrap", support::kafka(), "--client", client]);
        args.extend(["--stack", stack]);
        args.extend(more);
        let stdout = succeeds(&args);
        let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert_eq!(report["client"], client, "{run}: {report}");
        assert_eq!(report["stack"], stack, "{run}: {report}");
        assert_eq!(report["records"], 20_000, "{run}: {report}");
        assert_eq!(report["delivered"], 20_000, "{run}: {report}");
        assert_eq!(report["failed"], 0, "{run}: {report}");
        for figure in ["wall_s", "records_per_s", "cpu_ns_per_record"] {
            assert!(report[figure].as_f64() > Some(0.0), "{run}: {report}");
        }
        let ack = &report["ack_ms"];
        assert!(ack["p50"].as_f64() > Some(0.0), "{run}: {report}");
        assert!(
            ack["p99"].as_f64() >= ack["p50"].as_f64(),
            "{run}: {report}"
        );
    }
}

#[test]
fn the_bench_says_what_is_wrong() {
    let fails = |args: &[&str]| {
        let output = franking(&[&["bench", "--bootstrap", "127.0.0.1:1"], args].concat());
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let nobody = fails(&[]);
    assert!(
        nobody.contains("no broker answers at 127.0.0.1:1"),
        "{nobody}"
    );
    let both = fails(&["--client", "future-producer", "--stack", "full"]);
    assert!(both.contains("--stack headers"), "{both}");
    let spans = fails(&["--sampled", "0.1"]);
    assert!(spans.contains("--stack full"), "{spans}");
}

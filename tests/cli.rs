//! The `franking` program as its users run it.

#![cfg(feature = "cli")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
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
        &["completions", "--help"],
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
    let too_long = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!(too_long, None, "a terminal of 80 columns");
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

/// A file that is there as long as its test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("franking-cli-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn shells_complete_it() {
    let script = succeeds(&["completions", "bash"]);
    let file = Temporary::new("completions", &script);
    // As bash calls it when somebody presses the tab key.
    let completed = |words: &str| {
        let asked = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _franking franking \"${{COMP_WORDS[$COMP_CWORD]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.path()
        );
        let output = Command::new("bash").args(["-c", &asked]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(completed("franking aud"), "audit\n");
    assert_eq!(completed("franking audit --verif"), "--verify\n");
    assert_eq!(completed("franking completions f"), "fish\n");
    for shell in ["zsh", "fish"] {
        let script = succeeds(&["completions", shell]);
        for word in ["send", "tail", "audit", "bootstrap"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(franking(&["completions", "dish"]).status.code(), Some(2));
}

#[test]
fn the_cluster_can_be_said_by_the_environment_and_a_file() {
    let topic = support::topic(support::kafka(), "cli-environment", 1, &[]);
    let cluster = Temporary::new(
        "cluster",
        &format!("bootstrap.servers={}", support::kafka()),
    );
    let nowhere = Temporary::new("nowhere", "bootstrap.servers=127.0.0.1:1");
    let tail = |more: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_franking"))
            .args(["tail", &topic, "--from", "beginning", "--exit"])
            .args(more)
            .env_remove("KAFKA_BOOTSTRAP_SERVERS")
            .env_remove("FRANKING_CONFIG")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (kafka, cluster, nowhere) = (support::kafka(), cluster.path(), nowhere.path());
    let given: [(&[&str], &[_]); 8] = [
        (&[], &[("KAFKA_BOOTSTRAP_SERVERS", kafka)]),
        (&[], &[("FRANKING_CONFIG", cluster)]),
        (&["-F", cluster], &[]),
        (&["--command-config", cluster], &[]),
        (&["--bootstrap-server", kafka], &[]),
        // The nearer word counts.
        (&["-c", cluster], &[("FRANKING_CONFIG", nowhere)]),
        (
            &["-c", cluster],
            &[("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")],
        ),
        (&["-b", kafka], &[("FRANKING_CONFIG", nowhere)]),
    ];
    for (more, variables) in given {
        let (code, said) = tail(more, variables);
        assert_eq!(code, Some(0), "{more:?} {variables:?}: {said}");
        assert!(said.contains("0 read"), "{said}");
    }
    let (code, said) = tail(&[], &[("KAFKA_BOOTSTRAP_SERVERS", "")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("KAFKA_BOOTSTRAP_SERVERS"), "{said}");
    let (code, said) = tail(&[], &[("FRANKING_CONFIG", "/nowhere/at.all")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("/nowhere/at.all"), "{said}");
}

#[test]
fn no_command_shows_a_secret() {
    let file = Temporary::new(
        "secrets",
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"hushed-user\" password=\"hushed-word\";\n",
    );
    let lines = Temporary::new("lines", "a line\n");
    for command in [
        &["send", "-t", "orders", lines.path()][..],
        &["tail", "orders"],
        &["audit", "orders"],
        &["bench", "--topic", "orders"],
    ] {
        for wrong in [
            "ssl.key.password",
            "sasl.password=hushed\nword",
            "sasl.oauthbearer.client.secrt=hushed-word",
            "ssl.keystore.password=hushed-word",
        ] {
            let shared = ["-b", "127.0.0.1:1", "-F", file.path(), "-X", wrong];
            let output = franking(&[command, &shared].concat());
            let mut said = String::from_utf8(output.stderr).unwrap();
            said += &String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?} {wrong}: {said}");
            assert!(!said.contains("hushed"), "{command:?} {wrong}: {said}");
        }
    }
}

/// Nobody reads what it prints: that is no failure of its.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let topic = support::topic(support::kafka(), "cli-pipe", 1, &[]);
    let lines = Temporary::new("pipe", &"line\n".repeat(100));
    let path = lines.path();
    let kafka = ["-b", support::kafka()];
    succeeds(&[&["send", "-t", &topic, path][..], &kafka].concat());
    for args in [
        &["--help"][..],
        &["stack"],
        &["stack", "--json"],
        &["completions", "bash"],
        &["demo"],
        &["demo", "--json"],
        &["send", "-t", &topic, "--json", path],
        &["tail", &topic, "--from", "beginning"],
        &["tail", &topic, "--from", "beginning", "--json"],
        &["audit", &topic],
        &["audit", &topic, "--json"],
        &["bench", "--topic", &topic, "--records", "10"],
    ] {
        let mut args = args.to_vec();
        if !matches!(args[0], "--help" | "stack" | "completions" | "demo") {
            args.extend(kafka);
        }
        let mut running = Command::new(env!("CARGO_BIN_EXE_franking"))
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(running.stdout.take());
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains("error"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn a_signal_ends_the_bench_and_it_tells_what_it_sent() {
    for client in ["rdkafka", "future-producer"] {
        let running = Command::new(env!("CARGO_BIN_EXE_franking"))
            .args(["bench", "--topic", "cli-bench-signal", "--json"])
            .args(["--records", "1000000000", "--value-bytes", "1"])
            .args(["-b", support::kafka(), "--client", client])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(3));
        let id = running.id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(killed.success());
        let output = running.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(130), "{report}");
        assert!(report["delivered"].as_u64() > Some(0), "{report}");
        assert_eq!(report["failed"], 0, "{report}");
        assert_eq!(report["records"], report["delivered"], "{report}");
    }
}

//! Java programs that use Kafka's own classes.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{iter, thread};

/// Runs `tests/support/java/NAME.java` with Kafka's jars, and gives what it printed. Panics if it fails.
pub fn java(name: &str, args: &[&str], stdin: String) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let jars = Command::new(root.join("scripts/kafka"))
        .arg("jars")
        .output();
    let jars = jars.expect("scripts/kafka runs");
    let said = String::from_utf8_lossy(&jars.stderr);
    assert!(jars.status.success(), "scripts/kafka jars: {said}");

    let program = root.join(format!("tests/support/java/{name}.java"));
    let options = [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xmx256m",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        "target/kafka/jars/*",
    ];
    let mut running = Command::new("java")
        .current_dir(root)
        .args(options)
        .args(iter::once(program.as_os_str()).chain(args.iter().map(OsStr::new)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Java is installed");
    let mut input = running.stdin.take().unwrap();
    // Beside it, so that neither side waits for the other with its pipe full.
    let writing = thread::spawn(move || input.write_all(stdin.as_bytes()));
    let output = running.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    writing
        .join()
        .unwrap()
        .expect("the program reads its input");
    String::from_utf8(output.stdout).expect("UTF-8")
}

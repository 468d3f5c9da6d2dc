//! A real Kafka for tests, started by `scripts/kafka`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Bootstrap servers of the Kafka that all tests of this process share.
///
/// That is `KAFKA_BOOTSTRAP` if it is set, else a single broker that starts with
/// the first call and ends with the process. Panics if it cannot be started.
pub fn kafka() -> &'static str {
    // A failure is kept as well, so that not every test waits for the same one.
    static SHARED: OnceLock<Result<String, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP") {
        Ok(bootstrap) if !bootstrap.is_empty() => Ok(bootstrap),
        _ => try_start(1, &[]).map(|cluster| {
            // Statics are never dropped; the script's watcher stops this cluster.
            let cluster = std::mem::ManuallyDrop::new(cluster);
            cluster.bootstrap.clone()
        }),
    });
    match shared {
        Ok(bootstrap) => bootstrap,
        Err(error) => panic!("{error}"),
    }
}

/// A cluster that belongs to one test. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: String,
    dir: PathBuf,
}

impl Cluster {
    /// Starts a cluster of 1 or 3 brokers, numbered from 1, with further broker
    /// properties, and waits until all of them answer. Panics if it cannot.
    pub fn start(brokers: u8, settings: &[(&str, &str)]) -> Self {
        try_start(brokers, settings).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The bootstrap servers, broker 1 first.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Stops broker `n` in good order: it hands its leaderships over first.
    pub fn stop_node(&self, n: u8) {
        self.script("stop-node", n);
    }

    /// Kills broker `n` with SIGKILL and returns once it is gone.
    pub fn kill_node(&self, n: u8) {
        let pid = self.signal("-KILL", n);
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_running(&pid) {
            assert!(Instant::now() < deadline, "broker {n} outlived SIGKILL");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Freezes broker `n`: its connections stay open, but nothing answers.
    pub fn freeze(&self, n: u8) {
        self.signal("-STOP", n);
    }

    /// Lets a frozen broker `n` go on.
    pub fn thaw(&self, n: u8) {
        self.signal("-CONT", n);
    }

    /// Starts broker `n` again on its old port and data, and waits until it answers.
    pub fn restart_node(&self, n: u8) {
        self.script("restart-node", n);
    }

    fn script(&self, command: &str, n: u8) {
        let n = n.to_string();
        let args = [
            command.as_ref(),
            "--dir".as_ref(),
            self.dir.as_os_str(),
            n.as_ref(),
        ];
        if let Err(error) = run_script(&args) {
            panic!("{error}");
        }
    }

    /// Sends a signal to broker `n` and returns its pid.
    fn signal(&self, signal: &str, n: u8) -> String {
        let file = self.dir.join(format!("node-{n}")).join("pid");
        let pid = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("no pid in {}: {error}", file.display()))
            .trim()
            .to_owned();
        // A stopped broker's pid may belong to another process by now.
        assert!(is_running(&pid), "broker {n} does not run");
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "kill {signal} of broker {n}: {status:?}"
        );
        pid
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = run_script(&["stop".as_ref(), "--dir".as_ref(), self.dir.as_os_str()]);
        if let Err(error) = stopped {
            // A panic here would hide the test's own; the watcher tries again anyway.
            eprintln!("{error}");
        }
    }
}

fn try_start(brokers: u8, settings: &[(&str, &str)]) -> Result<Cluster, String> {
    let mut args = vec![
        "start".to_owned(),
        "--brokers".to_owned(),
        brokers.to_string(),
        "--watch".to_owned(),
        std::process::id().to_string(),
    ];
    for (key, value) in settings {
        args.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let stdout = run_script(&args)?;
    let value = |key: &str| {
        stdout
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .ok_or_else(|| format!("scripts/kafka start printed no {key}: {stdout}"))
    };
    Ok(Cluster {
        bootstrap: value("bootstrap")?.to_owned(),
        dir: value("dir")?.into(),
    })
}

/// Runs `scripts/kafka` and returns its stdout, or a message with its stderr.
fn run_script(args: &[&OsStr]) -> Result<String, String> {
    // The tests of a member crate find the script further up.
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("scripts/kafka"))
        .find(|script| script.is_file())
        .ok_or("there is no scripts/kafka above this crate")?;
    let output = Command::new(&script)
        .args(args)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "scripts/kafka {args:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Whether a process lives. One that is dead but not yet reaped does not.
fn is_running(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name in brackets may hold spaces, so count fields after it.
    let fields: Vec<&str> = stat
        .rsplit_once(") ")
        .map_or(vec![], |(_, rest)| rest.split(' ').collect());
    let threads = fields.get(17).and_then(|n| n.parse().ok()).unwrap_or(0);
    // A first thread that ended early does not end the process.
    !matches!(fields.first(), Some(&"Z" | &"X") | None) || threads > 1
}

//! A real Kafka for tests, started by `scripts/kafka`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::Proxy;

/// For a broker that is alone and is not restarted: it stays a member of its cluster if it, or the machine, stands still
/// for up to a minute.
///
/// With a shorter session its controller fences it for a moment when it goes on. Until it is a member again, no topic
/// can be made, and a client that asks then where the controller is hears that there is none and does not ask again.
/// Who is killed would have to wait for the end of the session to come back.
pub const STAYS: (&str, &str) = ("broker.session.timeout.ms", "60000");

/// Bootstrap servers of the Kafka that all tests of this process share.
///
/// That is `KAFKA_BOOTSTRAP` if it is set, else a single broker that starts with
/// the first call and ends with the process. Panics if it cannot be started.
pub fn kafka() -> &'static str {
    // A failure is kept as well, so that not every test waits for the same one.
    static SHARED: OnceLock<Result<String, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP") {
        Ok(bootstrap) if !bootstrap.is_empty() => Ok(bootstrap),
        _ => try_start(1, &[STAYS], &[], None, vec![]).map(|cluster| {
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
pub struct Cluster {
    bootstrap: String,
    direct: String,
    dir: PathBuf,
    /// Where its further listeners are, by name.
    listeners: HashMap<String, String>,
    proxies: Vec<Proxy>,
    /// Brokers that do not run just now.
    ailing: Mutex<HashMap<u8, Ailment>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ailment {
    Frozen,
    Down,
}

impl Cluster {
    /// Starts a cluster of 1 or 3 brokers, numbered from 1, with further broker
    /// properties, and waits until all of them answer. Panics if it cannot.
    pub fn start(brokers: u8, settings: &[(&str, &str)]) -> Self {
        try_start(brokers, settings, &[], None, vec![]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// One broker with further listeners, each a name and a security protocol, beside its plain one. `dir` is new, but for
    /// a folder `files` with what the listeners need. It goes away with the cluster.
    pub fn with_listeners(
        listeners: &[(&str, &str)],
        settings: &[(&str, &str)],
        dir: &Path,
    ) -> Self {
        try_start(1, settings, listeners, Some(dir), vec![])
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// So many brokers with one more listener each, beside the plain one.
    pub fn with_listener(brokers: u8, listener: (&str, &str), settings: &[(&str, &str)]) -> Self {
        try_start(brokers, settings, &[listener], None, vec![])
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Gives broker `n` another property, and restarts it.
    pub fn reconfigure(&self, n: u8, name: &str, value: &str) {
        let file = self.dir.join(format!("node-{n}/server.properties"));
        let mut text = std::fs::read_to_string(&file).unwrap();
        // The last one of a name counts.
        text += &format!("\n{name}={value}\n");
        std::fs::write(&file, text).unwrap();
        self.restart_node(n);
    }

    /// As [`start`](Self::start), with a proxy in front of each broker.
    pub fn behind_proxies(brokers: u8, settings: &[(&str, &str)]) -> Self {
        let proxies = (0..brokers).map(|_| Proxy::new()).collect();
        try_start(brokers, settings, &[], None, proxies).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The bootstrap servers, broker 1 first: the proxies, if there are any.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The bootstrap servers past the proxies, where no fault of theirs is seen.
    pub fn direct(&self) -> &str {
        &self.direct
    }

    /// Where this further listener is.
    pub fn listener(&self, name: &str) -> &str {
        &self.listeners[name]
    }

    /// The proxy in front of broker `n`.
    pub fn proxy(&self, n: u8) -> &Proxy {
        &self.proxies[usize::from(n) - 1]
    }

    /// All proxies, that of broker 1 first.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// What the cluster's folder takes of the disk.
    pub fn bytes(&self) -> u64 {
        fn of(path: &Path) -> u64 {
            // Files go away meanwhile.
            let Ok(entries) = std::fs::read_dir(path) else {
                return std::fs::metadata(path).map_or(0, |file| file.blocks() * 512);
            };
            entries.flatten().map(|entry| of(&entry.path())).sum()
        }
        of(&self.dir)
    }

    /// Stops broker `n` in good order: it hands its leaderships over first.
    pub fn stop_node(&self, n: u8) {
        self.script("stop-node", n);
        self.ails(n, Some(Ailment::Down));
    }

    /// Kills broker `n` with SIGKILL and returns once it is gone.
    pub fn kill_node(&self, n: u8) {
        self.script("kill-node", n);
        self.ails(n, Some(Ailment::Down));
    }

    /// Freezes broker `n`: its connections stay open, but nothing answers.
    pub fn freeze(&self, n: u8) {
        self.script("freeze-node", n);
        self.ails(n, Some(Ailment::Frozen));
    }

    /// Lets a frozen broker `n` go on.
    pub fn thaw(&self, n: u8) {
        self.script("thaw-node", n);
        self.ails(n, None);
    }

    /// Starts broker `n` again on its old port and data, and waits until it answers.
    pub fn restart_node(&self, n: u8) {
        self.script("restart-node", n);
        self.ails(n, None);
    }

    /// Ends every fault: all brokers run again, and all proxies forward.
    pub fn heal(&self) {
        self.proxies.iter().for_each(Proxy::heal);
        let ailing = self.ailing.lock().unwrap().clone();
        for (n, ailment) in ailing {
            match ailment {
                Ailment::Frozen => self.thaw(n),
                Ailment::Down => self.restart_node(n),
            }
        }
    }

    fn ails(&self, n: u8, ailment: Option<Ailment>) {
        let mut ailing = self.ailing.lock().unwrap();
        match ailment {
            Some(ailment) => ailing.insert(n, ailment),
            None => ailing.remove(&n),
        };
    }

    /// Makes the first of these brokers the leader of this partition, and all of them its replicas. All run meanwhile.
    pub fn move_leader(&self, topic: &str, partition: usize, replicas: &[u8]) {
        let text = format!(
            r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":{partition},"replicas":{replicas:?}}}]}}"#
        );
        let file = self.dir.join("tmp/reassignment.json");
        std::fs::write(&file, text).unwrap();
        self.tool(
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            &[
                "--execute".as_ref(),
                "--reassignment-json-file".as_ref(),
                file.as_os_str(),
            ],
        );
        // The first replica is the preferred leader.
        self.tool(
            "org.apache.kafka.tools.LeaderElectionCommand",
            &[
                "--election-type".as_ref(),
                "preferred".as_ref(),
                "--topic".as_ref(),
                topic.as_ref(),
                "--partition".as_ref(),
                partition.to_string().as_ref(),
            ],
        );
    }

    /// Runs one of Kafka's own tools on this cluster.
    pub fn tool(&self, class: &str, args: &[&OsStr]) {
        let to = ["tool", class, "--bootstrap-server", &self.direct].map(AsRef::as_ref);
        if let Err(error) = run_script(&[&to, args].concat()) {
            panic!("{error}");
        }
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

fn try_start(
    brokers: u8,
    settings: &[(&str, &str)],
    listeners: &[(&str, &str)],
    dir: Option<&Path>,
    proxies: Vec<Proxy>,
) -> Result<Cluster, String> {
    let mut args = vec![
        "start".to_owned(),
        "--brokers".to_owned(),
        brokers.to_string(),
        "--watch".to_owned(),
        std::process::id().to_string(),
    ];
    if !proxies.is_empty() {
        let ports: Vec<_> = proxies.iter().map(|p| p.port().to_string()).collect();
        args.extend(["--advertise".to_owned(), ports.join(",")]);
    }
    if let Some(dir) = dir {
        args.extend(["--dir".to_owned(), dir.to_string_lossy().into_owned()]);
    }
    for (name, protocol) in listeners {
        args.extend(["--listener".to_owned(), format!("{name}={protocol}")]);
    }
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
    let bootstrap = value("bootstrap")?.to_owned();
    let mut direct = bootstrap.clone();
    if !proxies.is_empty() {
        direct = value("direct")?.to_owned();
        for (proxy, broker) in proxies.iter().zip(value("behind")?.split(',')) {
            let broker = broker.parse();
            proxy.forward_to(broker.map_err(|error| format!("{error}: {stdout}"))?);
        }
    }
    let listeners = listeners
        .iter()
        .map(|(name, _)| Ok(((*name).to_owned(), value(name)?.to_owned())))
        .collect::<Result<_, String>>()?;
    Ok(Cluster {
        bootstrap,
        direct,
        listeners,
        dir: value("dir")?.into(),
        proxies,
        ailing: Mutex::default(),
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

//! A running `franking send`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running `franking send --json`. It is killed if its test fails.
pub struct Program {
    process: Child,
    input: Option<ChildStdin>,
    /// What it writes to stderr, line by line.
    says: mpsc::Receiver<String>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// What it printed.
    pub summary: Value,
    /// What it wrote to stderr.
    pub said: String,
}

impl Program {
    pub fn start(bootstrap: &str, topic: &str, more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_franking"))
            .args(["send", "--json", "--bootstrap", bootstrap, "--topic", topic])
            .args(more)
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (line, says) = mpsc::channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        thread::spawn(move || {
            for text in stderr.lines() {
                // Nobody may be listening any more.
                let _ = line.send(text.unwrap());
            }
        });
        Self {
            input: process.stdin.take(),
            process,
            says,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn write(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    /// Its input, to be written and ended by somebody else.
    pub fn take_input(&mut self) -> ChildStdin {
        self.input.take().unwrap()
    }

    /// Waits until it says something with this in it.
    pub fn says(&self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.says.recv_timeout(left) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => said += &format!("\n{line}"),
                Err(_) => panic!("it never said {what:?}, but:{said}"),
            }
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Ends its input, and waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.input.take());
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + 2 * PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(1));
        };
        let mut stdout = String::new();
        let pipe = self.process.stdout.as_mut().unwrap();
        pipe.read_to_string(&mut stdout).unwrap();
        let said: Vec<String> = self.says.iter().collect();
        Ended {
            code: status.code(),
            summary: serde_json::from_str(&stdout).unwrap_or(Value::Null),
            said: said.join("\n"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Ended {
    pub fn count(&self, name: &str) -> u64 {
        let count = self.summary[name].as_u64();
        count.unwrap_or_else(|| panic!("{name}: {self:?}"))
    }

    /// Delivered, not persisted, unknown. Their sum is what was accepted.
    pub fn outcomes(&self) -> [u64; 3] {
        let outcomes = ["delivered", "not_persisted", "unknown"].map(|name| self.count(name));
        let sum: u64 = outcomes.iter().sum();
        assert_eq!(self.count("accepted"), sum, "{self:?}");
        outcomes
    }
}

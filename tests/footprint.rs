//! What producers leave behind in a process: no memory, no threads, no file descriptors. One test in a process of its own.

mod support;

use std::sync::Arc;
use std::time::Instant;

use support::{Counter, builder, eventually, kafka, record, stack, topic};

const PRODUCERS: u64 = 20;
const RECORDS: u64 = 5_000;

/// What the process has.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    resident_kib: u64,
    threads: u64,
    files: u64,
}

impl Footprint {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.unwrap().split_whitespace().next().unwrap();
            number.parse().unwrap()
        };
        Self {
            resident_kib: field("VmRSS:"),
            threads: field("Threads:"),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count() as u64,
        }
    }

    fn figures(self) -> [u64; 3] {
        [self.resident_kib, self.threads, self.files]
    }
}

/// Builds the producers, sends with each, and drops each with its records in flight. One after the other: the memory that
/// many have at once stays with glibc's allocator for a while, and would hide what is lost.
fn round(topic: &str) -> Footprint {
    let counter = Counter::new();
    let mut in_flight = 0;
    for _ in 0..PRODUCERS {
        let producer = builder(kafka())
            .layer(counter.layer())
            .layer(stack())
            .build()
            .unwrap();
        let room = Arc::clone(producer.room());
        for n in 0..RECORDS {
            let record = record(topic, "v".repeat(100)).key(n.to_string());
            drop(producer.try_send(record).unwrap());
        }
        in_flight += room.outstanding() as u64;
        drop(producer);
        settled();
    }
    // Otherwise nothing was dropped but idle producers.
    assert!(in_flight > PRODUCERS * RECORDS / 2, "{in_flight}");
    assert!(
        eventually(|| counter.counts().ended.delivered == PRODUCERS * RECORDS),
        "{:?}",
        counter.counts()
    );
    Footprint::now()
}

/// Once all threads of producers are gone.
fn settled() -> Footprint {
    let named = |start: &str| {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .any(|name| name.starts_with(start))
    };
    assert!(eventually(|| !named("franking-") && !named("rdk:")));
    Footprint::now()
}

#[test]
fn producers_that_come_and_go_leave_nothing() {
    let topic = topic(kafka(), "footprint", 4, &[]);
    let started = Instant::now();
    let before = settled();
    let first = round(&topic);
    let second = round(&topic);
    println!(
        "{PRODUCERS} producers with {RECORDS} records each, twice, in {:.1} s: {before:?}, then {first:?}, then {second:?}",
        started.elapsed().as_secs_f64()
    );
    for (first, second) in first.figures().into_iter().zip(second.figures()) {
        assert!(
            second * 10 <= first * 11,
            "{first} after the first round, {second} after the second"
        );
    }
}

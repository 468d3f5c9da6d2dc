//! What is left of producers that are gone. One test in a process of its own: it counts the process's threads.

mod support;

use std::time::Duration;

use franking::testing::block_on;
use support::{Mock, builder, eventually, record};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn producers_that_are_gone_leave_no_thread() {
    let mock = Mock::with_topic("t", 1);
    // Whatever the first one starts for good.
    drop(builder(mock.bootstrap()).build().unwrap());
    assert!(eventually(
        || names("franking-").is_empty() && names("rdk:main").len() == 1
    ));
    let before = threads();
    let producers: Vec<_> = (0..20)
        .map(|i| {
            let producer = builder(mock.bootstrap()).build().unwrap();
            for _ in 0..10 {
                drop(producer.try_send(record("t", i.to_string())).unwrap());
            }
            producer
        })
        .collect();
    assert!(threads() >= before + 60, "{}", threads());
    for (i, producer) in producers.into_iter().enumerate() {
        match i % 4 {
            // Dropped with records in flight.
            0 => {}
            1 => drop(
                block_on(
                    producer.close(Duration::from_secs(30)),
                    Duration::from_secs(60),
                )
                .unwrap(),
            ),
            2 => drop(block_on(producer.close(Duration::ZERO), Duration::from_secs(60)).unwrap()),
            _ => block_on(producer.flush(), Duration::from_secs(60)).unwrap(),
        }
    }
    assert!(
        eventually(|| threads() <= before),
        "{before} before, {} after: {:?}",
        threads(),
        names("")
    );
}

/// The names of threads that begin so.
fn names(start: &str) -> Vec<String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(start))
        .collect()
}

//! How much memory a full buffer takes (row 9). A binary of its own: other tests would take memory meanwhile.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::{ProducerRecord, Topic};
use support::{Cluster, Full, eventually, topic};

const BUFFER: usize = 32 << 20;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Sends until the buffer is full.
fn fill(full: &Full, topic: &Topic) -> usize {
    for sent in 0.. {
        let (id, record) = full.history.record(topic, sent as u32 % 1_000);
        let history = full.history.clone();
        match full.producer.try_send(record) {
            Ok(delivery) => {
                let told = delivery.on_complete(move |result| history.hears(id, &result));
                assert!(told.is_ok());
            }
            Err(error) => {
                history.hears(id, &Err(error));
                return sent;
            }
        }
    }
    unreachable!("the buffer has an end")
}

/// Knocks in vain.
fn is_refused(full: &Full, topic: &Topic) -> bool {
    let record = ProducerRecord::new(topic.clone()).value(Bytes::from(vec![b'v'; 100]));
    full.producer.try_send(record).is_err()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn resident_memory_is_bounded_by_the_buffer() {
    let cluster = Cluster::start(1, &[]);
    let topic: Topic = topic(cluster.bootstrap(), "memory", 3, &[]).into();
    let full = Full::new(cluster.bootstrap(), &[]);
    full.history.send(&full.producer, &topic, 0).await;
    full.producer.flush().await;
    let empty = resident();
    let grown_by = || resident() - empty - full.history.bytes();

    let mut grown = vec![];
    for round in 0..3 {
        cluster.freeze(1);
        let acked = full.history.acked();
        let sent = fill(&full, &topic);
        assert!(full.producer.room().used() > BUFFER - 4096, "it is full");
        let filled = grown_by();
        // Who cannot send takes nothing.
        assert!((0..100_000).all(|_| is_refused(&full, &topic)));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let later = grown_by();
        assert_eq!(full.history.acked(), acked, "nothing left the buffer");
        println!(
            "row 9, round {round}: {sent} records fill {} MiB; {:.1} MiB more are resident, {:.1} after 100,000 refused ones",
            BUFFER >> 20,
            mebibytes(filled),
            mebibytes(later)
        );
        grown.push(later);
        cluster.thaw(1);
        let started = Instant::now();
        full.producer.flush().await;
        assert!(started.elapsed() < Duration::from_secs(60));
        assert!(eventually(|| full.producer.room().used() == 0));
    }
    println!(
        "row 9: a full buffer of {} MiB took at most {:.2} times as much, {:.1} MiB over an idle producer",
        BUFFER >> 20,
        *grown.iter().max().unwrap() as f64 / BUFFER as f64,
        mebibytes(*grown.iter().max().unwrap())
    );
    assert!(grown.iter().all(|grown| *grown < BUFFER * 2), "{grown:?}");
    // What was filled once is used again.
    assert!(grown[2] < grown[0] + grown[0] / 5, "{grown:?}");
    let copies = full.history.stored(cluster.bootstrap(), &topic);
    full.judge(&copies)
        .verdict()
        .must_hold("row 9, memory of a full buffer");
}

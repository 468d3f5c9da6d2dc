//! A buffer that is nearly always full (row 9): order through it, and how long somebody waits for it.

mod support;

use std::time::{Duration, Instant};

use franking::{Code, Topic};
use support::{Cluster, Full, kafka, runs_out, topic};

const TASKS: u32 = 8;

/// What a record of the oracle's takes of the buffer, with the stack's headers.
async fn one_record() -> usize {
    let probe = Full::new(kafka(), &[]);
    let topic = topic(kafka(), "probe", 1, &[]).into();
    probe.history.send(&probe.producer, &topic, 0).await;
    probe.producer.flush().await;
    probe.producer.room().high_water()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_through_a_buffer_of_a_hundred_records() {
    const EACH: u32 = 10_000;
    const KEYS: u32 = 10;
    let one = one_record().await;
    let capacity = 100 * one;
    let topic: Topic = topic(kafka(), "narrow", 3, &[]).into();
    let full = Full::new(kafka(), &[("buffer.memory", &capacity.to_string())]);
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (full, topic) = (full.clone(), topic.clone());
            tokio::spawn(async move {
                for n in 0..EACH {
                    let key = task * KEYS + n % KEYS;
                    full.history.send(&full.producer, &topic, key).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    full.producer.flush().await;
    let took = started.elapsed();

    let high_water = full.producer.room().high_water();
    println!(
        "row 9: {TASKS} × {EACH} records through {capacity} bytes in {took:?}, at most {high_water} in use"
    );
    assert!(high_water > capacity - one, "the buffer was never full");
    assert!(
        high_water <= capacity + TASKS as usize * one,
        "more than a record a task too much"
    );
    let copies = full.history.stored(kafka(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 9, a buffer of a hundred records");
    assert_eq!(verdict.acked, u64::from(TASKS * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_frozen_brokers_buffer_waits_max_block_and_no_longer() {
    const BLOCK: Duration = Duration::from_secs(2);
    let capacity = 100 * one_record().await;
    let cluster = Cluster::start(1, &[]);
    let topic: Topic = topic(cluster.bootstrap(), "frozen", 3, &[]).into();
    let settings = [
        ("buffer.memory", &*capacity.to_string()),
        ("max.block.ms", &BLOCK.as_millis().to_string()),
    ];
    let full = Full::new(cluster.bootstrap(), &settings);
    full.history.send(&full.producer, &topic, 0).await;
    full.producer.flush().await;
    cluster.freeze(1);
    let mut sent = 0;
    loop {
        let (id, record) = full.history.record(&topic, 0);
        match full.producer.try_send(record) {
            Ok(delivery) => {
                sent += 1;
                let history = full.history.clone();
                let told = delivery.on_complete(move |result| history.hears(id, &result));
                assert!(told.is_ok());
            }
            Err(error) => {
                full.history.hears(id, &Err(error));
                break;
            }
        }
    }
    assert!(sent >= 95, "the buffer holds {sent} records");

    let mut waits = vec![];
    // Best of three, for a machine that is busy with something else.
    for _ in 0..3 {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (full, topic) = (full.clone(), topic.clone());
                tokio::spawn(async move {
                    let (id, record) = full.history.record(&topic, task);
                    let started = Instant::now();
                    let result = full.producer.send(record).await;
                    let waited = started.elapsed();
                    full.history.hears(id, &result);
                    let error = result.unwrap_err();
                    assert_eq!(*error.code(), Code::NoRoom, "{error}");
                    assert!(error.into_record().is_some());
                    waited
                })
            })
            .collect();
        waits.clear();
        for task in tasks {
            waits.push(task.await.unwrap());
        }
        assert!(waits.iter().all(|waited| *waited >= BLOCK), "{waits:?}");
        if waits.iter().all(|waited| runs_out(BLOCK, *waited)) {
            break;
        }
    }
    assert_eq!(
        full.history.acked(),
        1,
        "nothing was acknowledged meanwhile"
    );
    println!("row 9: {sent} records fill the buffer; max.block.ms {BLOCK:?}, waited {waits:?}");
    assert!(
        waits.iter().all(|waited| runs_out(BLOCK, *waited)),
        "{waits:?}"
    );
    cluster.thaw(1);
    full.producer.flush().await;
    let copies = full.history.stored(cluster.bootstrap(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 9, a full buffer before a frozen broker");
    assert_eq!(verdict.acked, 1 + sent);
}

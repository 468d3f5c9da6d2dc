//! Where records go: given, by key as with Java, sticky, round robin, random, and by a partitioner of one's own.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use franking::serializers::StringSerializer;
use franking::{Code, Persistence, ProducerBuilder, ProducerRecord, View};
use support::{Mock, Stored, builder, java, kafka, read, record, topic};

const PARTITIONS: usize = 12;

type Builder = ProducerBuilder<String, String>;

/// Sends these and says where they are stored.
fn send(
    made: Builder,
    topic: &str,
    records: impl Iterator<Item = ProducerRecord<String, String>>,
) -> Vec<Stored> {
    let producer = made.build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sent = runtime.block_on(async {
        producer.partitions_for(topic).await.unwrap();
        let mut deliveries = vec![];
        for record in records {
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        let mut sent = 0;
        for delivery in deliveries {
            delivery.await.unwrap();
            sent += 1;
        }
        sent
    });
    let stored = read(kafka(), topic);
    assert_eq!(stored.len(), sent);
    stored
}

fn keys() -> Vec<String> {
    // Short, empty and long ones, of all lengths modulo 4, and not ASCII alone.
    let mut keys: Vec<_> = (0..9_997)
        .map(|n| format!("{}-{n}", "ключ-k".repeat(n % 5)))
        .collect();
    keys.extend(["".into(), "a".into(), "\u{1F95E}".into()]);
    keys
}

/// Where Java's own producer puts these keys.
fn with_java(topic: &str, keys: &[String]) -> Vec<Stored> {
    let lines = keys.iter().map(|key| format!("{key}\n")).collect();
    java("SendKeys", &[kafka(), topic], lines);
    read(kafka(), topic)
}

fn places(stored: &[Stored]) -> BTreeSet<(Option<&[u8]>, i32)> {
    stored
        .iter()
        .map(|record| (record.key.as_deref(), record.partition))
        .collect()
}

fn counts(stored: &[Stored]) -> Vec<usize> {
    let mut counts = vec![0; PARTITIONS];
    for record in stored {
        counts[record.partition as usize] += 1;
    }
    counts
}

#[test]
fn ten_thousand_keys_go_where_javas_producer_puts_them() {
    let keys = keys();
    let ours = topic(kafka(), "keys-ours", PARTITIONS, &[]);
    let javas = topic(kafka(), "keys-java", PARTITIONS, &[]);
    let records = keys.iter().map(|key| record(&ours, "v").key(key.clone()));
    let ours = send(builder(kafka()), &ours, records);
    let javas = with_java(&javas, &keys);
    assert_eq!(javas.len(), 10_000);
    assert_eq!(places(&ours), places(&javas));
    assert!(
        counts(&javas).iter().all(|count| *count > 500),
        "{:?}",
        counts(&javas)
    );
    for stored in &ours {
        let key = stored.key.as_deref().unwrap();
        assert_eq!(
            franking::partitioners::by_key(key, PARTITIONS as i32),
            stored.partition
        );
    }
}

#[test]
fn a_given_partition_is_kept_by_every_partitioner() {
    let name = topic(kafka(), "given", PARTITIONS, &[]);
    let records = |name: &str| {
        let name = name.to_owned();
        (0..600).map(move |n| record(&name, "v").key("k".to_owned()).partition(n % 6))
    };
    let stored = send(builder(kafka()), &name, records(&name));
    assert_eq!(counts(&stored)[..6], [100; 6]);
    let name = topic(kafka(), "given-own", PARTITIONS, &[]);
    let never = |_: &View<'_>, _: i32| -> i32 { panic!("nobody asked") };
    let stored = send(builder(kafka()).partitioner(never), &name, records(&name));
    assert_eq!(counts(&stored)[..6], [100; 6]);
}

#[test]
fn without_a_key_records_stick_to_a_partition_for_a_while() {
    let name = topic(kafka(), "sticky", PARTITIONS, &[]);
    let made = builder(kafka()).property("sticky.partitioning.linger.ms", "60000");
    let stored = send(made, &name, (0..1_000).map(|_| record(&name, "v")));
    // One before the first choice was made, at most.
    let counts = counts(&stored);
    assert!(*counts.iter().max().unwrap() >= 999, "{counts:?}");
}

#[test]
fn round_robin_spreads_evenly_with_and_without_keys() {
    for keyed in [false, true] {
        let name = topic(kafka(), "round-robin", PARTITIONS, &[]);
        let made = builder(kafka()).property("partitioner", "round_robin");
        let records = (0..1_200).map(|n| match keyed {
            true => record(&name, n.to_string()).key("the same".to_owned()),
            false => record(&name, n.to_string()),
        });
        let stored = send(made, &name, records);
        assert_eq!(counts(&stored), [100; PARTITIONS], "keyed: {keyed}");
        for stored in stored {
            let n: i32 = String::from_utf8(stored.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(n % PARTITIONS as i32, stored.partition);
        }
    }
}

#[test]
fn random_spreads_records_whatever_their_key() {
    let name = topic(kafka(), "random", PARTITIONS, &[]);
    let made = builder(kafka()).property("partitioner", "random");
    let stored = send(
        made,
        &name,
        (0..6_000).map(|_| record(&name, "v").key("the same".to_owned())),
    );
    // 500 each on average, and less than 350 once in many years of tests.
    assert!(
        counts(&stored)
            .iter()
            .all(|count| (350..700).contains(count)),
        "{:?}",
        counts(&stored)
    );
}

#[test]
fn ones_own_sees_the_whole_record_and_is_asked_once() {
    let name = topic(kafka(), "own", PARTITIONS, &[]);
    let asked = Arc::new(AtomicUsize::new(0));
    let partitioner = {
        let asked = Arc::clone(&asked);
        let name = name.clone();
        move |record: &View<'_>, partitions: i32| {
            asked.fetch_add(1, SeqCst);
            assert_eq!(partitions, PARTITIONS as i32);
            assert_eq!(record.topic.as_str(), name);
            assert_eq!(record.timestamp, Some(1_700_000_000_000));
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<i32>().unwrap();
            let key = record.key.map_or(0, number);
            let header = number(record.headers.get_str("h").unwrap().as_bytes());
            (key + number(record.value.unwrap()) + header) % partitions
        }
    };
    // As soon as it is made: the first records are queued before the partitions are known, and chosen for later.
    let producer = builder(kafka()).partitioner(partitioner).build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut deliveries = vec![];
        for n in 0..1_000 {
            let record = ProducerRecord::new(name.clone())
                .value(n.to_string())
                .timestamp(1_700_000_000_000)
                .header("h", (n / 7).to_string());
            // Every other one without a key.
            let record = if n % 2 == 0 {
                record.key("3".to_owned())
            } else {
                record
            };
            deliveries.push((n, producer.enqueue(record).await.unwrap()));
        }
        for (n, delivery) in deliveries {
            let key = if n % 2 == 0 { 3 } else { 0 };
            let wanted = (key + n + n / 7) % PARTITIONS as i32;
            assert_eq!(delivery.await.unwrap().partition, wanted);
        }
    });
    assert_eq!(asked.load(SeqCst), 1_000);
    assert_eq!(read(kafka(), &name).len(), 1_000);
}

#[test]
fn an_answer_that_is_no_partition_fails_that_record_alone() {
    let mock = Mock::with_topic("t", 4);
    // Nothing is known of the topic until the metadata comes, so some are asked on librdkafka's thread.
    mock.round_trip(Duration::from_millis(100));
    let made = builder(mock.bootstrap())
        .key_serializer(StringSerializer)
        .partitioner(|record: &View<'_>, _: i32| match record.value.unwrap() {
            b"negative" => -1,
            b"beyond" => 4,
            b"panic" => panic!("as a test"),
            _ => 3,
        });
    let producer = made.build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for known in [false, true] {
            let mut deliveries = vec![];
            for value in ["negative", "good", "beyond", "good", "panic", "good"] {
                deliveries.push((value, producer.enqueue(record("t", value)).await.unwrap()));
            }
            for (value, delivery) in deliveries {
                match (value, delivery.await) {
                    ("good", Ok(sent)) => assert_eq!(sent.partition, 3),
                    ("good", Err(error)) => panic!("{known}: {error}"),
                    (value, Ok(_)) => panic!("{known}: {value} was delivered"),
                    (value, Err(error)) => {
                        assert_eq!(
                            *error.code(),
                            Code::UnknownTopicOrPartition,
                            "{known} {value}"
                        );
                        assert_eq!(
                            error.persistence(),
                            Persistence::NotPersisted,
                            "{known} {value}"
                        );
                        assert!(error.into_record().is_some(), "{known} {value}");
                    }
                }
            }
        }
        // Who waits hears before the room is given back.
        producer.flush().await;
    });
    assert_eq!(producer.room().used(), 0);
}

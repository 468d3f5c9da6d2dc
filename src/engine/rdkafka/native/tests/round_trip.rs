//! What a consumer reads is what was given, also with header lists used again.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::*;

const PARTITIONS: i32 = 4;
/// As many as a mock partition keeps, and then some to spare.
const IN_FLIGHT: usize = 2_000;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Pairs,
    timestamp: i64,
}

/// Null, empty and short values; few names and lengths, so that shapes come back; names that repeat.
fn random(random: &mut Random) -> Sent {
    let names = [
        "a",
        "b",
        "trace-parent",
        "a-name-of-more-than-eight-bytes",
        "ü",
    ];
    let optional = |random: &mut Random, longest| match random.below(4) {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(random.bytes(longest)),
    };
    let count = random.below(5);
    let headers = (0..count)
        .map(|_| {
            (
                names[random.below(names.len())].to_owned(),
                optional(random, 3),
            )
        })
        .collect();
    let (key, value) = (optional(random, 20), optional(random, 60));
    Sent {
        key,
        value,
        headers,
        timestamp: 1_700_000_000_000 + i64::try_from(random.below(1000)).unwrap(),
    }
}

fn consumer(bootstrap: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset("t", partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    consumer
}

#[test]
fn records_of_random_shapes_are_read_back_identical() {
    let client = client::<Sent>(&[]);
    create(&client, "t", PARTITIONS);
    let consumer = consumer(&bootstrap(&client));
    let mut source = Random(0x5EED_0F7E_57ED);
    let mut left = records(20_000);
    while left > 0 {
        let count = left.min(IN_FLIGHT);
        left -= count;
        for _ in 0..count {
            let sent = random(&mut source);
            let partition = i32::try_from(source.below(PARTITIONS as usize)).unwrap();
            let bytes = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes::from);
            let (key, value, user) = (bytes(&sent.key), bytes(&sent.value), sent.clone());
            let headers = headers(
                sent.headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_deref())),
            );
            produce(
                &client,
                "t",
                partition,
                Some(sent.timestamp),
                key,
                value,
                &headers,
                user,
            )
            .unwrap();
        }
        let mut expected = std::collections::HashMap::new();
        for report in reports(&client, count) {
            assert_eq!((report.code, report.status), (0, Status::Persisted));
            assert_eq!(report.key.as_deref(), report.user.key.as_deref());
            assert_eq!(report.value.as_deref(), report.user.value.as_deref());
            if !report.headers.is_empty() {
                let headers = report
                    .user
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_deref()));
                assert!(report.headers.iter().eq(headers));
            }
            assert!(
                expected
                    .insert((report.partition, report.offset), report.user)
                    .is_none()
            );
        }
        let deadline = Instant::now() + Duration::from_secs(120);
        while !expected.is_empty() {
            assert!(
                Instant::now() < deadline,
                "{} records are missing",
                expected.len()
            );
            let Some(message) = consumer.poll(Duration::from_millis(200)) else {
                continue;
            };
            let message = message.unwrap();
            let headers = message.headers().map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                    .collect()
            });
            let sent = expected
                .remove(&(message.partition(), message.offset()))
                .unwrap();
            let read = Sent {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers,
                // The mock cluster stamps records itself.
                timestamp: sent.timestamp,
            };
            assert_eq!(read, sent);
        }
    }
    assert!(client.close().is_empty());
}

//! Topics of a real Kafka, made and read by a client that is not ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use franking::testing::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A name that no other test uses, also not on a cluster that is used again.
pub fn topic_name(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    format!("{what}.{now}.{}.{n}", std::process::id())
}

/// Makes a topic with so many partitions of one replica each, and further settings.
pub fn topic(bootstrap: &str, what: &str, partitions: usize, settings: &[(&str, &str)]) -> String {
    replicated_topic(bootstrap, what, partitions, 1, settings)
}

/// Makes a topic, and waits until every replica is in sync.
pub fn replicated_topic(
    bootstrap: &str,
    what: &str,
    partitions: usize,
    replicas: i32,
    settings: &[(&str, &str)],
) -> String {
    let name = topic_name(what);
    make_topic(bootstrap, &name, partitions, replicas, settings);
    name
}

/// Makes a topic of this name, and waits until every replica is in sync.
pub fn make_topic(
    bootstrap: &str,
    name: &str,
    partitions: usize,
    replicas: i32,
    settings: &[(&str, &str)],
) {
    let mut new = NewTopic::new(
        name,
        i32::try_from(partitions).unwrap(),
        TopicReplication::Fixed(replicas),
    );
    for (name, value) in settings {
        new = new.set(name, value);
    }
    administer(bootstrap, async |admin, options| {
        admin.create_topics([&new], options).await
    });
    if replicas > 1 {
        let whole = eventually(|| {
            let found = partitions_of(bootstrap, name);
            found.len() == partitions && found.iter().all(|p| p.in_sync == replicas as usize)
        });
        assert!(whole, "{name}: {:?}", partitions_of(bootstrap, name));
    }
}

/// Deletes a topic, and waits until no broker that is asked knows it.
pub fn delete_topic(bootstrap: &str, name: &str) {
    administer(bootstrap, async |admin, options| {
        admin.delete_topics(&[name], options).await
    });
    assert!(eventually(|| partitions_of(bootstrap, name).is_empty()));
}

/// Gives a topic more partitions, so many in all.
pub fn add_partitions(bootstrap: &str, name: &str, partitions: usize) {
    let new = NewPartitions::new(name, partitions);
    administer(bootstrap, async |admin, options| {
        admin.create_partitions([&new], options).await
    });
    assert!(eventually(
        || partitions_of(bootstrap, name).len() == partitions
    ));
}

fn administer(
    bootstrap: &str,
    what: impl AsyncFnOnce(
        &AdminClient<DefaultClientContext>,
        &AdminOptions,
    ) -> KafkaResult<Vec<TopicResult>>,
) {
    let admin = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let done = block_on(what(&admin, &options), PATIENCE).expect("an answer");
    for done in done.unwrap() {
        done.unwrap_or_else(|(topic, error)| panic!("topic {topic}: {error}"));
    }
}

/// A partition as a broker tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    pub id: i32,
    /// The broker that leads it, if one does.
    pub leader: Option<u8>,
    pub replicas: usize,
    pub in_sync: usize,
}

/// The partitions of a topic, as the first broker says that answers.
pub fn partitions_of(bootstrap: &str, topic: &str) -> Vec<Partition> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("allow.auto.create.topics", "false")
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().iter();
    let mut partitions: Vec<_> = partitions
        .map(|partition| Partition {
            id: partition.id(),
            leader: u8::try_from(partition.leader()).ok(),
            replicas: partition.replicas().len(),
            in_sync: partition.isr().len(),
        })
        .collect();
    partitions.sort_unstable_by_key(|partition| partition.id);
    partitions
}

/// A record as another client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// All records of a topic: partition by partition, by offset.
pub fn read(bootstrap: &str, topic: &str) -> Vec<Stored> {
    let mut all = Vec::new();
    read_each(bootstrap, topic, |message| {
        let headers = message.headers().map_or(vec![], |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect()
        });
        all.push(Stored {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        });
    });
    all.sort_by_key(|stored| (stored.partition, stored.offset));
    all
}

/// Shows every record that the topic has now, in the order of each partition.
pub fn read_each(bootstrap: &str, topic: &str, each: impl FnMut(&BorrowedMessage<'_>)) {
    read_topics(bootstrap, &[topic], each);
}

/// Shows every record that these topics have now, in the order of each partition.
pub fn read_topics(bootstrap: &str, topics: &[&str], mut each: impl FnMut(&BorrowedMessage<'_>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", "16384")
        .create()
        .unwrap();
    let mut left = 0;
    // By topic, the partitions in order.
    let mut ends: HashMap<&str, Vec<i64>> = HashMap::new();
    let mut list = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let mut partitions: Vec<_> = metadata.topics()[0]
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect();
        partitions.sort_unstable();
        for id in partitions {
            let (low, high) = consumer.fetch_watermarks(topic, id, PATIENCE).unwrap();
            list.add_partition_offset(topic, id, Offset::Offset(low))
                .unwrap();
            ends.entry(topic).or_default().push(high);
            // The records of these tests are neither compacted nor transactional, so that every offset holds one.
            left += high - low;
        }
    }
    consumer.assign(&list).unwrap();
    let mut deadline = Instant::now() + PATIENCE;
    let mut last_error = None;
    while left > 0 {
        assert!(
            Instant::now() < deadline,
            "{left} records of {topics:?} were not read: {last_error:?}"
        );
        let message = match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => message,
            // A leader that is still moving: the consumer finds it.
            Some(Err(error)) => {
                last_error = Some(error);
                continue;
            }
            None => continue,
        };
        if message.offset() < ends[message.topic()][message.partition() as usize] {
            each(&message);
            left -= 1;
            deadline = Instant::now() + PATIENCE;
        }
    }
}

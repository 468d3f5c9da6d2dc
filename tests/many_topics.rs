//! Many topics: nothing is lost, and what a record costs there is told.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::testing::block_on;
use franking::{Persistence, ProducerRecord, SendResult, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message as _;
use support::oracle::{Copy, Heard, History, Judge};
use support::{Cluster, bytes_builder, read_topics, topic_name};

const TASKS: u64 = 64;
const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a producer for so many partitions is told: room for a batch of each, and time to fill it. Its broker comes round to
/// each of 1,000 partitions once in a second or two, so with a shorter `linger.ms` records are acknowledged no sooner, and
/// librdkafka's threads are woken for nothing: see docs/guarantees.md, also for what the defaults cost.
const SETTINGS: [(&str, &str); 2] = [("buffer.memory", "268435456"), ("linger.ms", "2000")];

/// The whole of it, with `FRANKING_LONG=1`.
fn long() -> bool {
    std::env::var("FRANKING_LONG").is_ok_and(|long| long == "1")
}

// === outcomes ===

/// What the application heard of each record, in one word: so that a million of them cost the run next to nothing.
struct Outcomes {
    words: Box<[AtomicU64]>,
    /// For the message, if one fails.
    first_error: OnceLock<String>,
}

const NOT_PERSISTED: u64 = 1;
const UNKNOWN: u64 = 2;
const DELIVERED: u64 = 3;

impl Outcomes {
    fn new(records: u64) -> Self {
        Self {
            words: (0..records).map(|_| AtomicU64::new(0)).collect(),
            first_error: OnceLock::new(),
        }
    }

    fn hear(&self, id: u64, topic: usize, result: &SendResult) {
        if let Err(error) = result {
            self.first_error.get_or_init(|| error.to_string());
        }
        let word = match result {
            Ok(sent) => {
                let partition = place(topic, sent.partition) as u64;
                let offset = sent.offset.expect("an offset") as u64;
                (partition << 48) | (offset << 8) | DELIVERED
            }
            Err(error) if error.persistence() == Persistence::NotPersisted => NOT_PERSISTED,
            Err(_) => UNKNOWN,
        };
        assert_eq!(
            self.words[id as usize].swap(word, Relaxed),
            0,
            "two outcomes"
        );
    }

    /// As the oracle's history.
    fn history(&self) -> History {
        let history = History::new();
        for (n, word) in self.words.iter().enumerate() {
            let word = word.load(Relaxed);
            let heard = match word & 0xff {
                DELIVERED => Heard::Delivered {
                    partition: (word >> 48) as i32,
                    offset: Some((word >> 8 & 0xff_ffff_ffff) as i64),
                },
                NOT_PERSISTED => Heard::NotPersisted,
                UNKNOWN => Heard::Unknown,
                none => panic!("record {n} has no outcome: {none}"),
            };
            let id = history.sends((n as u64 % TASKS) as u32);
            history.enters(id);
            history.application_hears(id, heard);
            history.hook_hears(id, heard, Instant::now());
        }
        history
    }
}

/// The partition's number among those of all topics.
fn place(topic: usize, partition: i32) -> i32 {
    topic as i32 * PARTITIONS + partition
}

// === topics ===

fn make_topics(bootstrap: &str, count: usize) -> Vec<Topic> {
    let prefix = topic_name("many");
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}.{n}")).collect();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for names in names.chunks(100) {
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)))
            .collect();
        let made = block_on(admin.create_topics(&topics, &options), PATIENCE);
        let made = made.expect("an answer").unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }
    names.into_iter().map(Topic::from).collect()
}

/// Everything that is in the topics, as a client reads it that is not ours.
fn stored(bootstrap: &str, topics: &[Topic]) -> Vec<Copy> {
    let names: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    let numbers: HashMap<&str, usize> = names.iter().copied().zip(0..).collect();
    let mut copies = Vec::new();
    read_topics(bootstrap, &names, |message| {
        let head = message.payload().and_then(<[u8]>::first_chunk);
        copies.push(Copy {
            partition: place(numbers[message.topic()], message.partition()),
            offset: message.offset(),
            id: head.map(|head| u64::from_be_bytes(*head)),
        });
    });
    copies
}

// === cost ===

/// User and system time of all threads of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in brackets may hold spaces, so count fields after it.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
    // In hundredths of a second, on every Linux.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Sends from 64 tasks over these topics, judges what became of it, and gives the CPU time a record.
fn run(name: &str, bootstrap: &str, topics: &[Topic], records: u64) -> Duration {
    let outcomes = Arc::new(Outcomes::new(records));
    let topics: Arc<[Topic]> = topics.into();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (before, started) = (cpu(), Instant::now());
    let mut producer = bytes_builder(bootstrap);
    for (name, value) in SETTINGS {
        producer = producer.property(name, value);
    }
    let producer = producer.build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (producer, outcomes, topics) =
                    (producer.clone(), Arc::clone(&outcomes), Arc::clone(&topics));
                tokio::spawn(async move {
                    let count = topics.len() as u64;
                    for n in 0..records / TASKS {
                        // Each task comes through all topics, beginning at another one. The records of a topic have
                        // neighbouring numbers, so that to hear of them costs as much as if there were one topic.
                        let topic = (n + task * 17) % count;
                        let id = topic * (records / count) + n / count * TASKS + task;
                        let topic = topic as usize;
                        let mut value = vec![b'v'; 100];
                        value[..8].copy_from_slice(&id.to_be_bytes());
                        let record = ProducerRecord::new(topics[topic].clone())
                            .key(Bytes::copy_from_slice(&id.to_be_bytes()))
                            .value(Bytes::from(value));
                        let outcomes = Arc::clone(&outcomes);
                        producer
                            .send_with(record, move |result| outcomes.hear(id, topic, &result))
                            .await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        producer.flush().await;
    });
    let (cost, took) = ((cpu() - before) / records as u32, started.elapsed());
    assert_eq!(franking::hooks_panicked(), 0);

    let copies = stored(bootstrap, &topics);
    let verdict = Judge::of(&outcomes.history(), &copies).verdict();
    let first_error = outcomes.first_error.get();
    assert_eq!(verdict.acked, records, "{verdict}; {first_error:?}");
    verdict.must_hold(&format!(
        "{name}: {} ns a record, {:.0} records/s",
        cost.as_nanos(),
        records as f64 / took.as_secs_f64()
    ));
    cost
}

#[test]
fn no_record_among_many_topics_is_lost() {
    let (topics, records, brokers, rounds) = match long() {
        true => (1_000, TASKS * 1_000 * 16, 3, 3),
        false => (100, TASKS * 100 * 16, 1, 1),
    };
    let cluster = Cluster::start(brokers, &[]);
    let bootstrap = cluster.bootstrap();
    // All of them before the first record: a broker that makes topics does little else.
    let many: Vec<_> = (0..rounds)
        .map(|_| make_topics(bootstrap, topics))
        .collect();
    let one: Vec<_> = (0..rounds).map(|_| make_topics(bootstrap, 1)).collect();
    if long() {
        // Counts for neither: a cluster's first records cost half as much again.
        run("to begin", bootstrap, &make_topics(bootstrap, 1), records);
    }
    let (mut alone, mut among) = (vec![], vec![]);
    for (many, one) in many.iter().zip(&one) {
        among.push(run(&format!("{topics} topics"), bootstrap, many, records));
        alone.push(run("one topic", bootstrap, one, records));
    }
    let ratio = median(among).as_secs_f64() / median(alone).as_secs_f64();
    println!(
        "row 21, {records} records over {topics} topics of {PARTITIONS} partitions on {brokers} brokers cost {ratio:.2} of what they cost in one, medians of {rounds}"
    );
    // The aim. Of a second's worth of processor time the short form says little.
    assert!(!long() || ratio <= 2.0, "{ratio:.2}");
}

fn median(mut costs: Vec<Duration>) -> Duration {
    costs.sort();
    costs[costs.len() / 2]
}

//! The producer as an application uses it: the ways to send, what comes back, and what it says when it cannot.

mod support;

use std::collections::HashSet;
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use franking::serializers::BytesSerializer;
use franking::testing::block_on;
use franking::{
    Closed, Code, Delivery, Failure, Interceptor, InterceptorLayer, Interrupt, Parts, Persistence,
    Producer, ProducerRecord, Record, SendError,
};
use support::{Answer, Api, Mock, builder, eventually, read, record, runs_out, sources, topic};

/// Longer than anything that shall happen takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn producer() -> Producer<String, String> {
    builder(support::kafka()).build().unwrap()
}

fn bytes(bootstrap: &str) -> Producer<Bytes, Bytes> {
    Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer)
        .build()
        .unwrap()
}

/// Values of what a topic holds, in order.
fn values(topic: &str) -> Vec<String> {
    let stored = read(support::kafka(), topic).into_iter();
    stored
        .map(|stored| String::from_utf8(stored.value.unwrap()).unwrap())
        .collect()
}

fn partition(n: usize) -> i32 {
    i32::try_from(n).unwrap()
}

// === the ways to send ===

#[tokio::test]
async fn every_way_to_send_stores_the_record_and_says_where() {
    let topic = topic(support::kafka(), "ways", 1, &[]);
    let producer = producer();

    let sent = producer.send(record(&topic, "send")).await.unwrap();
    assert_eq!((sent.topic.as_str(), sent.partition), (&*topic, 0));
    assert_eq!(sent.offset, Some(0));

    let queued = producer.enqueue(record(&topic, "enqueue")).await.unwrap();
    assert_eq!(queued.await.unwrap().offset, Some(1));

    let tried = producer.try_send(record(&topic, "try_send")).unwrap();
    assert_eq!(tried.await.unwrap().offset, Some(2));

    let (told, hears) = mpsc::channel();
    producer
        .send_with(record(&topic, "send_with"), move |result| {
            told.send((result, thread::current().name().map(str::to_owned)))
                .unwrap();
        })
        .await;
    let (result, thread) = hears.recv_timeout(PATIENCE).unwrap();
    assert_eq!(result.unwrap().offset, Some(3));
    assert_eq!(thread.as_deref(), Some("franking-rdkafka"));

    producer
        .send_and_forget(record(&topic, "send_and_forget"))
        .await
        .unwrap();
    producer.flush().await;

    let raw = Record::new(topic.clone()).value("send_record");
    assert_eq!(producer.send_record(raw).await.unwrap().offset, Some(5));

    let blocking = {
        let (producer, topic) = (producer.clone(), topic.clone());
        tokio::task::spawn_blocking(move || producer.blocking().send(record(&topic, "blocking")))
    };
    assert_eq!(blocking.await.unwrap().unwrap().offset, Some(6));

    let all = [
        "send",
        "enqueue",
        "try_send",
        "send_with",
        "send_and_forget",
        "send_record",
        "blocking",
    ];
    assert_eq!(values(&topic), all);
    assert_eq!(producer.room().totals().delivered, all.len() as u64);
    assert_eq!(producer.close(PATIENCE).await, Closed::default());
    assert_eq!(producer.room().used(), 0);
}

#[tokio::test]
async fn a_panicking_callback_harms_nothing_else() {
    let topic = topic(support::kafka(), "panic", 1, &[]);
    let producer = producer();
    let before = franking::hooks_panicked();
    for i in 0..100 {
        producer
            .send_with(record(&topic, i.to_string()), |_| panic!("as a test"))
            .await;
    }
    producer.flush().await;
    assert!(franking::hooks_panicked() >= before + 100);
    let sent = producer.send(record(&topic, "after")).await.unwrap();
    assert_eq!(sent.offset, Some(100));
    producer.flush().await;
    assert_eq!(producer.room().totals().delivered, 101);
    assert_eq!(producer.room().outstanding(), 0);
}

#[tokio::test]
async fn a_callback_also_hears_of_what_was_never_queued() {
    let producer = producer();
    producer.close(PATIENCE).await;
    let (told, hears) = mpsc::channel();
    producer
        .send_with(record("t", "v"), move |result| told.send(result).unwrap())
        .await;
    let error = hears.recv().unwrap().unwrap_err();
    assert_eq!(*error.code(), Code::Closed);
    assert_eq!(
        error.into_record().unwrap().value.as_deref(),
        Some(&b"v"[..])
    );
}

#[tokio::test]
async fn a_callback_may_send_and_may_hold_the_last_producer() {
    let topic = topic(support::kafka(), "from-callback", 1, &[]);
    let producer = producer();
    let (told, hears) = mpsc::channel::<Delivery>();
    let inner = producer.clone();
    let name = topic.clone();
    producer
        .send_with(record(&topic, "first"), move |_| {
            told.send(inner.try_send(record(&name, "second")).unwrap())
                .unwrap();
            // The last one: the engine ends itself from here.
            drop(inner);
        })
        .await;
    drop(producer);
    let second = hears.recv_timeout(PATIENCE).unwrap();
    let second = block_on(second, PATIENCE).expect("an answer").unwrap();
    assert_eq!(second.offset, Some(1));
    assert_eq!(values(&topic), ["first", "second"]);
}

// === what is written, and what the metadata says ===

#[tokio::test]
async fn metadata_is_what_is_stored() {
    let topic = topic(support::kafka(), "metadata", 3, &[]);
    let producer = producer();
    let now = || {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(now.as_millis()).unwrap()
    };
    let mut expected = vec![];
    for i in 0..30 {
        let before = now();
        let mut record = record(&topic, "v".repeat(i)).key("k".repeat(i + 1));
        let given = i % 2 == 0;
        if given {
            record = record.timestamp(1_700_000_000_000 + i as i64);
        }
        let sent = producer.send(record).await.unwrap();
        assert_eq!(sent.topic, *topic);
        assert_eq!(sent.serialized_key_size, Some(i + 1));
        assert_eq!(sent.serialized_value_size, Some(i));
        let time = sent.timestamp.unwrap();
        match given {
            true => assert_eq!(time, 1_700_000_000_000 + i as i64),
            false => assert!((before..=now()).contains(&time), "{time}"),
        }
        expected.push((sent.partition, sent.offset.unwrap(), time));
    }
    expected.sort_unstable();
    let stored: Vec<_> = read(support::kafka(), &topic)
        .into_iter()
        .map(|stored| (stored.partition, stored.offset, stored.timestamp))
        .collect();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn the_time_is_the_brokers_where_the_topic_says_so() {
    let topic = topic(
        support::kafka(),
        "append-time",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let sent = producer()
        .send(record(&topic, "v").timestamp(1_000))
        .await
        .unwrap();
    let stored = &read(support::kafka(), &topic)[0];
    assert_eq!(sent.timestamp, Some(stored.timestamp));
    assert!(stored.timestamp > 1_600_000_000_000);
}

#[tokio::test]
async fn nulls_empties_and_headers_read_back_identical() {
    let topic = topic(support::kafka(), "shapes", 1, &[]);
    let producer = bytes(support::kafka());
    type Shape = (
        Option<&'static str>,
        Option<&'static str>,
        &'static [(&'static str, Option<&'static str>)],
    );
    let shapes: &[Shape] = &[
        (None, None, &[]),
        (Some("tombstone"), None, &[]),
        (None, Some("no key"), &[]),
        (Some(""), Some(""), &[]),
        (Some(""), None, &[("h", None)]),
        (None, Some(""), &[("h", Some(""))]),
        (
            Some("k"),
            Some("v"),
            &[("a", Some("1")), ("a", Some("2")), ("b", None), ("a", None)],
        ),
        (
            Some("k"),
            Some("v"),
            &[("a", Some("3")), ("a", Some("4")), ("b", None), ("a", None)],
        ),
        (
            Some("k"),
            Some("v"),
            &[
                ("a", Some("3")),
                ("a", None),
                ("b", Some("")),
                ("a", Some("x")),
            ],
        ),
        (
            Some("k"),
            Some("v"),
            &[("grüße", Some("ÿ")), ("a b", Some("\u{0}\u{1}"))],
        ),
    ];
    // Twice, as header lists are used again.
    for _ in 0..2 {
        let mut deliveries = vec![];
        for (key, value, headers) in shapes {
            let mut record: ProducerRecord<Bytes, Bytes> = ProducerRecord::new(topic.clone());
            if let Some(key) = key {
                record = record.key(Bytes::from_static(key.as_bytes()));
            }
            if let Some(value) = value {
                record = record.value(Bytes::from_static(value.as_bytes()));
            }
            for (name, value) in *headers {
                record = record.header(name, *value);
            }
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for (delivery, (key, value, _)) in deliveries.into_iter().zip(shapes) {
            let sent = delivery.await.unwrap();
            assert_eq!(sent.serialized_key_size, key.map(str::len));
            assert_eq!(sent.serialized_value_size, value.map(str::len));
        }
    }
    let own = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let stored = read(support::kafka(), &topic);
    assert_eq!(stored.len(), 2 * shapes.len());
    for (stored, (key, value, headers)) in stored.iter().zip(shapes.iter().chain(shapes)) {
        assert_eq!(stored.key, own(*key));
        assert_eq!(stored.value, own(*value));
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), own(*value)))
            .collect();
        assert_eq!(stored.headers, headers);
    }
}

#[tokio::test]
async fn a_given_partition_is_taken() {
    let topic = topic(support::kafka(), "given", 5, &[]);
    let producer = producer();
    for wanted in [4, 0, 3, 3] {
        let record = record(&topic, "v").key("same".to_owned()).partition(wanted);
        assert_eq!(producer.send(record).await.unwrap().partition, wanted);
    }
    let error = producer
        .send(record(&topic, "v").partition(5))
        .await
        .unwrap_err();
    assert_eq!(*error.code(), Code::UnknownTopicOrPartition);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.into_record().unwrap().partition, Some(5));
    let error = producer
        .send(record(&topic, "v").partition(-1))
        .await
        .unwrap_err();
    assert_eq!(*error.code(), Code::InvalidRecord);
    assert_eq!(error.into_record().unwrap().partition, Some(-1));
    producer.flush().await;
    assert_eq!(producer.room().used(), 0, "of records that were refused");
}

#[tokio::test]
async fn keys_go_to_the_partitions_that_java_gives_them() {
    // The unsigned hashes of Kafka's and librdkafka's own tests.
    let hashes: &[(&str, u32)] = &[
        ("21", 1_173_551_340),
        ("foobar", 1_357_151_166),
        ("a-little-bit-long-string", 1_161_502_112),
        ("a-little-bit-longer-string", 661_178_819),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            2_088_585_677,
        ),
        ("abc", 479_470_107),
        ("kafka", 0xd067_cf64),
        ("giberish123456789", 0x8f55_2b0c),
        ("1234", 0x9fc9_7b14),
        ("234", 0xe7c0_09ca),
        ("34", 0x8739_30da),
        ("4", 0x5a4b_5ca1),
        ("PreAmbleWillBeRemoved,ThePrePartThatIs", 0x7842_4f1c),
        ("reAmbleWillBeRemoved,ThePrePartThatIs", 0x4a62_b377),
        ("eAmbleWillBeRemoved,ThePrePartThatIs", 0xe0e4_e09e),
        ("AmbleWillBeRemoved,ThePrePartThatIs", 0x62b8_b43f),
        ("23456", 0x058d_780f),
        (
            "this is another string with more length to it perhaps",
            0x4f77_03da,
        ),
        ("hejsan", 0x5ec1_9395),
        ("", 0x106e_08d9),
    ];
    let topic = topic(support::kafka(), "murmur2", 17, &[]);
    let producer = producer();
    for (key, hash) in hashes {
        let sent = producer
            .send(record(&topic, "v").key((*key).to_owned()))
            .await
            .unwrap();
        let java = i32::try_from((hash & 0x7fff_ffff) % 17).unwrap();
        assert_eq!(sent.partition, java, "{key}");
    }
}

#[tokio::test]
async fn records_without_a_key_stick_to_a_partition_for_a_batch() {
    let topic = topic(support::kafka(), "sticky", 17, &[]);
    let producer = producer();
    // The partitions are known from here on.
    producer.send(record(&topic, "v")).await.unwrap();
    let mut deliveries = vec![];
    for _ in 0..2_000 {
        deliveries.push(producer.enqueue(record(&topic, "v")).await.unwrap());
    }
    let mut partitions = vec![];
    for delivery in deliveries {
        partitions.push(delivery.await.unwrap().partition);
    }
    let switches = partitions.windows(2).filter(|two| two[0] != two[1]).count();
    // A partitioner that chose for each record would switch 1,880 times.
    assert!(switches < 400, "{switches}");
}

#[tokio::test]
async fn every_compression_is_written_and_read() {
    let mut expected = vec![];
    let topic = topic(support::kafka(), "compressed", 1, &[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = builder(support::kafka())
            .property("compression.type", codec)
            .property("linger.ms", "50")
            .build()
            .unwrap();
        let mut deliveries = vec![];
        for i in 0..100 {
            let value = format!("{codec} {i} {}", "abc".repeat(200));
            deliveries.push(
                producer
                    .enqueue(record(&topic, value.clone()))
                    .await
                    .unwrap(),
            );
            expected.push(value);
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    }
    assert_eq!(values(&topic), expected);
}

#[tokio::test]
async fn acknowledgements_of_none_say_no_offset_and_others_do() {
    let topic = topic(support::kafka(), "acks", 1, &[]);
    for (acks, offset) in [
        ("0", None),
        ("1", Some(1)),
        ("all", Some(2)),
        ("-1", Some(3)),
    ] {
        let producer = builder(support::kafka())
            .property("acks", acks)
            .build()
            .unwrap();
        let sent = producer.send(record(&topic, acks)).await.unwrap();
        assert_eq!(sent.offset, offset, "acks={acks}");
        // The ledger is written once a batch, after its callers were woken.
        producer.flush().await;
        assert_eq!(producer.room().totals().delivered, 1);
        // What nobody confirms may still be on its way.
        assert!(eventually(|| values(&topic)
            .last()
            .is_some_and(|last| last == acks)));
    }
}

#[tokio::test]
async fn idempotence_is_on_by_default() {
    // Only an idempotent producer asks for an id.
    let mock = Mock::with_topic("t", 1);
    mock.answers(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let producer = builder(mock.bootstrap()).build().unwrap();
    let error = producer.send(record("t", "v")).await.unwrap_err();
    assert_eq!(*error.code(), Code::Fatal, "{error}");

    let mock = Mock::with_topic("t", 1);
    mock.answers(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let without = builder(mock.bootstrap())
        .property("enable.idempotence", "false")
        .build()
        .unwrap();
    without.send(record("t", "v")).await.unwrap();
}

#[tokio::test]
async fn dead_brokers_in_the_bootstrap_list_are_no_matter() {
    let topic = topic(support::kafka(), "bootstrap", 1, &[]);
    let list = format!("127.0.0.1:1,no-such-host.invalid:9092,{}", support::kafka());
    let producer = builder(list).build().unwrap();
    assert_eq!(
        producer.send(record(&topic, "v")).await.unwrap().offset,
        Some(0)
    );
}

// === topics ===

#[tokio::test]
async fn partitions_of_a_topic_can_be_asked() {
    let topic = topic(support::kafka(), "partitions", 7, &[]);
    assert_eq!(producer().partitions_for(&topic).await.unwrap(), 7);
}

#[tokio::test]
async fn partitions_of_a_slow_cluster_are_waited_for() {
    let mock = Mock::with_topic("t", 3);
    let producer = builder(mock.bootstrap()).build().unwrap();
    producer.send(record("t", "v").partition(0)).await.unwrap();
    mock.round_trip(Duration::from_millis(2_500));
    assert_eq!(producer.partitions_for("t").await.unwrap(), 3);
}

#[tokio::test]
async fn partitions_of_an_unknown_topic_are_a_typed_error() {
    let mock = Mock::new();
    mock.topic_answers("nowhere", Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    let producer = builder(mock.bootstrap())
        .property("max.block.ms", "500")
        .build()
        .unwrap();
    let started = Instant::now();
    let error = producer.partitions_for("nowhere").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(*error.code(), Code::UnknownTopicOrPartition);
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(
        !error.to_string().contains("bootstrap.servers"),
        "the cluster was reached: {error}"
    );
}

#[tokio::test]
async fn partitions_without_any_broker_name_the_servers() {
    let producer = builder("127.0.0.1:1")
        .property("max.block.ms", "300")
        .build()
        .unwrap();
    let started = Instant::now();
    let error = producer.partitions_for("t").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("bootstrap.servers"), "{error}");
}

#[tokio::test]
async fn an_unknown_topic_fails_after_max_block_and_names_it() {
    let cluster = support::Cluster::start(1, &[("auto.create.topics.enable", "false")]);
    let producer = builder(cluster.bootstrap())
        .property("max.block.ms", "1500")
        .build()
        .unwrap();
    let started = Instant::now();
    let error = producer.send(record("nowhere", "v")).await.unwrap_err();
    let waited = started.elapsed();
    assert!(waited > Duration::from_millis(1000), "{waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(*error.code(), Code::UnknownTopicOrPartition);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.failure().setting_name(), Some("max.block.ms"));
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
    assert_eq!(
        error.into_record().unwrap().value.as_deref(),
        Some(&b"v"[..])
    );

    // From now on it is known to be unknown; once it is there, records go.
    producer.send(record("nowhere", "v")).await.unwrap_err();
    support::make_topic(cluster.bootstrap(), "nowhere", 1, 1, &[]);
    let made = Instant::now();
    let offset = loop {
        match producer.send(record("nowhere", "v")).await {
            Ok(sent) => break sent.offset,
            Err(error) => assert_eq!(*error.code(), Code::UnknownTopicOrPartition),
        }
        assert!(made.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(offset, Some(0));
    println!(
        "a topic that was unknown is used {:?} after it was made",
        made.elapsed()
    );
}

// === records that cannot be sent ===

#[tokio::test]
async fn a_serializers_refusal_names_which_and_why() {
    let refuse = |_: u32| -> Result<Bytes, franking::BoxError> { Err("out of ink".into()) };
    let take = |_: u32| -> Result<Bytes, franking::BoxError> { Ok(Bytes::new()) };
    let builder =
        || Producer::<u32, u32>::builder().property("bootstrap.servers", support::kafka());
    let key = builder()
        .key_serializer(refuse)
        .value_serializer(take)
        .build()
        .unwrap();
    let value = builder()
        .key_serializer(take)
        .value_serializer(refuse)
        .build()
        .unwrap();
    for (producer, setting) in [(key, "key.serializer"), (value, "value.serializer")] {
        let record = || ProducerRecord::new("t").key(1).value(2);
        let error = producer.send(record()).await.unwrap_err();
        assert_eq!(*error.code(), Code::Serialization);
        assert_eq!(error.failure().setting_name(), Some(setting));
        assert_eq!(error.source().unwrap().to_string(), "out of ink");
        assert!(error.to_string().contains("\"t\""), "{error}");
        assert_eq!(
            *producer.try_send(record()).unwrap_err().code(),
            Code::Serialization
        );
        assert_eq!(producer.room().used(), 0);
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_comes_back_and_the_setting_is_named() {
    let topic = topic(support::kafka(), "large", 1, &[]);
    let producer = builder(support::kafka())
        .property("max.request.size", "10000")
        .property("buffer.memory", "100000")
        .build()
        .unwrap();
    let cases = [
        (record(&topic, "v".repeat(10_001)), "max.request.size"),
        (
            record(&topic, "v").key("k".repeat(10_001)),
            "max.request.size",
        ),
        (
            record(&topic, "v").header("h", "x".repeat(10_001)),
            "max.request.size",
        ),
        (record(&topic, "v".repeat(100_001)), "buffer.memory"),
    ];
    for (record, setting) in cases {
        let error = producer.send(record.clone()).await.unwrap_err();
        assert_eq!(*error.code(), Code::RecordTooLarge, "{error}");
        assert_eq!(error.failure().setting_name(), Some(setting));
        assert!(error.to_string().contains(setting), "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert!(!error.is_transient());
        assert!(error.into_record().is_some());
        producer.flush().await;
        assert_eq!(producer.room().used(), 0, "of a record beyond {setting}");
    }
    assert_eq!(
        producer.send(record(&topic, "v")).await.unwrap().offset,
        Some(0)
    );
}

#[tokio::test]
async fn a_batch_beyond_the_topics_limit_is_not_persisted_and_comes_back() {
    let topic = topic(
        support::kafka(),
        "small",
        1,
        &[("max.message.bytes", "500")],
    );
    let producer = producer();
    let error = producer
        .send(record(&topic, "v".repeat(1000)))
        .await
        .unwrap_err();
    assert_eq!(*error.code(), Code::RecordTooLarge);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.into_record().unwrap().payload_len(), 1000);
    producer.send(record(&topic, "v")).await.unwrap();
}

#[tokio::test]
async fn records_that_kafka_does_not_take_are_refused_with_a_reason() {
    let producer = producer();
    let cases = [
        record("t", "v").header("", "x"),
        record("t", "v").header("a\0b", "x"),
        record("t", "v").timestamp(-5),
        record("t", "v").timestamp(0),
    ];
    for case in cases {
        let error = producer.send(case).await.unwrap_err();
        assert_eq!(*error.code(), Code::InvalidRecord, "{error}");
        assert!(error.attempts() <= 1);
    }
    // The second hears the same as the first.
    for name in ["", "a topic", "a\0b", &"x".repeat(250), "ü", ".", ".."] {
        for _ in 0..2 {
            let error = producer.send(record(name, "v")).await.unwrap_err();
            assert_eq!(*error.code(), Code::InvalidRecord, "{name:?}: {error}");
            assert!(error.to_string().contains("the topic's name"), "{error}");
            assert!(!error.failure().is_transient());
            assert_eq!(error.persistence(), Persistence::NotPersisted);
        }
        let asked = producer.partitions_for(name).await.unwrap_err();
        assert_eq!(*asked.code(), Code::InvalidRecord, "{name:?}: {asked}");
    }
    // Room is given back once a batch, after its callers were woken.
    producer.flush().await;
    assert_eq!(producer.room().used(), 0);
}

// === a full buffer ===

/// A producer with a buffer of this size, whose broker does not answer any more.
async fn unanswered(mock: &Mock, memory: &str, block: &str) -> Producer<String, String> {
    let producer = builder(mock.bootstrap())
        .property("buffer.memory", memory)
        .property("max.block.ms", block)
        .build()
        .unwrap();
    producer.send(record("t", "first")).await.unwrap();
    mock.round_trip(Duration::from_secs(100));
    producer
}

/// A producer whose buffer is full, and whose broker does not answer.
async fn full(mock: &Mock, block: &str) -> (Producer<String, String>, Vec<Delivery>) {
    let producer = unanswered(mock, "65536", block).await;
    let mut deliveries = vec![];
    while let Ok(delivery) = producer.try_send(record("t", "v".repeat(1000))) {
        deliveries.push(delivery);
    }
    (producer, deliveries)
}

#[tokio::test]
async fn a_full_buffer_fails_after_max_block_within_ten_percent_and_gives_the_record_back() {
    let mock = Mock::with_topic("t", 1);
    let (producer, _deliveries) = full(&mock, "1000").await;
    let promised = Duration::from_secs(1);
    // Best of three, for a machine that is busy with something else.
    let mut waited = vec![];
    for _ in 0..3 {
        let started = Instant::now();
        let error = producer
            .send(record("t", "late").key("k".into()))
            .await
            .unwrap_err();
        waited.push(started.elapsed());
        assert!(started.elapsed() >= promised, "{waited:?}");
        assert_eq!(*error.code(), Code::NoRoom);
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert!(error.is_transient());
        assert_eq!(error.failure().setting_name(), Some("max.block.ms"));
        assert!(error.to_string().contains("\"t\""), "{error}");
        let back = error.into_record().unwrap();
        assert_eq!(back.value.as_deref(), Some(&b"late"[..]));
        assert_eq!(back.key.as_deref(), Some(&b"k"[..]));
        if runs_out(promised, *waited.last().unwrap()) {
            break;
        }
    }
    assert!(
        waited.iter().any(|&waited| runs_out(promised, waited)),
        "{waited:?}"
    );

    let error = producer.try_send(record("t", "now")).unwrap_err();
    assert_eq!(*error.code(), Code::NoRoom);
    assert!(error.into_record().is_some());
    producer.close(Duration::ZERO).await;
    assert_eq!(producer.room().used(), 0);
}

#[tokio::test]
async fn a_max_block_of_nothing_never_waits() {
    let mock = Mock::with_topic("t", 1);
    let (producer, _deliveries) = full(&mock, "0").await;
    let started = Instant::now();
    for _ in 0..100 {
        let error = producer.send(record("t", "v")).await.unwrap_err();
        assert_eq!(*error.code(), Code::NoRoom);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    producer.close(Duration::ZERO).await;
}

#[tokio::test]
async fn who_waits_for_room_hears_of_a_close_at_once() {
    let mock = Mock::with_topic("t", 1);
    let (producer, _deliveries) = full(&mock, "60000").await;
    let waiting = {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(record("t", "waits")).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    let closing = producer.close(Duration::from_secs(5));
    let error = waiting.await.unwrap().unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(*error.code(), Code::Closed);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.into_record().is_some());
    drop(closing);
    producer.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_send_dropped_while_it_waits_for_room_is_not_sent_and_leaves_its_place() {
    let mock = Mock::with_topic("t", 1);
    let (producer, deliveries) = full(&mock, "60000").await;
    for _ in 0..10 {
        let send = producer.send(record("t", "given up"));
        tokio::time::timeout(Duration::from_millis(10), send)
            .await
            .unwrap_err();
    }
    mock.round_trip(Duration::ZERO);
    mock.down();
    mock.up();
    producer.send(record("t", "next")).await.unwrap();
    for delivery in deliveries {
        let _ = delivery.await;
    }
    producer.flush().await;
    assert_eq!(producer.room().used(), 0);
}

// === far ahead of the acknowledgements ===

/// Room for more than a hundred thousand records.
const AMPLE: &str = "268435456";

/// Polls the future once and drops it.
fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn who_is_far_ahead_of_the_acknowledgements_waits_a_moment_where_there_is_room() {
    const MANY: usize = 100_000;
    let mock = Mock::with_topic("t", 1);
    let producer = unanswered(&mock, AMPLE, "60000").await;
    let mut sent = 0;
    while let Poll::Ready(queued) = once(producer.enqueue(record("t", "v"))) {
        queued.unwrap();
        sent += 1;
        assert!(sent < MANY, "nobody waited");
    }
    assert!(sent >= 2000, "waited after {sent}");
    assert_eq!(
        producer.room().outstanding(),
        sent,
        "what waited is given up"
    );
    producer.try_send(record("t", "never waits")).unwrap();
    sent += 1;

    // The broker may be away for longer than it takes to wait for each of them.
    let started = Instant::now();
    while sent < MANY {
        producer.enqueue(record("t", "v")).await.unwrap();
        sent += 1;
    }
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(producer.room().outstanding(), MANY);
    let closed = producer.close(Duration::ZERO).await;
    let settled = closed.delivered + closed.not_persisted + closed.unknown;
    assert_eq!(settled, MANY as u64);
}

#[tokio::test]
async fn what_one_task_enqueues_together_is_stored_in_its_order() {
    const MANY: usize = 50_000;
    let topic = topic(support::kafka(), "together", 1, &[]);
    let producer = producer();
    // Connected, it is acknowledged while others are still polled for the first time.
    producer.send(record(&topic, "first")).await.unwrap();
    let mut sends: Vec<_> = (0..MANY)
        .map(|n| Some(Box::pin(producer.enqueue(record(&topic, n.to_string())))))
        .collect();
    let mut waited = 0;
    poll_fn(|cx| {
        for place in &mut sends {
            match place.as_mut().map(|send| send.as_mut().poll(cx)) {
                Some(Poll::Ready(queued)) => {
                    queued.unwrap();
                    *place = None;
                }
                Some(Poll::Pending) => waited += 1,
                None => {}
            }
        }
        match sends.iter().all(Option::is_none) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    assert!(waited > 0, "nobody waited");
    producer.flush().await;
    let numbers = (0..MANY).map(|n| n.to_string());
    assert!(values(&topic).into_iter().skip(1).eq(numbers));
}

#[tokio::test]
async fn who_has_no_time_to_wait_does_not_wait_for_acknowledgements() {
    let mock = Mock::with_topic("t", 1);
    let producer = unanswered(&mock, AMPLE, "0").await;
    for _ in 0..20_000 {
        let queued = once(producer.enqueue(record("t", "v")));
        assert!(matches!(queued, Poll::Ready(Ok(_))), "{queued:?}");
    }
    producer.close(Duration::ZERO).await;
}

/// Fills the buffer, lets many wait for room with records that will be refused, and makes room for the first of them.
async fn waiters_hand_room_on(
    mock: &Mock,
    producer: &Producer<String, String>,
    refused: &str,
    refused_record: impl Fn() -> ProducerRecord<String, String>,
) {
    producer.send(record("t", "first")).await.unwrap();
    mock.round_trip(Duration::from_secs(100));
    while producer.try_send(record("t", "v".repeat(100))).is_ok() {}
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let (producer, record) = (producer.clone(), refused_record());
            tokio::spawn(async move { producer.send(record).await.unwrap_err() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    mock.round_trip(Duration::ZERO);
    mock.down();
    mock.up();
    for task in waiting {
        let error = task.await.unwrap();
        assert_ne!(*error.code(), Code::NoRoom, "refused {refused}: {error}");
    }
    producer.flush().await;
    assert_eq!(producer.room().used(), 0, "refused {refused}");
}

/// A waiter whose record is refused after it got room must hand the room on, or the next waits for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_refused_keep_no_room_from_others() {
    struct Picky;
    impl Interceptor for Picky {
        type Token = ();

        fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
            match record.value.as_deref() {
                Some(b"no") => Err(Failure::new(Code::Refused)),
                _ => Ok(()),
            }
        }
    }
    for refused in ["by a layer", "by the engine"] {
        let mock = Mock::with_topic("t", 1);
        let producer = builder(mock.bootstrap())
            .property("buffer.memory", "16384")
            .property("max.block.ms", "20000")
            .layer(InterceptorLayer::new(Picky))
            .build()
            .unwrap();
        waiters_hand_room_on(&mock, &producer, refused, || match refused {
            "by a layer" => record("t", "no"),
            _ => record("t", "v").partition(-7),
        })
        .await;
    }
}

#[test]
fn a_full_buffer_without_a_runtime_is_refused_and_not_a_panic() {
    let mock = Mock::with_topic("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (producer, _deliveries) = runtime.block_on(full(&mock, "1000"));
    let error = block_on(producer.send(record("t", "v")), PATIENCE)
        .expect("an answer")
        .unwrap_err();
    assert_eq!(*error.code(), Code::WouldBlock);
    assert!(error.into_record().is_some());
    block_on(producer.close(Duration::ZERO), PATIENCE).unwrap();
}

#[tokio::test]
async fn a_time_to_close_that_never_ends_is_taken() {
    let topic = topic(support::kafka(), "for-ever", 1, &[]);
    let producer = producer();
    let delivery = producer.enqueue(record(&topic, "v")).await.unwrap();
    let closed = producer.close(Duration::MAX).await;
    assert_eq!(closed.not_persisted + closed.unknown, 0);
    delivery.await.unwrap();
}

#[tokio::test]
async fn a_closed_producer_refuses_every_way_to_send_and_gives_the_record_back() {
    let producer = producer();
    producer.close(PATIENCE).await;
    let again = {
        let producer = producer.clone();
        tokio::task::spawn_blocking(move || producer.blocking().send(record("t", "v")))
    };
    let errors = [
        producer.send(record("t", "v")).await.unwrap_err(),
        producer.enqueue(record("t", "v")).await.unwrap_err(),
        producer.try_send(record("t", "v")).unwrap_err(),
        producer
            .send_and_forget(record("t", "v"))
            .await
            .unwrap_err(),
        producer
            .send_record(Record::new("t").value("v"))
            .await
            .unwrap_err(),
        again.await.unwrap().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(*error.code(), Code::Closed);
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!(error.attempts(), 0);
        assert_eq!(
            error.into_record().unwrap().value.as_deref(),
            Some(&b"v"[..])
        );
    }
    assert!(producer.partitions_for("t").await.is_err());
    producer.flush().await;
}

// === blocking ===

#[test]
fn a_blocking_send_needs_no_runtime() {
    let topic = topic(support::kafka(), "blocking", 1, &[]);
    let producer = producer();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (producer, topic) = (producer.clone(), topic.clone());
            thread::spawn(move || {
                for _ in 0..25 {
                    producer
                        .blocking()
                        .timeout(Duration::MAX)
                        .send(record(&topic, "v"))
                        .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(values(&topic).len(), 100);
}

#[test]
fn a_blocking_send_is_refused_where_async_tasks_run() {
    let topic = topic(support::kafka(), "refused", 1, &[]);
    let producer = producer();
    let runtimes = [
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    ];
    for runtime in runtimes {
        let runtime = runtime.unwrap();
        let send = {
            let (producer, topic) = (producer.clone(), topic.clone());
            move || producer.blocking().send(record(&topic, "v"))
        };
        let (inside, spawned, apart) = (send.clone(), send.clone(), send.clone());
        let refused = runtime.block_on(async move {
            [
                inside().unwrap_err(),
                tokio::spawn(async move { spawned().unwrap_err() })
                    .await
                    .unwrap(),
            ]
        });
        for error in refused {
            assert_eq!(*error.code(), Code::WouldBlock);
            assert_eq!(error.persistence(), Persistence::NotPersisted);
            assert_eq!(
                error.into_record().unwrap().value.as_deref(),
                Some(&b"v"[..])
            );
        }
        runtime
            .block_on(async move { tokio::task::spawn_blocking(apart).await.unwrap() })
            .unwrap();
        // A thread that merely knows a runtime runs no tasks.
        let _entered = runtime.enter();
        send().unwrap();
    }
    assert_eq!(values(&topic).len(), 4);
}

/// The engine's thread would wait for itself.
#[test]
fn a_blocking_send_in_a_callback_is_refused() {
    let topic = topic(support::kafka(), "callback", 1, &[]);
    let producer = producer();
    let (told, hears) = mpsc::channel();
    let inner = producer.clone();
    let name = topic.clone();
    block_on(
        producer.send_with(record(&topic, "v"), move |_| {
            let sent = inner
                .blocking()
                .timeout(Duration::from_secs(5))
                .send(record(&name, "never"));
            told.send(sent).unwrap();
        }),
        PATIENCE,
    )
    .unwrap();
    let error = hears.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!(*error.code(), Code::WouldBlock, "{error}");
    assert!(error.into_record().is_some());
    assert_eq!(values(&topic), ["v"]);
}

#[test]
fn a_blocking_sends_time_out_says_what_became_of_the_record() {
    let mock = Mock::with_topic("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (producer, deliveries) = runtime.block_on(full(&mock, "1000"));
    let blocking = || producer.blocking();

    // It waits for room: not sent, and here it is again.
    let started = Instant::now();
    let error = blocking()
        .timeout(Duration::from_millis(300))
        .send(record("t", "v"))
        .unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(error.attempts(), 0);
    assert!(error.into_record().is_some());

    // Longer than max.block.ms: that is over first.
    let started = Instant::now();
    let error = blocking()
        .timeout(PATIENCE)
        .send(record("t", "v"))
        .unwrap_err();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(*error.code(), Code::NoRoom);
    assert!(error.into_record().is_some());
    let error = blocking().send(record("t", "v")).unwrap_err();
    assert_eq!(*error.code(), Code::NoRoom);
    drop(deliveries);
    block_on(producer.close(Duration::ZERO), PATIENCE).unwrap();

    // It is on its way: it goes on without its caller.
    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap()).build().unwrap();
    producer.blocking().send(record("t", "first")).unwrap();
    mock.round_trip(Duration::from_secs(2));
    let error = producer
        .blocking()
        .timeout(Duration::from_millis(300))
        .send(record("t", "v"))
        .unwrap_err();
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert_eq!(error.attempts(), 1);
    assert!(error.to_string().contains("\"t\""), "{error}");
    assert!(error.into_record().is_none());
    assert!(eventually(|| producer.room().totals().delivered == 2));
}

#[test]
fn a_blocking_send_can_be_interrupted_from_another_thread() {
    let mock = Mock::with_topic("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let interrupted = |producer: &Producer<String, String>| {
        let interrupt = Interrupt::new();
        let raiser = {
            let interrupt = interrupt.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(200));
                interrupt.interrupt();
            })
        };
        let started = Instant::now();
        let error = producer
            .blocking()
            .interrupted_by(&interrupt)
            .send(record("t", "v"))
            .unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(20));
        raiser.join().unwrap();
        assert_eq!(*error.code(), Code::Interrupted);
        error
    };

    let (producer, _deliveries) = runtime.block_on(full(&mock, "60000"));
    let error = interrupted(&producer);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.into_record().is_some());
    block_on(producer.close(Duration::ZERO), PATIENCE).unwrap();

    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap()).build().unwrap();
    producer.blocking().send(record("t", "first")).unwrap();
    mock.round_trip(Duration::from_secs(2));
    let error = interrupted(&producer);
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert!(error.into_record().is_none());
    assert!(eventually(|| producer.room().totals().delivered == 2));
}

#[test]
fn an_interrupt_that_was_raised_before_sends_nothing() {
    let topic = topic(support::kafka(), "interrupted", 1, &[]);
    let producer = producer();
    let interrupt = Interrupt::new();
    interrupt.interrupt();
    assert!(interrupt.is_raised());
    let error = producer
        .blocking()
        .interrupted_by(&interrupt)
        .send(record(&topic, "v"))
        .unwrap_err();
    assert_eq!(*error.code(), Code::Interrupted);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.into_record().is_some());
    assert_eq!(producer.room().totals().settled(), 0);
    assert_eq!(producer.room().outstanding(), 0);
}

// === what errors say ===

/// In every key, value and header value of this test, and in no error.
const CANARY: &str = "xyzzy-canary";

fn secret(topic: &str) -> ProducerRecord<String, String> {
    record(topic, format!("{CANARY} value"))
        .key(format!("{CANARY} key"))
        .header("h", format!("{CANARY} header"))
}

struct Guard;

impl Interceptor for Guard {
    type Token = ();

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        match &*record.topic {
            "refused" => Err(Failure::new(Code::Refused).detail("as a test")),
            "panic" => panic!("as a test"),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn no_error_shows_a_key_a_value_or_a_headers_value() {
    let mut errors: Vec<(Code, SendError)> = vec![];
    let mut seen = |code: Code, error: SendError| {
        assert_eq!(*error.code(), code, "{error}");
        errors.push((code, error));
    };
    let build = |mock: &Mock| {
        builder(mock.bootstrap())
            .property("max.block.ms", "300")
            .property("retries", "1")
            .property("retry.backoff.ms", "1")
            .property("linger.ms", "0")
            .property("request.timeout.ms", "3000")
            .property("delivery.timeout.ms", "3000")
            .property("max.request.size", "50000")
            .property("buffer.memory", "200000")
            .layer(InterceptorLayer::new(Guard))
            .build()
            .unwrap()
    };
    let mock = Mock::with_topic("t", 1);
    let producer = build(&mock);
    producer.send(secret("t")).await.unwrap();

    seen(
        Code::Refused,
        producer.send(secret("refused")).await.unwrap_err(),
    );
    seen(
        Code::Refused,
        producer.send(secret("panic")).await.unwrap_err(),
    );
    seen(
        Code::InvalidRecord,
        producer.send(secret("t").partition(-1)).await.unwrap_err(),
    );
    seen(
        Code::InvalidRecord,
        producer.send(secret("t").timestamp(-1)).await.unwrap_err(),
    );
    seen(
        Code::InvalidRecord,
        producer
            .send(secret("t").header("", CANARY))
            .await
            .unwrap_err(),
    );
    let unknown = producer.send(secret("t").partition(9)).await.unwrap_err();
    seen(Code::UnknownTopicOrPartition, unknown);
    for size in [50_000, 300_000] {
        let large = producer
            .send(secret("t").value(CANARY.repeat(size / 10)))
            .await;
        seen(Code::RecordTooLarge, large.unwrap_err());
    }
    seen(
        Code::WouldBlock,
        producer.blocking().send(secret("t")).unwrap_err(),
    );
    mock.topic_answers("nowhere", Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    let unknown = producer.send(secret("nowhere")).await.unwrap_err();
    seen(Code::UnknownTopicOrPartition, unknown);
    mock.topic_answers(
        "denied",
        Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    );
    seen(
        Code::Authorization,
        producer.send(secret("denied")).await.unwrap_err(),
    );
    let broker = [
        Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        Answer::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD,
        Answer::RD_KAFKA_RESP_ERR_UNKNOWN,
    ];
    for answer in broker {
        let mock = Mock::with_topic("t", 1);
        let producer = build(&mock);
        producer.send(secret("t")).await.unwrap();
        mock.answers(Api::Produce, &[answer; 20]);
        let error = producer.send(secret("t")).await.unwrap_err();
        seen(error.code().clone(), error);
    }
    let fatal = Mock::with_topic("t", 1);
    fatal.answers(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    seen(
        Code::Fatal,
        build(&fatal).send(secret("t")).await.unwrap_err(),
    );

    mock.round_trip(Duration::from_secs(100));
    let blocking = {
        let producer = producer.clone();
        tokio::task::spawn_blocking(move || {
            let interrupt = Interrupt::new();
            let late = producer
                .blocking()
                .timeout(Duration::from_millis(50))
                .send(secret("t"));
            let raiser = interrupt.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                raiser.interrupt();
            });
            let interrupted = producer
                .blocking()
                .interrupted_by(&interrupt)
                .send(secret("t"));
            [late.unwrap_err(), interrupted.unwrap_err()]
        })
    };
    let [late, interrupted] = blocking.await.unwrap();
    seen(Code::TimedOut, late);
    seen(Code::Interrupted, interrupted);
    seen(
        Code::TimedOut,
        producer.send(secret("t")).await.unwrap_err(),
    );
    let large = || secret("t").value(CANARY.repeat(3_000));
    let error = loop {
        match producer.enqueue(large()).await {
            Ok(delivery) => drop(delivery),
            Err(error) => break error,
        }
    };
    seen(Code::NoRoom, error);
    seen(Code::NoRoom, producer.try_send(large()).unwrap_err());
    let last = producer.partitions_for("t").await.unwrap_err();
    seen(last.code().clone(), last);
    producer.close(Duration::ZERO).await;
    seen(Code::Closed, producer.send(secret("t")).await.unwrap_err());

    for (code, error) in errors {
        let text = sources(&error);
        assert!(!text.contains("xyzzy"), "{code}: {text}");
        assert!(text.contains("topic \""), "{code} names no topic: {text}");
        assert!(text.contains("To do: "), "{code}: {text}");
        // The record comes back whole, and does not show what it holds either.
        if let Some(record) = error.into_record() {
            assert!(record.key.as_ref().unwrap().starts_with(CANARY.as_bytes()));
            let text = format!("{record:?} {:?}", Parts::clone(&record));
            assert!(!text.contains("xyzzy"), "{text}");
        }
    }
}

#[test]
fn a_record_does_not_show_its_payload_in_debug() {
    let text = format!("{:?}", secret("orders"));
    assert!(text.contains("orders"), "{text}");
    assert!(!text.contains("xyzzy"), "{text}");
}

#[tokio::test]
async fn partitions_are_shared_out_among_keys() {
    let topic = topic(support::kafka(), "spread", 10, &[]);
    let producer = producer();
    let mut partitions = HashSet::new();
    for i in 0..100 {
        let record = record(&topic, "v").key(format!("key {i}"));
        partitions.insert(producer.send(record).await.unwrap().partition);
    }
    assert_eq!(partitions.len(), 10);
    assert!(partitions.iter().all(|&p| p < partition(10)));
}

/// A foreign layer that sheds some records, as tower's own do.
#[derive(Clone)]
struct Shed<S>(S);

impl<S: franking::Produce> tower::Service<franking::Record> for Shed<S> {
    type Response = franking::RecordMetadata;
    type Error = franking::BoxError;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<franking::RecordMetadata, franking::BoxError>> + Send>,
    >;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), franking::BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, record: franking::Record) -> Self::Future {
        if record.value.as_deref() == Some(b"no") {
            return Box::pin(async { Err("shed".into()) });
        }
        let sent = self.0.call(record);
        Box::pin(async move { sent.await.map_err(Into::into) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_a_foreign_layer_sheds_keep_no_room_from_others() {
    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap())
        .property("buffer.memory", "16384")
        .property("max.block.ms", "10000")
        .layer(franking::tower(tower_layer::layer_fn(Shed)))
        .build()
        .unwrap();
    waiters_hand_room_on(&mock, &producer, "by a foreign layer", || record("t", "no")).await;
}

#[test]
fn a_full_buffer_in_a_runtime_without_time_is_refused_and_not_a_panic() {
    let mock = Mock::with_topic("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let producer = builder(mock.bootstrap())
            .property("buffer.memory", "16384")
            .build()
            .unwrap();
        mock.down();
        while producer.try_send(record("t", "v".repeat(100))).is_ok() {}
        let error = producer.send(record("t", "v")).await.unwrap_err();
        assert_eq!(*error.code(), Code::WouldBlock);
        assert!(error.into_record().is_some());
    });
}

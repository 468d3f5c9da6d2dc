//! Names of headers that are not text come through, where rust-rdkafka's own reading panics.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers as _;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::*;

/// What is written, and what comes back: a name ends at its NUL.
const HEADERS: [(&CStr, Option<&[u8]>); 5] = [
    (c"plain", Some(b"text")),
    (c"bad\xff\xfename", Some(b"\xff\0")),
    (c"", Some(b"")),
    (c"null", None),
    (c"plain", Some(b"again")),
];

/// Sends a record that the safe API of no Rust client would send.
fn send_raw(bootstrap: &str, topic: &CStr) {
    use rd::rd_kafka_vtype_t::{
        RD_KAFKA_VTYPE_END as END, RD_KAFKA_VTYPE_HEADER as HEADER, RD_KAFKA_VTYPE_TOPIC as TOPIC,
    };
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let header = |at: usize| {
        let (name, value) = HEADERS[at];
        let data = value.map_or(std::ptr::null(), <[u8]>::as_ptr);
        let size = value.map_or(0, |value| value.len().cast_signed());
        (name.as_ptr(), data, size)
    };
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(header);
    // SAFETY: the producer is alive; each type is followed by what it takes, and END is the last; all is copied.
    let code = unsafe {
        rd::rd_kafka_producev(
            producer.client().native_ptr(),
            TOPIC as c_int,
            topic.as_ptr(),
            HEADER as c_int,
            a.0,
            a.1,
            a.2,
            HEADER as c_int,
            b.0,
            b.1,
            b.2,
            HEADER as c_int,
            c.0,
            c.1,
            c.2,
            HEADER as c_int,
            d.0,
            d.1,
            d.2,
            HEADER as c_int,
            e.0,
            e.1,
            e.2,
            END as c_int,
        )
    };
    assert_eq!(code as i32, 0);
    producer.flush(Duration::from_secs(30)).unwrap();
}

#[test]
fn names_that_are_not_text_are_read() {
    let client = client::<()>(&[]);
    create(&client, "t", 1);
    let bootstrap = bootstrap(&client);
    send_raw(&bootstrap, c"t");

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("group.id", "reader")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset("t", 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&partitions).unwrap();
    let message = consumer.poll(Duration::from_secs(30)).unwrap().unwrap();

    let expected = HEADERS.map(|(name, value)| (name.to_bytes(), value));
    let read: Vec<_> = ConsumedHeaders::new(message.headers().unwrap()).collect();
    assert_eq!(read, expected);

    // The reason for all this. If it does not panic any more, this module can go.
    let its_own = std::panic::catch_unwind(|| message.headers().unwrap().get(1).key.len());
    assert!(
        its_own.is_err(),
        "rust-rdkafka reads such a name: {its_own:?}"
    );

    // A copy holds the same, and lives on without the consumer.
    let owned = message.detach();
    drop(message);
    drop(consumer);
    let copy = owned.headers().unwrap().as_borrowed();
    assert_eq!(ConsumedHeaders::new(copy).collect::<Vec<_>>(), expected);
    let none = rdkafka::message::OwnedHeaders::new();
    assert_eq!(ConsumedHeaders::new(none.as_borrowed()).next(), None);
}

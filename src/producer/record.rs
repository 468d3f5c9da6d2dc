//! What an application sends: a record with typed key and value.

use franking_core::{HeaderValue, Headers, InvalidHeaderName, Topic};

/// A record before it is serialized: topic, and as the application likes partition, timestamp, key, value and headers.
///
/// ```
/// use franking::ProducerRecord;
///
/// let paid: ProducerRecord<String, i64> = ProducerRecord::new("payments")
///     .key("order-17".to_owned())
///     .value(4_999)
///     .header("currency", "EUR");
/// let deleted: ProducerRecord<String, i64> = ProducerRecord::new("payments").key("order-17".to_owned());
/// # let _ = (paid, deleted);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a record does nothing until it is sent"]
pub struct ProducerRecord<K, V> {
    pub(super) topic: Topic,
    pub(super) partition: Option<i32>,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<K>,
    pub(super) value: Option<V>,
    pub(super) headers: Headers,
    /// The first header that was refused: the send says so.
    pub(super) invalid: Option<InvalidHeaderName>,
}

impl<K, V> ProducerRecord<K, V> {
    /// A record to this topic with neither key nor value: a tombstone without a key, until they are set.
    pub fn new(topic: impl Into<Topic>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Headers::new(),
            invalid: None,
        }
    }

    /// Sets the key; without one it is null, and the partitioner sticks to a partition for a batch.
    pub fn key(mut self, key: K) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the value; without one it is null: a tombstone.
    pub fn value(mut self, value: V) -> Self {
        self.value = Some(value);
        self
    }

    /// Chooses the partition instead of the partitioner.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the time, in milliseconds since the epoch; without one it is the time of the send.
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }

    /// Adds a header behind the others; a name may repeat, and `None::<&str>` is Kafka's null. A name that Kafka does
    /// not take (empty, or with control characters) is refused by the send, with
    /// [`Code::InvalidRecord`](crate::Code::InvalidRecord).
    pub fn header(mut self, name: &str, value: impl HeaderValue) -> Self {
        if let Err(error) = self.headers.append(name, value) {
            self.invalid.get_or_insert(error);
        }
        self
    }
}

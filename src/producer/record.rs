//! What an application sends: a record with typed key and value.

use std::fmt;

use franking_core::{ConsumerRecord, HeaderValue, InvalidHeaderName, Record, Topic};

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
#[derive(Clone)]
#[must_use = "a record does nothing until it is sent"]
pub struct ProducerRecord<K, V> {
    /// Everything but key and value.
    pub(super) record: Record,
    pub(super) key: Option<K>,
    pub(super) value: Option<V>,
    /// The first header that was refused: the send says so.
    pub(super) invalid: Option<InvalidHeaderName>,
}

impl<K, V> ProducerRecord<K, V> {
    /// A record to this topic with neither key nor value: a tombstone without a key, until they are set.
    pub fn new(topic: impl Into<Topic>) -> Self {
        Self {
            record: Record::new(topic),
            key: None,
            value: None,
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
        self.record.partition = Some(partition);
        self
    }

    /// Sets the time, in milliseconds since the epoch; without one it is the time of the send.
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.record.timestamp = Some(millis);
        self
    }

    /// Adds a header behind the others; a name may repeat, and `None::<&str>` is Kafka's null. A name that Kafka does
    /// not take (empty, or with control characters) is refused by the send, with
    /// [`Code::InvalidRecord`](crate::Code::InvalidRecord).
    pub fn header(mut self, name: &str, value: impl HeaderValue) -> Self {
        if let Err(error) = self.record.headers.append(name, value) {
            self.invalid.get_or_insert(error);
        }
        self
    }

    /// Says that this record was made of a consumed one, so that its path and its trace go on: see [`Record::derive`]. To
    /// pass one on as it is, [`Record::forward`] and [`send_record`](crate::Producer::send_record).
    pub fn derive<'m, N, H>(mut self, consumed: ConsumerRecord<'m, H>) -> Self
    where
        N: AsRef<[u8]>,
        H: IntoIterator<Item = (N, Option<&'m [u8]>)>,
    {
        self.record = self.record.derive(consumed);
        self
    }
}

// Keys and values can be confidential: only whether they are there.
impl<K, V> fmt::Debug for ProducerRecord<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerRecord")
            .field("topic", &self.record.topic)
            .field("partition", &self.record.partition)
            .field("timestamp", &self.record.timestamp)
            .field("has_key", &self.key.is_some())
            .field("has_value", &self.value.is_some())
            .field("headers", &self.record.headers)
            .finish_non_exhaustive()
    }
}

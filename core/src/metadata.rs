//! What an acknowledgement says.

use crate::Topic;

/// Where and when an acknowledged record was written, as Java's `RecordMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition; `None` where the broker did not say it (`acks=0`, or the answer to a duplicate).
    pub offset: Option<i64>,
    /// Milliseconds since the epoch: the record's own time, or the broker's if the topic has `LogAppendTime`.
    pub timestamp: Option<i64>,
    /// Bytes of the serialized key; `None` for a null key.
    pub serialized_key_size: Option<usize>,
    /// Bytes of the serialized value; `None` for a tombstone.
    pub serialized_value_size: Option<usize>,
}

/// Where the engine placed a record: the part of [`RecordMetadata`] that is not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset, if the broker said it; engines never invent one.
    pub offset: Option<i64>,
    /// The broker's or the record's time, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

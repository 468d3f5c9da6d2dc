//! What became of the records of a bucket.

use franking_core::Topic;

use super::Latency;

/// What became of the records of one topic in one bucket of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// The topic; `None` for what found no place, and for totals.
    pub topic: Option<Topic>,
    /// When the bucket begins, in milliseconds since the epoch; `None` for what found no place, and for totals.
    pub bucket_start: Option<i64>,
    /// Came into the layer.
    pub attempted: Count,
    /// Was acknowledged.
    pub delivered: Count,
    /// Failed, and is not in the topic.
    pub not_persisted: Count,
    /// Failed, and may be in the topic.
    pub unknown: Count,
    /// Has no outcome yet.
    pub in_flight: Count,
    /// Of those with an outcome: the engine had them more than once.
    pub retried: Count,
    /// Of those that failed: the engine never had them, for a layer refused them.
    pub refused: Count,
    /// Of those attempted: came when their bucket should have been reported already.
    pub late: Count,
    /// From the send to the acknowledgement, of those delivered.
    pub latency: Latency,
}

/// A number of records, and the bytes of their keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// How many.
    pub records: u64,
    /// Bytes of their keys and values; a record counts at most 4 GiB.
    pub bytes: u64,
}

impl Balance {
    /// Whether every record that was attempted has one outcome, or is in flight.
    pub fn holds(&self) -> bool {
        self.attempted == self.settled() + self.in_flight
    }

    fn settled(&self) -> Count {
        self.delivered + self.not_persisted + self.unknown
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attempted == Count::default() && self.settled() == Count::default()
    }

    /// Adds the counts; latencies do not add up.
    pub(super) fn add(&mut self, other: &Balance) {
        self.attempted = self.attempted + other.attempted;
        self.delivered = self.delivered + other.delivered;
        self.not_persisted = self.not_persisted + other.not_persisted;
        self.unknown = self.unknown + other.unknown;
        self.in_flight = self.in_flight + other.in_flight;
        self.retried = self.retried + other.retried;
        self.refused = self.refused + other.refused;
        self.late = self.late + other.late;
    }
}

impl std::ops::Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Count {
    pub(super) fn saturating_sub(self, other: Count) -> Count {
        Count {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    pub(super) fn wrapping_add(self, other: Count) -> Count {
        Count {
            records: self.records.wrapping_add(other.records),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    pub(super) fn wrapping_sub(self, other: Count) -> Count {
        Count {
            records: self.records.wrapping_sub(other.records),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

//! The engines: what stands innermost in a stack, batches records and moves them to brokers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use franking_core::{Code, Failure, Room};

use self::pace::Pace;

pub mod pace;
pub mod rdkafka;

/// A future of an engine's housekeeping.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a producer asks of its engine beside sending. One engine has one; its handles share it.
pub trait Control: Send + Sync + 'static {
    /// The buffer, and the ledger of what is outstanding.
    fn room(&self) -> &Arc<Room>;

    /// What keeps a producer's senders from running far ahead of the acknowledgements.
    fn pace(&self) -> &Pace;

    /// Sends without lingering and resolves when every record accepted before has its final outcome.
    fn flush(&self) -> Task<()>;

    /// Takes no more records, flushes until the deadline, then settles the rest. It resolves when that is done, also
    /// for the second who asks. Dropping the future does not stop the closing.
    fn close(&self, deadline: Instant) -> Task<Closed>;

    /// How many partitions the topic has, asked from a broker within the time.
    fn partitions(&self, topic: &str, timeout: Duration) -> Task<Result<usize, Failure>>;
}

/// What became of the records that were outstanding when a producer was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Acknowledged while closing.
    pub delivered: u64,
    /// Surely not in the topic.
    pub not_persisted: u64,
    /// Sent, with no answer that proves what became of them.
    pub unknown: u64,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} delivered, {} not persisted, {} unknown",
            self.delivered, self.not_persisted, self.unknown
        )
    }
}

/// Why a closed producer refuses.
pub(crate) fn closed() -> Failure {
    Failure::new(Code::Closed)
}

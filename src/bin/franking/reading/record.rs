//! A record as it was read.

use franking::provenance::{Consumed as _, Provenance};
use rdkafka::{Message as _, message::BorrowedMessage};

/// How many headers are kept; the reader of provenance looks at no more.
const MOST_HEADERS: usize = 4097;

/// All of a message that is shown.
pub(crate) struct Record<'m> {
    pub(crate) topic: &'m str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'m [u8]>,
    pub(crate) value: Option<&'m [u8]>,
    /// Names need not be text.
    pub(crate) headers: Vec<(&'m [u8], Option<&'m [u8]>)>,
    pub(crate) provenance: Provenance<'m>,
}

impl<'m> Record<'m> {
    pub(crate) fn of(message: &'m BorrowedMessage<'_>) -> Self {
        let headers: Vec<_> = message.raw_headers().take(MOST_HEADERS).collect();
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            provenance: Provenance::read(headers.iter().copied()),
            headers,
        }
    }
}

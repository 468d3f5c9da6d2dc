//! The headers of rust-rdkafka's messages.

use franking_core::ConsumerRecord;
use franking_middleware::provenance::Provenance;
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders, OwnedMessage};

use crate::engine::rdkafka::ConsumedHeaders;

/// A message of rust-rdkafka that was consumed.
///
/// ```
/// use franking::provenance::{Consumed, Header, Provenance};
/// use rdkafka::message::{Header as Pair, OwnedHeaders, OwnedMessage, Timestamp};
///
/// let headers = OwnedHeaders::new()
///     .insert(Pair { key: "prov-origin", value: Some("service.name=checkout") })
///     .insert(Pair { key: "prov-seq", value: Some("7") });
/// let message = OwnedMessage::new(
///     None, None, "orders".to_owned(), Timestamp::NotAvailable, 0, 0, Some(headers),
/// );
/// let read = message.provenance();
/// assert_eq!(read.service(), Some("checkout"));
/// assert_eq!(read.sequence.map(|sequence| sequence.number), Some(7));
///
/// let record = franking::Record::new("orders.eu").forward(message.consumed());
/// assert_eq!(record.history.as_ref().unwrap().topic(), "orders");
/// ```
pub trait Consumed {
    /// Names and values in their order, as librdkafka has them. **Not** as rust-rdkafka's own `headers()`, which panics
    /// at a name that is not UTF-8; and whoever can write to the topic can write one.
    ///
    /// A name ends at its first NUL, for librdkafka does not tell how long it is.
    fn raw_headers(&self) -> RawHeaders<'_>;

    /// What the headers say.
    fn provenance(&self) -> Provenance<'_> {
        Provenance::read(self.raw_headers())
    }

    /// What [`Record::forward`](crate::Record::forward) and [`Record::derive`](crate::Record::derive) take.
    fn consumed(&self) -> ConsumerRecord<'_, RawHeaders<'_>>;
}

impl Consumed for BorrowedMessage<'_> {
    fn raw_headers(&self) -> RawHeaders<'_> {
        RawHeaders(self.headers().map(ConsumedHeaders::new))
    }

    fn consumed(&self) -> ConsumerRecord<'_, RawHeaders<'_>> {
        consumer_record(self, self.raw_headers())
    }
}

impl Consumed for OwnedMessage {
    fn raw_headers(&self) -> RawHeaders<'_> {
        let headers = self.headers().map(OwnedHeaders::as_borrowed);
        RawHeaders(headers.map(ConsumedHeaders::new))
    }

    fn consumed(&self) -> ConsumerRecord<'_, RawHeaders<'_>> {
        consumer_record(self, self.raw_headers())
    }
}

fn consumer_record<'m>(
    message: &'m impl Message,
    headers: RawHeaders<'m>,
) -> ConsumerRecord<'m, RawHeaders<'m>> {
    ConsumerRecord::new(
        message.topic(),
        message.partition(),
        message.offset(),
        headers,
    )
    .key(message.key())
    .value(message.payload())
    .timestamp(message.timestamp().to_millis())
}

/// Names and values of a message's headers, in their order; `None` for null.
#[derive(Clone, Debug)]
pub struct RawHeaders<'m>(Option<ConsumedHeaders<'m>>);

impl<'m> Iterator for RawHeaders<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next()
    }
}

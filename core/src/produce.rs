//! The contract as a trait.

use std::future::Future;

use tower_service::Service;

use crate::{Delivery, Record, RecordMetadata, SendError, delivery::SendResult};

/// A service that sends records and keeps the [six promises](crate#the-six-promises).
///
/// Implemented for every service of this shape; it is the bound to write on a layer's inner service.
pub trait Produce:
    Service<
        Record,
        Response = RecordMetadata,
        Error = SendError,
        Future: From<Delivery> + Future<Output = SendResult> + Send + 'static,
    >
{
}

impl<S> Produce for S
where
    S: Service<Record, Response = RecordMetadata, Error = SendError>,
    S::Future: From<Delivery> + Send + 'static,
{
}

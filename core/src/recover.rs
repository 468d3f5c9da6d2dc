//! Recoverers: layers that change outcomes.

use std::{fmt, sync::Arc};

use tower_service::Service;

use crate::{Failure, Parts, Record, RecordMetadata, SendError, flight::Flight, room::Closing};

/// Gets the records that failed below it: retry, dead letter, fallback.
///
/// A layer pushes one with [`Record::push_recover`]. When the unwinding of a failure reaches it, it keeps the record (and
/// sends it again later, on a task of its own) or declines, and the unwinding goes on outward. So layers inside it see
/// attempts, layers outside see the final outcome once, and it is all the same whether the caller still listens.
pub trait Recover: Send + Sync + 'static {
    /// Takes the failed record. Runs on the engine's thread: it must neither block nor send from within. Dropping
    /// `failed` declines, so a panic or a runtime that goes away loses nothing.
    fn recover(self: Arc<Self>, failed: Failed);
}

/// A record that failed, in the hands of a recoverer. Its room in the buffer, its caller and the hooks further out
/// travel with it; `flush` and `close` wait for it.
pub struct Failed(Option<Held>);

struct Held {
    record: Record,
    failure: Failure,
    flight: Flight,
    ticket: u32,
}

impl Failed {
    pub(crate) fn new(record: Record, failure: Failure, flight: Flight, ticket: u32) -> Self {
        Self(Some(Held {
            record,
            failure,
            flight,
            ticket,
        }))
    }

    /// Why it failed.
    pub fn failure(&self) -> &Failure {
        &self.held().failure
    }

    /// The record.
    pub fn record(&self) -> &Parts {
        &self.held().record
    }

    /// How often the engine was called with it so far.
    pub fn attempts(&self) -> u32 {
        self.held().flight.attempts()
    }

    /// The number that came with the recoverer ([`Record::push_recover_with`]), or 0. It stays through resends.
    pub fn ticket(&self) -> u32 {
        self.held().ticket
    }

    /// Resolves when the producer's time to close is over: decline then, for nothing can be sent any more.
    pub fn closing(&self) -> Closing {
        match &self.held().flight.permit {
            Some(permit) => permit.closing(),
            None => Closing::never(),
        }
    }

    /// Leaves the failure as it is: unwinding goes on outward, on this thread.
    pub fn decline(mut self) {
        self.end();
    }

    /// As [`decline`](Self::decline), with a failure that says more than the one it had: why it was declined. Whether the
    /// record is in the topic is not the recoverer's to say; that stays as it was.
    pub fn decline_as(mut self, failure: Failure) {
        if let Some(held) = &mut self.0 {
            held.failure = failure.with_persistence(held.failure.persistence());
        }
        self.end();
    }

    /// Sends the record again through this service, with the recoverer on it for the next failure if one is given. The
    /// first caller's future resolves with the final outcome.
    ///
    /// The record holds its room already, so the service is called without waiting for `poll_ready`.
    pub fn resend<S>(mut self, service: &mut S, recover: Option<Arc<dyn Recover>>)
    where
        S: Service<Record, Response = RecordMetadata, Error = SendError>,
    {
        if let Some(held) = self.0.take() {
            let mut record = held.record;
            record.board(held.flight);
            if let Some(recover) = recover {
                record.push_recover_with(recover, held.ticket);
            }
            drop(service.call(record));
        }
    }

    fn end(&mut self) {
        if let Some(held) = self.0.take() {
            held.flight
                .fail(held.failure, held.record, std::time::Instant::now());
        }
    }

    fn held(&self) -> &Held {
        // Empty only within the methods that consume it.
        self.0
            .as_ref()
            .expect("a Failed holds its record until it is consumed")
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("record", self.record())
            .field("failure", self.failure())
            .finish_non_exhaustive()
    }
}

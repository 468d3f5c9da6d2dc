//! The contract of franking: what a Kafka producer is as a tower `Service`, and what everything in its stack promises.
//!
//! An application hands a [`Record`] to a stack of layers; innermost stands an engine that batches and sends.
//!
//! ```text
//! Record ─▶ layers, outside in ─▶ engine: partition, batch, compress, send
//! Delivery ◀────────────────────── acknowledgement: unwinds hooks and recoverers, innermost first, then wakes the caller
//! ```
//!
//! # The six promises
//! Every [`Produce`] (each engine, each layer, each whole stack) keeps them; the conformance suite
//! (`testing::conformance`, feature `testing`) checks them on any of yours.
//!
//! 1. **Room.** `poll_ready` waits, in arrival order, for room in the buffer and reserves some; `call` charges the
//!    record's true size and may overdraw by that one record, so `call` after ready never fails for want of room. What
//!    was reserved and not used is given back on drop, and a clone inherits none. An engine that cannot go on says so
//!    here, at once and for good. There is no time-out here: `max.block.ms` is the producer handle's.
//! 2. **Eager.** When `call` returns, the record is in its partition's queue (or its topic's, until the partitions are
//!    known), or has failed. So the order of records is the order of calls.
//! 3. **One outcome.** Delivered, not persisted, or unknown (possibly persisted): exactly one final outcome for each
//!    record, under every fault, cancellation and shutdown. With `acks=0` *delivered* means *sent*: there is no offset,
//!    and nobody confirmed it.
//! 4. **Detached.** Dropping the future never cancels the record, its hooks, or its retries.
//! 5. **Given back.** A failed record comes back to whoever can recover it, without having been cloned: first to
//!    [recoverers](Recover), then to the caller in the [`SendError`].
//! 6. **Order.** Records of one partition are acknowledged in the order of their calls, unless a layer says in its docs
//!    that it gives that up.
//!
//! # Outcomes are seen through hooks, not through futures
//! A future shows its outcome only to who polls it. So what watches (trace, audit, metrics) leaves a [`Hook`] on the
//! record, mostly as an [`Interceptor`], and the engine unwinds the hooks at the acknowledgement, whether or not anyone
//! listens: fire-and-forget, callbacks and `await` cost the same and see the same. What changes outcomes (retry, dead
//! letter) is a [`Recover`]er on the same stack of frames.
//!
//! # Writing an engine
//! In `poll_ready`, [`Reservation::poll`]. In `call`: [`Record::take_flight`], [`Flight::depart`] for the future,
//! [`Reservation::admit`] for the room, then queue the record. At the acknowledgement, with no lock held, [`Acks`].

mod clock;
mod delivery;
mod error;
mod escaped;
mod flight;
mod guard;
mod headers;
mod history;
mod interceptor;
mod metadata;
#[cfg(all(test, loom))]
mod models;
mod outcome;
mod partitioner;
mod produce;
mod record;
mod recover;
mod room;
mod serializer;
mod shares;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tokens;
mod topic;
mod tower;
mod wire;

pub use self::{
    delivery::{Delivery, SendResult, Slots},
    error::{BoxError, Code, Failure, Persistence, SendError},
    escaped::{Escaped, is_unsafe},
    flight::Flight,
    guard::hooks_panicked,
    headers::{HeaderName, HeaderValue, Headers, InvalidHeaderName, Iter as HeadersIter},
    history::{ConsumerRecord, History},
    interceptor::{Intercepted, Interceptor, InterceptorLayer},
    metadata::{Placed, RecordMetadata},
    outcome::{HeaderList, HeadersView, Hook, Outcome, Snapshot, View},
    partitioner::Partitioner,
    produce::Produce,
    record::{Parts, Record},
    recover::{Failed, Recover},
    room::{Acks, Closing, Flushed, Reservation, Room, Totals},
    serializer::{Preparing, Serializer},
    shares::{Share, Shares},
    topic::Topic,
    tower::{Tower, TowerLayer, tower},
};

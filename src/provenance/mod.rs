//! Reading it back: who wrote a record, when, in which trace, after which hops, and what of a writer's records is missing.
//!
//! All of it is [`franking_middleware::provenance`], which needs no Kafka client. With the feature `rdkafka`,
//! [`Consumed`] reads rust-rdkafka's borrowed and owned messages.

pub use franking_middleware::provenance::*;

#[cfg(feature = "rdkafka")]
mod consumed;

#[cfg(feature = "rdkafka")]
pub use consumed::{Consumed, RawHeaders};

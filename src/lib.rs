//! A Kafka producer whose send is a tower `Service`, with composable layers around a batching engine.
//!
//! Every record leaves with its provenance, is audited, traced, measured and retried safely, and no application code
//! changes: the stack is one line where the [`Producer`] is built. Each record has exactly one outcome (delivered, not
//! persisted, unknown), whether or not anybody waits for it.
//!
//! ```no_run
//! use franking::{DefaultStack, Producer, ProducerRecord, middleware::origin::Origin};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let producer: Producer<String, String> = Producer::builder()
//!     .property("bootstrap.servers", "localhost:9092")
//!     .property("key.serializer", "string")
//!     .property("value.serializer", "string")
//!     .layer(DefaultStack::new(Origin::new("checkout")?))
//!     .build()?;
//! let metadata = producer.send(ProducerRecord::new("orders").value("espresso".to_owned())).await?;
//! println!("{}-{}@{:?}", metadata.topic, metadata.partition, metadata.offset);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//! | for | see |
//! |---|---|
//! | ways to send, flush, close | [`Producer`] |
//! | properties, defaults, what is refused | [`config`] |
//! | tokens for SASL's OAUTHBEARER | [`oauthbearer`] |
//! | keys and values to bytes, as Java's; Avro, Protobuf, Thrift; schema registries | [`serializers`] |
//! | the layers of the default stack, and why each stands where it stands | [`DefaultStack`], [`middleware`] |
//! | partitioners, and one of your own | [`partitioners`], [`Partitioner`] |
//! | a layer of your own | [`Interceptor`], [`Recover`], [`tower()`] |
//! | reading it back: who, when, which trace, what is missing | [`provenance`] |
//! | records that are made of consumed ones | [`Record::forward`], [`Record::derive`] |
//! | what a record's error says | [`SendError`], [`Code`], [`Persistence`] |
//! | the engine on librdkafka, and its table of outcomes | [`engine::rdkafka`] |
//! | the six promises, and a suite that checks them on yours | [`Produce`], [`core`] |
//!
//! # Features
//! `zstd` (on): that compression. `tls`: TLS and SASL/SCRAM with the system's OpenSSL; `tls-vendored`: with one built from
//! source. `avro`, `protobuf`, `thrift`, `uuid`: a serializer each; `schema-registry`: the HTTP client of a schema registry;
//! `serializers`: all five. `rdkafka`: reads the provenance of rust-rdkafka's messages. `testing`: the scripted engine and
//! the conformance suite, for your own tests. `cli`: the `franking` program; a
//! library user leaves it off.

#![deny(unsafe_code)]

pub mod config;
pub mod engine;
pub mod oauthbearer;
pub mod partitioners;
pub mod producer;
pub mod provenance;
pub mod serializers;
pub mod stack;
mod timeout;

pub use franking_core as core;
#[doc(inline)]
pub use franking_core::*;
pub use franking_middleware as middleware;

pub use self::{
    engine::Closed,
    producer::{Blocking, BuildError, Interrupt, Producer, ProducerBuilder, ProducerRecord},
    stack::DefaultStack,
};

/// The programs in README and guides compile, and run.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/audit.md")]
    struct Audit;
    #[doc = include_str!("../docs/layers.md")]
    struct Layers;
    #[doc = include_str!("../docs/moving.md")]
    struct Moving;
    #[doc = include_str!("../docs/provenance.md")]
    struct AcrossAnOrganisation;
    #[doc = include_str!("../docs/traces.md")]
    struct Traces;
}

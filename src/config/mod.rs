//! Kafka's property names, checked all at once.
//!
//! A [`Properties`] is what somebody wrote; a [`Config`] is what the producer runs with. Between them,
//! [`Config::check`] looks at everything and reports every problem in one [`ConfigError`]: a missing or misspelt name, a
//! value out of range, two settings that cannot both hold, a name that this producer does not take, a cargo feature that
//! is not built in. Nothing is ignored silently.
//!
//! # Example
//!
//! ```
//! use franking::config::{Acks, Config, Properties, Required};
//!
//! let properties = Properties::parse(
//!     r"
//!     ## Two of the cluster's brokers; the others are found through them.
//!     bootstrap.servers = broker-1:9092, broker-2:9092
//!     linger.ms         = 20
//!     compression.type  = lz4
//!     ",
//! )?;
//! let config = Config::check(&properties, Required::default())?;
//! assert_eq!(config.acks(), Acks::All);
//! assert_eq!(config.linger().as_millis(), 20);
//!
//! let wrong = Properties::from_iter([
//!     ("bootstrap.servers", "broker-1"),
//!     ("enable.idempotence", "true"),
//!     ("acks", "1"),
//!     ("linger.sm", "20"),
//! ]);
//! let error = Config::check(&wrong, Required::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "the producer's configuration has 3 problems:\n\
//!      - `linger.sm`: no property has this name; did you mean `linger.ms`?\n\
//!      - `bootstrap.servers`: entry 1, `broker-1`, has no port; \
//!        write `host:port`; Kafka's usual port is 9092\n\
//!      - `acks`: idempotence needs the acknowledgement of all in-sync replicas, and `enable.idempotence` is true; \
//!        write `all`, or write `enable.idempotence=false`"
//! );
//! # Ok::<(), franking::config::ConfigError>(())
//! ```
//!
//! # Names and defaults
//!
//! The names are Java's, and so are the defaults (of 4.x), given with each getter of [`Config`]. Three differ:
//!
//! - `max.in.flight.requests.per.connection` is 1, not 5. If a broker refuses a request for the moment (too few replicas
//!   are in sync) and takes the next one, which was in flight already, librdkafka begins a new epoch for all partitions,
//!   and what is in flight elsewhere may be stored twice. If they were the first of their partition, librdkafka calls the
//!   refused one delivered, and this producer *unknown*. With one request in flight neither happens. Up to some hundred
//!   partitions a broker it was not slower (requests are fewer and fuller, and a broker works on one of a connection at a
//!   time); with 3,000, half as quick, as librdkafka sends one partition in a request: there, and with brokers far away, 5
//!   may be worth it. Java's producer recovers each partition for itself, and need not choose.
//! - `batch.size` is librdkafka's 1,000,000 bytes. Java's 16,384 costs half as much CPU again in librdkafka, which does not
//!   wait for a batch to fill any longer than `linger.ms`.
//! - `client.id` is `franking`, not a numbered `producer-1`.
//!
//! Any other property of librdkafka's producer goes through unchanged and keeps librdkafka's default; so do sockets and
//! metadata (`metadata.max.age.ms`, `send.buffer.bytes`, …), whose Java names are translated. Reconnecting is Java's
//! (`reconnect.backoff.ms` 50, `reconnect.backoff.max.ms` 1,000): librdkafka's 10 s made a partition stand still for
//! 7 s where its connection was cut every few seconds.
//! librdkafka's other name for a Java setting (`message.timeout.ms`) may stand in its place, but not beside it.
//!
//! # Secure connections
//!
//! TLS and SASL are set up by Java's names too: `ssl.truststore.location` and `ssl.keystore.location` for stores in PEM (a
//! key store may be PKCS#12), `sasl.jaas.config` with Kafka's own login modules; or by librdkafka's, `ssl.ca.location`,
//! `ssl.certificate.location`, `ssl.key.location`, `sasl.username`, `sasl.password`. OAUTHBEARER's tokens come from the
//! program, from a file, or for test clusters from nobody: see [`oauthbearer`](crate::oauthbearer).
//!
//! One property is this crate's own. `security.require.tls=true` (default `false`) refuses, when the producer is built,
//! every `security.protocol` without TLS, and TLS with anybody: `enable.ssl.certificate.verification=false`, and an
//! `ssl.endpoint.identification.algorithm` that is off. Without it a password (PLAIN) or token (OAUTHBEARER) that goes over
//! the network as it is, and such TLS, are in [`Config::warnings`].
//!
//! # Secrets
//!
//! No message and no `Debug` output of this module shows the value of a sensitive property, or of a misspelt one. The
//! values are in [`Config::librdkafka`], for the engine only.

mod bootstrap;
mod check;
mod error;
mod librdkafka;
mod names;
mod properties;
mod reader;
mod refused;
mod security;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::oauthbearer::TokenRetriever;

pub use error::{ConfigError, Problem, ProblemKind};
pub use properties::Properties;
pub use values::{Acks, Compression, PartitionerName, SecurityProtocol};

/// What the properties must say because the program does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// `key.serializer` must be set: the program gave no serializer for keys.
    pub key_serializer: bool,
    /// `value.serializer` must be set: the program gave no serializer for values.
    pub value_serializer: bool,
    /// With `sasl.mechanism=OAUTHBEARER`, a property must say where tokens come from: the program gave no
    /// [`TokenRetriever`].
    pub oauthbearer_token: bool,
}

/// A checked configuration. Every number is in the range that librdkafka takes, and nothing contradicts anything.
#[derive(Clone, Debug)]
pub struct Config {
    bootstrap_servers: Vec<String>,
    client_id: String,
    key_serializer: Option<String>,
    value_serializer: Option<String>,
    acks: Acks,
    idempotence: bool,
    max_in_flight: u32,
    linger: Duration,
    batch_size: usize,
    compression: Compression,
    compression_level: Option<i32>,
    delivery_timeout: Duration,
    request_timeout: Duration,
    max_block: Duration,
    buffer_memory: usize,
    max_request_size: usize,
    retries: u32,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    partitioner: PartitionerName,
    statistics_interval: Option<Duration>,
    security_protocol: SecurityProtocol,
    tokens: Option<security::Tokens>,
    warnings: Vec<Problem>,
    librdkafka: librdkafka::Pairs,
}

impl Config {
    /// Checks `properties`.
    ///
    /// # Errors
    ///
    /// Every problem there is, in one error: first those of names, in the order in which they were set, then those of
    /// values and of values together.
    pub fn check(properties: &Properties, required: Required) -> Result<Self, ConfigError> {
        check::check(properties, required, security::TLS)
    }

    /// `bootstrap.servers`: where the cluster is first looked for, each `host:port`. No default. Some may be down.
    pub fn bootstrap_servers(&self) -> &[String] {
        &self.bootstrap_servers
    }

    /// `client.id`: what brokers call this producer in their logs, metrics and quotas. Default `franking`, ours.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// `key.serializer`: the name of the serializer of keys, if a property gives one. The builder knows the names.
    pub fn key_serializer(&self) -> Option<&str> {
        self.key_serializer.as_deref()
    }

    /// `value.serializer`: the name of the serializer of values, if a property gives one. The builder knows the names.
    pub fn value_serializer(&self) -> Option<&str> {
        self.value_serializer.as_deref()
    }

    /// `acks`: who must have a record before it counts as delivered. Default [`Acks::All`], Java's.
    pub fn acks(&self) -> Acks {
        self.acks
    }

    /// `enable.idempotence`: whether the broker drops what the producer's own retries duplicate, and keeps the order.
    /// Default true, Java's; `acks` other than all or `retries=0` turn an unwritten one off, with a warning, as in Java.
    pub fn idempotence(&self) -> bool {
        self.idempotence
    }

    /// `max.in.flight.requests.per.connection`: unanswered requests a broker, at most. Default 1, not Java's 5 (why: see
    /// [the module](self)).
    pub fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// `linger.ms`: how long a batch waits for more records. Default 5 ms, Java's.
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// `batch.size`: bytes in a batch, at most. Default 1,000,000, librdkafka's (why: see [the module](self)).
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// `compression.type`: how batches are compressed. Default [`Compression::None`], Java's.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// `compression.gzip.level`, `.lz4.level`, `.zstd.level`, or librdkafka's `compression.level`: how hard. Default
    /// `None`, the codec's own.
    pub fn compression_level(&self) -> Option<i32> {
        self.compression_level
    }

    /// `delivery.timeout.ms`: how long after `send` a record's outcome is known at the latest, retries included. Default
    /// 120 s, Java's, or more if `linger.ms` and `request.timeout.ms` need it.
    pub fn delivery_timeout(&self) -> Duration {
        self.delivery_timeout
    }

    /// `request.timeout.ms`: how long one request waits for its answer. Default 30 s, Java's, and in Java's meaning:
    /// librdkafka gets it as `socket.timeout.ms` too.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// `max.block.ms`: how long a `send` may wait for room or for a topic's metadata. Default 60 s, Java's. People write
    /// very large numbers for "for ever": add it to an instant with care.
    pub fn max_block(&self) -> Duration {
        self.max_block
    }

    /// `buffer.memory`: bytes of records without an outcome, at most; counted outside librdkafka. Default 33,554,432,
    /// Java's.
    pub fn buffer_memory(&self) -> usize {
        self.buffer_memory
    }

    /// `max.request.size`: bytes of a record or a request, at most. Default 1,048,576, Java's.
    pub fn max_request_size(&self) -> usize {
        self.max_request_size
    }

    /// `retries`: how often the producer itself sends a batch again, at most. Default 2,147,483,647, Java's:
    /// `delivery.timeout.ms` is the limit that counts.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// `retry.backoff.ms`: the wait before the first retry; it doubles from there. Default 100 ms, Java's.
    pub fn retry_backoff(&self) -> Duration {
        self.retry_backoff
    }

    /// `retry.backoff.max.ms`: the longest wait before a retry. Default 1 s, Java's.
    pub fn retry_backoff_max(&self) -> Duration {
        self.retry_backoff_max
    }

    /// `partitioner`: how a record without a partition gets one. Default [`PartitionerName::Murmur2Random`], which puts
    /// every key where Java puts it.
    pub fn partitioner(&self) -> PartitionerName {
        self.partitioner
    }

    /// `statistics.interval.ms`: how often librdkafka reports its own numbers. Default `None`, never; librdkafka's 0.
    pub fn statistics_interval(&self) -> Option<Duration> {
        self.statistics_interval
    }

    /// `security.protocol`: how brokers are spoken to. Default [`SecurityProtocol::Plaintext`], Java's.
    pub fn security_protocol(&self) -> SecurityProtocol {
        self.security_protocol
    }

    /// Where OAUTHBEARER's tokens come from, as the properties say or [`with_tokens`](Self::with_tokens) did.
    pub fn tokens(&self) -> Option<Arc<dyn TokenRetriever>> {
        self.tokens.as_ref().map(|tokens| Arc::clone(&tokens.0))
    }

    /// The same, with tokens from here.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Arc<dyn TokenRetriever>) -> Self {
        self.tokens = Some(security::Tokens(tokens));
        self
    }

    /// What works but may not be what was meant, in the form of problems: to be logged once.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Everything that librdkafka is to be given, names and values, each name once. **Secrets included**: not for logs.
    pub fn librdkafka(&self) -> &[(String, String)] {
        &self.librdkafka.0
    }

    /// The values among them that are never shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let sensitive = |(name, _): &&(String, String)| names::SENSITIVE.contains(&name.as_str());
        let pairs = self.librdkafka().iter();
        pairs.filter(sensitive).map(|(_, value)| value.as_str())
    }
}

//! What librdkafka is given: the settings under its own names, and its properties that go through unchanged.

use std::fmt;

use super::Config;
use super::names;
use super::values::{Acks, PartitionerName};

/// What values a property that is passed on may have.
#[derive(Clone, Copy)]
pub(super) enum Values {
    Bool,
    Int(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any number of these words, separated by commas.
    Words(&'static [&'static str]),
    Text,
    /// An integer property that librdkafka still knows but no longer uses.
    Unused(i64, i64),
}

use Values::{Bool, Int, Text, Unused, Word, Words};

const INT_MAX: i64 = i32::MAX as i64;

/// librdkafka's producer properties that mean nothing to this crate and break nothing: they go through unchanged.
pub(super) const PASSED_ON: &[(&str, Values)] = &[
    ("allow.auto.create.topics", Bool),
    ("api.version.request.timeout.ms", Int(1, 300_000)),
    ("batch.num.messages", Int(1, 1_000_000)),
    ("broker.address.family", Word(&["any", "v4", "v6"])),
    ("broker.address.ttl", Int(0, 86_400_000)),
    (
        "client.dns.lookup",
        Word(&[
            "use_all_dns_ips",
            "resolve_canonical_bootstrap_servers_only",
        ]),
    ),
    ("client.rack", Text),
    (
        "debug",
        Words(&[
            "generic",
            "broker",
            "topic",
            "metadata",
            "feature",
            "queue",
            "msg",
            "protocol",
            "cgrp",
            "security",
            "fetch",
            "interceptor",
            "plugin",
            "consumer",
            "admin",
            "eos",
            "mock",
            "assignor",
            "conf",
            "telemetry",
            "all",
        ]),
    ),
    ("enable.metrics.push", Bool),
    ("enable.random.seed", Bool),
    ("enable.sparse.connections", Bool),
    ("internal.termination.signal", Int(0, 128)),
    ("log.connection.close", Bool),
    ("log.thread.name", Bool),
    ("log_level", Int(0, 7)),
    ("message.copy.max.bytes", Int(0, 1_000_000_000)),
    ("metadata.recovery.rebootstrap.trigger.ms", Int(0, INT_MAX)),
    ("metadata.recovery.strategy", Word(&["none", "rebootstrap"])),
    ("metadata.request.timeout.ms", Unused(10, 900_000)),
    ("receive.message.max.bytes", Int(1000, INT_MAX)),
    ("reconnect.backoff.jitter.ms", Unused(0, 3_600_000)),
    ("socket.blocking.max.ms", Unused(1, 60_000)),
    ("socket.connection.setup.timeout.ms", Int(1000, INT_MAX)),
    ("socket.keepalive.enable", Bool),
    ("socket.max.fails", Int(0, 1_000_000)),
    ("socket.nagle.disable", Bool),
    #[cfg(windows)]
    ("ssl.ca.certificate.stores", Text),
    ("sticky.partitioning.linger.ms", Int(0, 900_000)),
    ("test.mock.broker.rtt", Int(0, 3_600_000)),
    ("test.mock.num.brokers", Int(0, 10_000)),
    ("topic.metadata.propagation.max.ms", Int(0, 3_600_000)),
    ("topic.metadata.refresh.fast.cnt", Unused(0, 1000)),
    ("topic.metadata.refresh.fast.interval.ms", Int(1, 60_000)),
    ("topic.metadata.refresh.sparse", Bool),
];

/// How long librdkafka may wait for a topic to appear, at most.
const MAX_PROPAGATION_MS: u128 = 3_600_000;

/// Names and values; `Debug` hides what must not be shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Pairs {
    pub(super) fn push(&mut self, name: &str, value: impl fmt::Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn push_default(&mut self, name: &str, value: impl fmt::Display) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.push(name, value);
        }
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Translated names that nobody may write (`queue.buffering.max.messages`) are hidden too: no matter.
        f.debug_map()
            .entries(
                self.0
                    .iter()
                    .map(|(name, value)| (name, names::visible(name, value).unwrap_or("<hidden>"))),
            )
            .finish()
    }
}

/// Everything that librdkafka is given: `pairs` as they are, and the checked settings under librdkafka's names.
pub(super) fn translate(config: &Config, mut pairs: Pairs) -> Pairs {
    pairs.push("bootstrap.servers", config.bootstrap_servers.join(","));
    pairs.push("client.id", &config.client_id);
    pairs.push(
        "request.required.acks",
        match config.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        },
    );
    pairs.push("enable.idempotence", config.idempotence);
    pairs.push(
        "max.in.flight.requests.per.connection",
        config.max_in_flight,
    );
    pairs.push("queue.buffering.max.ms", config.linger.as_millis());
    pairs.push("batch.size", config.batch_size);
    pairs.push("compression.codec", config.compression);
    if let Some(level) = config.compression_level {
        pairs.push("compression.level", level);
    }
    pairs.push("message.timeout.ms", config.delivery_timeout.as_millis());
    // The first is only asked of the broker; the second is how long this side waits. Java's property is both.
    pairs.push("request.timeout.ms", config.request_timeout.as_millis());
    pairs.push("socket.timeout.ms", config.request_timeout.as_millis());
    // librdkafka asks for metadata after it took the record: this is as near as it comes to `max.block.ms`.
    pairs.push_default(
        "topic.metadata.propagation.max.ms",
        config.max_block.as_millis().min(MAX_PROPAGATION_MS),
    );
    // `buffer.memory` is counted outside; equal limits inside would fill up first, as librdkafka frees its own after it
    // reported the delivery.
    pairs.push("queue.buffering.max.messages", 0);
    pairs.push("queue.buffering.max.kbytes", INT_MAX);
    pairs.push("message.max.bytes", config.max_request_size);
    pairs.push("message.send.max.retries", config.retries);
    pairs.push("retry.backoff.ms", config.retry_backoff.as_millis());
    pairs.push("retry.backoff.max.ms", config.retry_backoff_max.as_millis());
    // librdkafka knows no round robin: the engine has its own.
    if config.partitioner != PartitionerName::RoundRobin {
        pairs.push("partitioner", config.partitioner);
    }
    pairs.push(
        "statistics.interval.ms",
        config
            .statistics_interval
            .map_or(0, |every| every.as_millis()),
    );
    pairs.push("security.protocol", config.security_protocol);
    pairs
}

//! Properties as people have them for producers and consumers, made a consumer.

use franking::config::{Config, Properties};
use rdkafka::{ClientConfig, consumer::BaseConsumer, error::KafkaError};

use super::Hearing;
use crate::{BoxError, connection, terminal};

/// Consumers' properties that go through: Java's name, and librdkafka's where it differs.
const PASSED_ON: [(&str, &str); 10] = [
    ("check.crcs", ""),
    ("fetch.max.bytes", ""),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("fetch.message.max.bytes", ""),
    ("fetch.min.bytes", ""),
    ("fetch.wait.max.ms", ""),
    ("group.id", ""),
    ("isolation.level", ""),
    ("max.partition.fetch.bytes", ""),
    ("queued.max.messages.kbytes", ""),
];

/// Those that mean nothing to who reads without a group, from a place that an option says.
const MEANINGLESS: [&str; 12] = [
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "enable.auto.commit",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "key.deserializer",
    "max.poll.interval.ms",
    "max.poll.records",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "value.deserializer",
];

/// What a consumer and a producer have in common.
const SHARED: [&str; 15] = [
    "bootstrap.servers",
    "broker.address.",
    "client.",
    "connections.max.idle.ms",
    "debug",
    "enable.sasl.",
    "enable.ssl.",
    "log",
    "metadata.",
    "receive.message.max.bytes",
    "reconnect.",
    "sasl.",
    "security.protocol",
    "socket.",
    "ssl.",
];

pub(super) fn consumer(properties: &Properties) -> Result<BaseConsumer<Hearing>, BoxError> {
    let mut config = ClientConfig::new();
    // No group is joined and nothing is committed, but librdkafka wants a name.
    config.set("group.id", "franking");
    // What is deleted while it is read is passed over.
    config.set("auto.offset.reset", "earliest");
    config.set("queued.max.messages.kbytes", "16384");
    // A second otherwise, each time when so much waits to be printed.
    config.set("fetch.queue.backoff.ms", "10");
    config.set("check.crcs", "true");
    let mut common = Properties::new();
    for (name, value) in properties.iter() {
        match PASSED_ON.iter().find(|(known, _)| *known == name) {
            Some((_, "")) => drop(config.set(name, value)),
            Some((_, theirs)) => drop(config.set(*theirs, value)),
            None if MEANINGLESS.contains(&name) => {}
            None => drop(common.set(name, value)),
        }
    }
    // Checked as a producer's: names, values, and secrets that no message shows.
    let checked = Config::check(&common, connection::REQUIRED)?;
    let shared = |name: &str| SHARED.iter().any(|shared| name.starts_with(shared));
    for (name, value) in checked.librdkafka() {
        if shared(name) {
            config.set(name, value);
        }
    }
    for warning in checked.warnings() {
        if shared(&warning.property) {
            terminal::warning(&warning.to_string());
        }
    }
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.set("allow.auto.create.topics", "false");
    config
        .create_with_context(Hearing::new(checked.tokens()))
        .map_err(without_value)
}

/// What librdkafka does not like; its own message shows the value, which can be a secret.
fn without_value(error: KafkaError) -> BoxError {
    match error {
        KafkaError::ClientConfig(_, why, name, _) if PASSED_ON.iter().any(|(n, _)| *n == name) => {
            format!("`{name}`: {}", crate::text::escaped(&why)).into()
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("`{name}`: librdkafka does not take its value").into()
        }
        error => error.into(),
    }
}

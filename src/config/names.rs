//! Every name that is known, and what is done with it.
//!
//! librdkafka's names are those of 2.12.1, read from `rdkafka_conf.c`.

use std::borrow::Cow;

use super::librdkafka::{PASSED_ON, Values};
use super::refused::{CONSUMER, REFUSED, REFUSED_PREFIXES};

/// What a name is.
#[derive(Clone, Copy)]
pub(super) enum Name {
    /// One of [`SETTINGS`], by its first name.
    Setting(&'static str),
    /// A librdkafka property that goes through unchanged.
    PassedOn(Values),
    /// Known, but not taken: why, and what to do.
    Refused(&'static str, &'static str),
    /// A consumer's property.
    Consumer,
    Unknown,
}

/// The settings that are read and translated: Java's name, and librdkafka's names for the same thing. Any one of them may
/// be used; two at a time contradict each other.
pub(super) const SETTINGS: &[(&str, &[&str])] = &[
    ("bootstrap.servers", &["metadata.broker.list"]),
    ("client.id", &[]),
    ("key.serializer", &[]),
    ("value.serializer", &[]),
    ("acks", &["request.required.acks"]),
    ("enable.idempotence", &[]),
    ("max.in.flight.requests.per.connection", &["max.in.flight"]),
    ("linger.ms", &["queue.buffering.max.ms"]),
    ("batch.size", &[]),
    ("compression.type", &["compression.codec"]),
    ("compression.level", &[]),
    ("compression.gzip.level", &[]),
    ("compression.lz4.level", &[]),
    ("compression.zstd.level", &[]),
    ("delivery.timeout.ms", &["message.timeout.ms"]),
    // Java's meaning is librdkafka's `socket.timeout.ms`; its own `request.timeout.ms` is only asked of the broker.
    ("request.timeout.ms", &["socket.timeout.ms"]),
    ("max.block.ms", &[]),
    ("buffer.memory", &[]),
    ("max.request.size", &["message.max.bytes"]),
    ("retries", &["message.send.max.retries"]),
    ("retry.backoff.ms", &[]),
    ("retry.backoff.max.ms", &[]),
    ("reconnect.backoff.ms", &[]),
    ("reconnect.backoff.max.ms", &[]),
    ("connections.max.idle.ms", &[]),
    // librdkafka's `metadata.max.age.ms` is the cache's age, three times this; the refresh has another name there.
    (
        "metadata.max.age.ms",
        &["topic.metadata.refresh.interval.ms"],
    ),
    ("send.buffer.bytes", &["socket.send.buffer.bytes"]),
    ("receive.buffer.bytes", &["socket.receive.buffer.bytes"]),
    ("partitioner", &[]),
    ("partitioner.ignore.keys", &[]),
    ("partitioner.adaptive.partitioning.enable", &[]),
    ("partitioner.availability.timeout.ms", &[]),
    ("statistics.interval.ms", &[]),
    ("enable.gapless.guarantee", &[]),
    ("queue.buffering.backpressure.threshold", &[]),
    ("security.protocol", &[]),
    // This crate's own.
    ("security.require.tls", &[]),
    ("sasl.mechanism", &["sasl.mechanisms"]),
    ("sasl.jaas.config", &[]),
    ("sasl.username", &[]),
    ("sasl.password", &[]),
    ("sasl.oauthbearer.config", &[]),
    ("enable.sasl.oauthbearer.unsecure.jwt", &[]),
    ("sasl.oauthbearer.token.endpoint.url", &[]),
    ("sasl.oauthbearer.jwt.retriever.class", &[]),
    ("sasl.login.callback.handler.class", &[]),
    ("ssl.cipher.suites", &[]),
    ("ssl.curves.list", &[]),
    ("ssl.sigalgs.list", &[]),
    ("ssl.providers", &[]),
    ("ssl.crl.location", &[]),
    ("ssl.ca.location", &[]),
    ("ssl.truststore.certificates", &["ssl.ca.pem"]),
    ("ssl.truststore.location", &[]),
    ("ssl.truststore.type", &[]),
    ("ssl.certificate.location", &[]),
    ("ssl.keystore.certificate.chain", &["ssl.certificate.pem"]),
    ("ssl.key.location", &[]),
    ("ssl.keystore.key", &["ssl.key.pem"]),
    ("ssl.key.password", &[]),
    ("ssl.keystore.location", &[]),
    ("ssl.keystore.password", &[]),
    ("ssl.keystore.type", &[]),
    ("ssl.endpoint.identification.algorithm", &[]),
    ("enable.ssl.certificate.verification", &[]),
];

/// Values that are never shown: what librdkafka marks as sensitive, and what means the same in Java.
pub(super) const SENSITIVE: &[&str] = &[
    "sasl.username",
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl_key",
    "ssl.keystore.key",
    "ssl.keystore.password",
    "ssl.keystore.certificate.chain",
    "ssl.certificate.pem",
    "ssl.truststore.certificates",
    "ssl.truststore.password",
    "ssl.ca.pem",
];

/// What `name` is.
pub(super) fn look_up(name: &str) -> Name {
    for (setting, aliases) in SETTINGS {
        if *setting == name || aliases.contains(&name) {
            return Name::Setting(setting);
        }
    }
    if let Some((_, values)) = PASSED_ON.iter().find(|(known, _)| *known == name) {
        return Name::PassedOn(*values);
    }
    if let Some(group) = REFUSED.iter().find(|group| group.names.contains(&name)) {
        return Name::Refused(group.why, group.instead);
    }
    if CONSUMER.contains(&name) {
        return Name::Consumer;
    }
    match REFUSED_PREFIXES
        .iter()
        .find(|group| group.names.iter().any(|prefix| name.starts_with(prefix)))
    {
        Some(group) => Name::Refused(group.why, group.instead),
        None => Name::Unknown,
    }
}

/// `value`, if it may be shown: its name is one that this producer takes, and it is not sensitive.
pub(super) fn visible<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let taken = matches!(look_up(name), Name::Setting(_) | Name::PassedOn(_));
    // A broker list is no place for `user:password@`, but people who come from other systems try it. Nor is a URL; what is
    // taken of those names a file.
    let credentials = match look_up(name) {
        Name::Setting("bootstrap.servers") => value.contains('@'),
        Name::Setting("sasl.oauthbearer.token.endpoint.url") => !value.starts_with("file:"),
        _ => false,
    };
    (taken && !credentials && !SENSITIVE.contains(&name)).then_some(value)
}

/// `value` for a message: escaped, cut to a length that can be read, and not at all if it must not be shown.
pub(super) fn quoted(name: &str, value: &str) -> Cow<'static, str> {
    match visible(name, value) {
        None => "its value (not shown)".into(),
        Some("") => "an empty value".into(),
        Some(value) => {
            let short: String = value
                .chars()
                .take(60)
                .flat_map(char::escape_debug)
                .collect();
            let cut = if value.chars().nth(60).is_some() {
                "…"
            } else {
                ""
            };
            format!("`{short}{cut}`").into()
        }
    }
}

/// The known name that is nearest to `name`, if one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // Longer than any name that somebody mistyped; the distance costs length times length.
    if name.len() > 100 {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['_', '-', ' '], ".");
    let wanted = plain(name);
    all()
        .map(|known| (strsim::damerau_levenshtein(&wanted, &plain(known)), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .map(|(_, known)| known)
}

/// Every name but the refused prefixes, Java's names first.
fn all() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().map(|(name, _)| *name);
    let aliases = SETTINGS.iter().flat_map(|(_, aliases)| *aliases).copied();
    let passed_on = PASSED_ON.iter().map(|(name, _)| *name);
    let refused = REFUSED.iter().flat_map(|group| group.names).copied();
    settings
        .chain(aliases)
        .chain(passed_on)
        .chain(refused)
        .chain(CONSUMER.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        for (written, meant) in [
            ("bootstrap.server", "bootstrap.servers"),
            ("acsk", "acks"),
            ("linger_ms", "linger.ms"),
            ("compresion.type", "compression.type"),
            ("LINGER.MS", "linger.ms"),
            ("sasl.pasword", "sasl.password"),
            ("transactionalid", "transactional.id"),
        ] {
            assert_eq!(nearest(written), Some(meant), "{written}");
        }
        assert_eq!(nearest("my.own.thing.of.another.sort"), None);
        assert_eq!(nearest(&"x".repeat(1000)), None);
    }

    #[test]
    fn every_name_is_in_one_table_only() {
        let mut names: Vec<_> = all().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_value_is_quoted_short_and_on_one_line() {
        assert_eq!(quoted("client.id", "a\nb"), "`a\\nb`");
        assert!(quoted("client.id", &"x".repeat(500)).len() < 80);
        assert_eq!(quoted("sasl.password", "hunter2"), "its value (not shown)");
    }
}

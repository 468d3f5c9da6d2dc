//! From properties to settings: defaults, ranges, and what contradicts what.

use std::time::Duration;

use super::error::{ConfigError, ProblemKind};
use super::librdkafka::{Pairs, translate};
use super::reader::Reader;
use super::values::{Acks, Compression, PartitionerName};
use super::{Config, Properties, Required, bootstrap, security};

const INT_MAX: i64 = i32::MAX as i64;

/// How many requests of a producer a broker remembers: more than these in flight, and it cannot tell duplicates.
const MAX_IDEMPOTENT_IN_FLIGHT: u32 = 5;

/// `tls`: whether the build has it.
pub(super) fn check(
    properties: &Properties,
    required: Required,
    tls: bool,
) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(properties, tls);
    let reader = &mut reader;
    let mut pairs = reader.names();

    let bootstrap_servers = bootstrap::read(reader);
    let client_id = reader.text("client.id").unwrap_or("franking");
    reader.c_text("client.id", client_id);
    let key_serializer = serializer(reader, "key.serializer", required.key_serializer);
    let value_serializer = serializer(reader, "value.serializer", required.value_serializer);

    let (linger, request_timeout, delivery_timeout) = timeouts(reader);
    let acks = [Acks::WORDS, &[("-1", Acks::All)]].concat();
    let acks = reader.word("acks", &acks).unwrap_or(Acks::All);
    let retries = count(reader.int("retries", 0..=INT_MAX)).unwrap_or(i32::MAX as u32);
    let in_flight = "max.in.flight.requests.per.connection";
    let max_in_flight = count(reader.int(in_flight, 1..=1_000_000)).unwrap_or(1);
    let idempotence = idempotence(reader, acks, retries, max_in_flight, &mut pairs);

    let (compression, compression_level) = compression(reader);
    let partitioner = partitioner(reader);
    let (retry_backoff, retry_backoff_max) = retry_backoff(reader);
    connections(reader, &mut pairs);
    let (security_protocol, tokens) =
        security::read(reader, &mut pairs, required.oauthbearer_token);

    // Wide enough for any machine, and room to overdraw.
    let most = i64::try_from(usize::MAX / 8).unwrap_or(i64::MAX);
    let statistics = reader.millis("statistics.interval.ms", 0..=86_400_000, 0);
    let mut config = Config {
        bootstrap_servers,
        client_id: client_id.to_owned(),
        key_serializer,
        value_serializer,
        acks,
        idempotence,
        max_in_flight,
        linger,
        batch_size: size(reader.int("batch.size", 1..=INT_MAX)).unwrap_or(1_000_000),
        compression,
        compression_level,
        delivery_timeout,
        request_timeout,
        max_block: reader.millis("max.block.ms", 0..=i64::MAX, 60_000),
        buffer_memory: size(reader.int("buffer.memory", 1..=most)).unwrap_or(32 * 1024 * 1024),
        max_request_size: size(reader.int("max.request.size", 1000..=1_000_000_000))
            .unwrap_or(1024 * 1024),
        retries,
        retry_backoff,
        retry_backoff_max,
        partitioner,
        statistics_interval: (!statistics.is_zero()).then_some(statistics),
        security_protocol,
        tokens,
        warnings: std::mem::take(&mut reader.warnings),
        librdkafka: Pairs::default(),
    };
    if !reader.problems.is_empty() {
        return Err(ConfigError::new(std::mem::take(&mut reader.problems)));
    }
    config.librdkafka = translate(&config, pairs);
    Ok(config)
}

fn count(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn size(number: Option<i64>) -> Option<usize> {
    number.and_then(|number| usize::try_from(number).ok())
}

fn serializer(reader: &mut Reader<'_>, setting: &'static str, required: bool) -> Option<String> {
    let name = reader.text(setting).map(str::trim);
    let name = name.filter(|name| !name.is_empty());
    if required && name.is_none() {
        reader.problem(
            setting,
            ProblemKind::Missing,
            "neither this property nor the program says how to serialize",
            "set it, or give the builder a serializer",
        );
    }
    name.map(str::to_owned)
}

/// `linger.ms`, `request.timeout.ms` and `delivery.timeout.ms`, which must have room for the other two.
fn timeouts(reader: &mut Reader<'_>) -> (Duration, Duration, Duration) {
    let linger = reader.millis("linger.ms", 0..=900_000, 5);
    // The range is that of librdkafka's `socket.timeout.ms`.
    let request = reader.millis("request.timeout.ms", 10..=300_000, 30_000);
    let least = linger + request;
    // 0 would be "for ever" to librdkafka.
    let name = "delivery.timeout.ms";
    let problems = reader.problems.len();
    let delivery = reader.millis(name, 1..=INT_MAX, 120_000);
    // What is no number contradicts nothing.
    if delivery >= least || reader.problems.len() > problems {
        return (linger, request, delivery);
    }
    let parts = format!(
        "less than `linger.ms` ({}) and `request.timeout.ms` ({}) together",
        linger.as_millis(),
        request.as_millis()
    );
    // As in Java: what was written is wrong, what was not gives way.
    match reader.given(name) {
        Some((name, _)) => reader.problem(
            name,
            ProblemKind::Contradiction,
            format!("{} is {parts}", delivery.as_millis()),
            format!("write at least {}, or lower those", least.as_millis()),
        ),
        None => reader.warn(
            name,
            format!(
                "its default, {}, is {parts}, so it is {} now",
                delivery.as_millis(),
                least.as_millis()
            ),
            "set it",
        ),
    }
    (linger, request, least)
}

/// Java's rules: what cannot go with idempotence turns it off, unless somebody asked for it.
fn idempotence(
    reader: &mut Reader<'_>,
    acks: Acks,
    retries: u32,
    in_flight: u32,
    pairs: &mut Pairs,
) -> bool {
    const SETTING: &str = "enable.idempotence";
    let written = reader.bool(SETTING);
    let wanted = written.unwrap_or(true);
    let mut on = wanted;
    let against = [
        (
            "retries",
            retries == 0,
            "without retries there is nothing to keep from duplicating",
            "remove it",
        ),
        (
            "acks",
            acks != Acks::All,
            "idempotence needs the acknowledgement of all in-sync replicas",
            "write `all`",
        ),
    ];
    for (setting, against, why, instead) in against {
        let Some((name, _)) = reader.given(setting).filter(|_| wanted && against) else {
            continue;
        };
        if written.is_some() {
            let instead = format!("{instead}, or write `enable.idempotence=false`");
            reader.problem(
                name,
                ProblemKind::Contradiction,
                format!("{why}, and `enable.idempotence` is true"),
                instead,
            );
        } else {
            on = false;
            reader.warn(
                name,
                format!("{why}: idempotence is off, so the producer's retries can duplicate and reorder records"),
                format!("{instead}, or say so with `enable.idempotence=false`"),
            );
        }
    }
    let setting = "max.in.flight.requests.per.connection";
    if let Some((name, _)) = reader
        .given(setting)
        .filter(|_| wanted && in_flight > MAX_IDEMPOTENT_IN_FLIGHT)
    {
        // Since 4.0, Java refuses this also if idempotence is only the default.
        reader.problem(
            name,
            ProblemKind::Contradiction,
            format!("{in_flight} is more than the 5 with which idempotence works"),
            "write 1 to 5, or write `enable.idempotence=false`",
        );
    }
    if !on && in_flight > 1 && retries > 0 {
        reader.warn(
            reader.given(setting).map_or(setting, |(name, _)| name),
            format!(
                "without idempotence and with {in_flight} requests in flight, a retry may put a record behind later ones"
            ),
            "write 1, or turn idempotence on",
        );
    }
    idempotent_only(reader, on, pairs);
    on
}

/// Two settings of librdkafka that it refuses with, or without, idempotence.
fn idempotent_only(reader: &mut Reader<'_>, on: bool, pairs: &mut Pairs) {
    let gapless = "enable.gapless.guarantee";
    match reader.bool(gapless) {
        Some(true) if !on => reader.problem(
            gapless,
            ProblemKind::Contradiction,
            "it needs idempotence, which is off",
            "remove it, or write `enable.idempotence=true`",
        ),
        Some(value) => pairs.push(gapless, value),
        None => {}
    }
    let threshold = "queue.buffering.backpressure.threshold";
    match reader.int(threshold, 1..=1_000_000) {
        Some(2..) if on => reader.problem(
            threshold,
            ProblemKind::Contradiction,
            "librdkafka has idempotence with 1 only",
            "remove it, or write `enable.idempotence=false`",
        ),
        Some(value) => pairs.push(threshold, value),
        None => {}
    }
}

fn compression(reader: &mut Reader<'_>) -> (Compression, Option<i32>) {
    let setting = "compression.type";
    let codec = reader
        .word(setting, Compression::WORDS)
        .unwrap_or(Compression::None);
    if codec == Compression::Zstd && !cfg!(feature = "zstd") {
        reader.problem(
            reader.given(setting).map_or(setting, |(name, _)| name),
            ProblemKind::NeedsFeature,
            "this build has no zstd",
            "build the crate with its feature `zstd`, or write `lz4`",
        );
    }
    // Java's names, one for each codec; librdkafka's limits, above which it would lower the level silently.
    let mut level = None;
    for (setting, of, range) in [
        ("compression.gzip.level", Compression::Gzip, -1..=9),
        ("compression.lz4.level", Compression::Lz4, 1..=12),
        ("compression.zstd.level", Compression::Zstd, 1..=12),
    ] {
        let value = reader.int(setting, range);
        if of == codec {
            level = value;
        } else if value.is_some() {
            reader.warn(
                setting,
                format!("it is not used, as `compression.type` is `{codec}`"),
                "remove it",
            );
        }
    }
    let setting = "compression.level";
    let range = match codec {
        Compression::Gzip => -1..=9,
        Compression::Snappy => -1..=0,
        _ => -1..=12,
    };
    if let Some(value) = reader.int(setting, range) {
        if level.is_some() {
            reader.problem(
                setting,
                ProblemKind::Contradiction,
                format!(
                    "`compression.{codec}.level` is given too, and both are names of one setting"
                ),
                "keep one of them",
            );
        } else if codec == Compression::None {
            reader.warn(
                setting,
                "it is not used, as nothing is compressed",
                "set `compression.type`, or remove it",
            );
        } else {
            level = Some(value);
        }
    }
    (codec, level.and_then(|level| i32::try_from(level).ok()))
}

fn partitioner(reader: &mut Reader<'_>) -> PartitionerName {
    // Java's switches: what librdkafka does anyway may be said, the opposite may not.
    if reader.bool("partitioner.ignore.keys") == Some(true) {
        reader.problem(
            "partitioner.ignore.keys",
            ProblemKind::Refused,
            "librdkafka's sticky partitions are for records without a key only",
            "remove it, and write `partitioner=random` or leave the keys out",
        );
    }
    if reader.bool("partitioner.adaptive.partitioning.enable") == Some(true) {
        reader.problem(
            "partitioner.adaptive.partitioning.enable",
            ProblemKind::Refused,
            "librdkafka gives slow brokers as many records as fast ones",
            "write `false`, or remove it",
        );
    }
    let availability = "partitioner.availability.timeout.ms";
    if reader
        .int(availability, 0..=i64::MAX)
        .is_some_and(|ms| ms > 0)
    {
        reader.problem(
            availability,
            ProblemKind::Refused,
            "librdkafka does not take slow partitions out",
            "write 0, or remove it",
        );
    }
    reader
        .word("partitioner", PartitionerName::WORDS)
        .unwrap_or(PartitionerName::Murmur2Random)
}

fn retry_backoff(reader: &mut Reader<'_>) -> (Duration, Duration) {
    let first = reader.millis("retry.backoff.ms", 1..=300_000, 100);
    let most = reader.millis("retry.backoff.max.ms", 1..=300_000, 1000);
    if first > most {
        reader.warn(
            "retry.backoff.ms",
            format!(
                "it is more than `retry.backoff.max.ms`, so every retry waits {} ms",
                most.as_millis()
            ),
            "raise `retry.backoff.max.ms`",
        );
    }
    (first, most)
}

/// Connections and metadata: Java's names, and librdkafka's defaults but for reconnecting.
fn connections(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    let (first, most) = reconnect_backoff(reader);
    pairs.push("reconnect.backoff.ms", first);
    pairs.push("reconnect.backoff.max.ms", most);
    if let Some(age) = reader.int("metadata.max.age.ms", -1..=3_600_000) {
        pairs.push("topic.metadata.refresh.interval.ms", age);
    }
    // Java's -1 leaves it to the system; that is librdkafka's 0.
    for (setting, name) in [
        ("send.buffer.bytes", "socket.send.buffer.bytes"),
        ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ] {
        if let Some(bytes) = reader.int(setting, -1..=100_000_000) {
            pairs.push(name, bytes.max(0));
        }
    }
    let idle = "connections.max.idle.ms";
    match reader.int(idle, -1..=INT_MAX) {
        Some(0) => reader.problem(
            idle,
            ProblemKind::Invalid,
            "`0` is \"at once\" to Java and \"never\" to librdkafka",
            "write -1 for never, or a number of milliseconds",
        ),
        Some(millis) => pairs.push(idle, millis.max(0)),
        None => {}
    }
}

/// Java's defaults too. librdkafka waits up to 10 s, and starts again from the shortest wait only after a connection that
/// held for the longest: where connections break every few seconds, a partition would stand still for ten.
fn reconnect_backoff(reader: &mut Reader<'_>) -> (i64, i64) {
    let setting = "reconnect.backoff.max.ms";
    let first = reader.int("reconnect.backoff.ms", 0..=3_600_000);
    let most = reader.int(setting, 0..=3_600_000);
    if let (Some(first), None) = (first, reader.given(setting)) {
        // As in Java: alone, it is the longest too.
        return (first, first);
    }
    let first = first.unwrap_or(50);
    if most.is_some_and(|most| most < first) {
        reader.problem(
            setting,
            ProblemKind::Contradiction,
            format!("it is less than `reconnect.backoff.ms` ({first})"),
            "raise it, or lower `reconnect.backoff.ms`",
        );
    }
    (first, most.unwrap_or(1000))
}

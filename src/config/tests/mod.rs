//! What a user notices of a configuration.

mod engine;
mod rules;
mod security;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;

use super::names::{SENSITIVE, SETTINGS};
use super::refused::{CONSUMER, REFUSED, REFUSED_PREFIXES};
use super::*;

/// Checks a broker list and these properties.
fn check(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let broker = ("bootstrap.servers", "localhost:9092");
    let pairs = std::iter::once(broker).chain(pairs.iter().copied());
    Config::check(&pairs.collect(), Required::default())
}

/// The same in a build with TLS, or without.
fn check_built(tls: bool, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let broker = ("bootstrap.servers", "localhost:9092");
    let pairs = std::iter::once(broker).chain(pairs.iter().copied());
    super::check::check(&pairs.collect(), Required::default(), tls)
}

fn problems(pairs: &[(&str, &str)]) -> Vec<(String, ProblemKind)> {
    let problems = check(pairs).unwrap_err().into_problems();
    problems.into_iter().map(|p| (p.property, p.kind)).collect()
}

fn problem(pairs: &[(&str, &str)]) -> Problem {
    let mut problems = check(pairs)
        .expect_err(&format!("{pairs:?}"))
        .into_problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[track_caller]
fn one(pairs: &[(&str, &str)], property: &str, kind: ProblemKind) {
    let problem = problem(pairs);
    assert_eq!(
        (problem.property.as_str(), problem.kind),
        (property, kind),
        "{problem}"
    );
}

fn warned(pairs: &[(&str, &str)]) -> Vec<String> {
    let config = check(pairs).unwrap();
    config
        .warnings()
        .iter()
        .map(|w| w.property.clone())
        .collect()
}

/// What librdkafka is given for `name`.
fn given(config: &Config, name: &str) -> Option<String> {
    let mut all = config
        .librdkafka()
        .iter()
        .filter(|(known, _)| known == name);
    let value = all.next().map(|(_, value)| value.clone());
    assert_eq!(all.next(), None, "{name} is given twice");
    value
}

/// librdkafka itself takes all of it, and makes a producer.
fn accepted(config: &Config) -> BaseProducer {
    let mut native = ClientConfig::new();
    for (name, value) in config.librdkafka() {
        assert!(native.get(name).is_none(), "{name} is given twice");
        native.set(name, value);
    }
    native
        .create()
        .expect("librdkafka refused a checked configuration")
}

// === defaults ===

#[test]
fn the_defaults_are_javas() {
    let config = check(&[]).unwrap();
    assert_eq!(config.bootstrap_servers(), ["localhost:9092"]);
    assert_eq!(config.client_id(), "franking");
    assert_eq!(config.acks(), Acks::All);
    assert!(config.idempotence());
    // Not Java's 5: the module says why.
    assert_eq!(config.max_in_flight(), 1);
    assert_eq!(config.linger(), Duration::from_millis(5));
    assert_eq!(config.batch_size(), 1_000_000);
    assert_eq!(config.compression(), Compression::None);
    assert_eq!(config.compression_level(), None);
    assert_eq!(config.delivery_timeout(), Duration::from_secs(120));
    assert_eq!(config.request_timeout(), Duration::from_secs(30));
    assert_eq!(config.max_block(), Duration::from_secs(60));
    assert_eq!(config.buffer_memory(), 33_554_432);
    assert_eq!(config.max_request_size(), 1_048_576);
    assert_eq!(config.retries(), 2_147_483_647);
    assert_eq!(config.retry_backoff(), Duration::from_millis(100));
    assert_eq!(config.retry_backoff_max(), Duration::from_secs(1));
    assert_eq!(config.partitioner(), PartitionerName::Murmur2Random);
    assert_eq!(config.statistics_interval(), None);
    assert_eq!(config.security_protocol(), SecurityProtocol::Plaintext);
    assert_eq!(config.key_serializer(), None);
    assert_eq!(config.warnings(), []);
}

#[test]
fn the_defaults_reach_librdkafka_under_its_own_names() {
    let config = check(&[]).unwrap();
    for (name, value) in [
        ("bootstrap.servers", "localhost:9092"),
        ("request.required.acks", "-1"),
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "1"),
        ("queue.buffering.max.ms", "5"),
        ("batch.size", "1000000"),
        ("compression.codec", "none"),
        ("message.timeout.ms", "120000"),
        ("request.timeout.ms", "30000"),
        ("socket.timeout.ms", "30000"),
        ("topic.metadata.propagation.max.ms", "60000"),
        ("queue.buffering.max.messages", "0"),
        ("queue.buffering.max.kbytes", "2147483647"),
        ("message.max.bytes", "1048576"),
        ("message.send.max.retries", "2147483647"),
        ("retry.backoff.ms", "100"),
        ("retry.backoff.max.ms", "1000"),
        ("reconnect.backoff.ms", "50"),
        ("reconnect.backoff.max.ms", "1000"),
        ("partitioner", "murmur2_random"),
        ("security.protocol", "plaintext"),
    ] {
        assert_eq!(given(&config, name).as_deref(), Some(value), "{name}");
    }
    accepted(&config);
}

// === all at once ===

#[test]
fn all_problems_are_reported_together() {
    let properties = Properties::from_iter([
        ("acks", "2"),
        ("linger_ms", "5"),
        ("transactional.id", "t"),
        ("group.id", "g"),
        ("batch.size", "many"),
        ("retries", "-1"),
        ("delivery.timeout.ms", "1000"),
    ]);
    let required = Required {
        key_serializer: true,
        value_serializer: true,
        ..Required::default()
    };
    let error = Config::check(&properties, required).unwrap_err();
    let found: Vec<_> = error
        .problems()
        .iter()
        .map(|p| (p.property.as_str(), p.kind))
        .collect();
    for expected in [
        ("acks", ProblemKind::Invalid),
        ("linger_ms", ProblemKind::Unknown),
        ("transactional.id", ProblemKind::Refused),
        ("group.id", ProblemKind::Refused),
        ("batch.size", ProblemKind::Invalid),
        ("retries", ProblemKind::Invalid),
        ("delivery.timeout.ms", ProblemKind::Contradiction),
        ("bootstrap.servers", ProblemKind::Missing),
        ("key.serializer", ProblemKind::Missing),
        ("value.serializer", ProblemKind::Missing),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
    assert_eq!(found.len(), 10, "{error}");
    assert_eq!(error.to_string().lines().count(), 11, "{error}");
    assert!(
        error.to_string().contains("did you mean `linger.ms`?"),
        "{error}"
    );
}

#[test]
fn a_serializer_in_code_or_by_name_is_enough() {
    let named = [("bootstrap.servers", "b:1"), ("key.serializer", " string ")];
    let required = Required {
        key_serializer: true,
        ..Required::default()
    };
    let config = Config::check(&named.into_iter().collect(), required).unwrap();
    assert_eq!(config.key_serializer(), Some("string"));
    assert_eq!(config.value_serializer(), None);
}

#[test]
fn every_bad_broker_is_reported() {
    let servers = [("bootstrap.servers", "a:1,b,[::1]:2,c:0")]
        .into_iter()
        .collect();
    let error = Config::check(&servers, Required::default()).unwrap_err();
    assert_eq!(error.problems().len(), 2, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("entry 2, `b`") && text.contains("entry 4, `c:0`"),
        "{text}"
    );
}

// === secrets ===

#[test]
fn no_message_shows_a_secret() {
    let secret = "hunter2";
    let mut pairs: Vec<_> = SENSITIVE.iter().map(|name| (*name, secret)).collect();
    pairs.extend([
        ("sasl.pasword", secret),
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "PLAIN"),
    ]);
    let error = check(&pairs).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret), "{error}");

    let servers = [("bootstrap.servers", "me:hunter2@b:1")]
        .into_iter()
        .collect();
    let error = Config::check(&servers, Required::default()).unwrap_err();
    assert!(!error.to_string().contains(secret), "{error}");
}

#[test]
fn a_checked_configuration_keeps_its_secrets_from_debug() {
    let config = check(&[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "hunter1"),
        ("sasl.password", "hunter2"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    assert_eq!(given(&config, "sasl.password").as_deref(), Some("hunter2"));
    // librdkafka can log in without TLS, but the password is on the wire.
    assert_eq!(config.warnings()[0].property, "security.protocol");
    accepted(&config);
}

// === names ===

#[test]
fn librdkafkas_name_may_stand_for_javas_but_not_beside_it() {
    for (name, aliases) in SETTINGS {
        for alias in *aliases {
            let value = match *name {
                "bootstrap.servers" => "b:1",
                "acks" => "all",
                "compression.type" => "lz4",
                "sasl.mechanism" => "PLAIN",
                _ => "30005",
            };
            let both = [("bootstrap.servers", "b:1"), (name, value), (alias, value)];
            let error =
                Config::check(&both.into_iter().collect(), Required::default()).unwrap_err();
            let found = &error.problems()[0];
            assert_eq!(
                (found.property.as_str(), found.kind),
                (*alias, ProblemKind::Contradiction),
                "{error}"
            );
            assert!(found.message.contains(name), "{error}");
        }
    }
    let config = check(&[
        ("message.timeout.ms", "60000"),
        ("queue.buffering.max.ms", "7"),
        ("socket.timeout.ms", "2000"),
        ("request.required.acks", "-1"),
        ("message.max.bytes", "2000"),
        ("compression.codec", "lz4"),
        ("message.send.max.retries", "3"),
    ])
    .unwrap();
    assert_eq!(config.delivery_timeout(), Duration::from_secs(60));
    assert_eq!(config.linger(), Duration::from_millis(7));
    assert_eq!(config.request_timeout(), Duration::from_secs(2));
    assert_eq!(config.max_request_size(), 2000);
    assert_eq!(config.compression(), Compression::Lz4);
    assert_eq!(config.retries(), 3);
    accepted(&config);
}

#[test]
fn every_refused_property_says_why_and_what_to_do() {
    for group in REFUSED {
        for name in group.names {
            one(&[(name, "1")], name, ProblemKind::Refused);
            assert!(!group.why.is_empty() && !group.instead.is_empty());
        }
    }
    for group in REFUSED_PREFIXES {
        for prefix in group.names {
            let name = format!("{prefix}x");
            one(&[(&name, "1")], &name, ProblemKind::Refused);
        }
    }
    for name in CONSUMER {
        let problem = problem(&[(name, "1")]);
        assert!(problem.message.contains("consumer"), "{problem}");
    }
    for (name, instead) in [
        ("queue.buffering.max.messages", "buffer.memory"),
        ("queue.buffering.max.kbytes", "buffer.memory"),
        ("interceptor.classes", "layers"),
        ("ssl.truststore.password", "ssl.ca.location"),
        ("partitioner.class", "`partitioner`"),
    ] {
        assert!(problem(&[(name, "x")]).instead.contains(instead), "{name}");
    }
    let transactions = problem(&[("transactional.id", "t")]);
    assert!(
        transactions.message.contains("no transactions yet"),
        "{transactions}"
    );
}

#[test]
fn javas_partitioner_switches_may_only_say_what_is_done_anyway() {
    let same = [
        ("partitioner.ignore.keys", "false"),
        ("partitioner.adaptive.partitioning.enable", "false"),
        ("partitioner.availability.timeout.ms", "0"),
    ];
    check(&same).unwrap();
    for name in [
        "partitioner.ignore.keys",
        "partitioner.adaptive.partitioning.enable",
    ] {
        one(&[(name, "true")], name, ProblemKind::Refused);
    }
    let name = "partitioner.availability.timeout.ms";
    one(&[(name, "1")], name, ProblemKind::Refused);
    one(
        &[("partitioner", "sticky")],
        "partitioner",
        ProblemKind::Invalid,
    );
    for (word, partitioner) in PartitionerName::WORDS {
        let config = check(&[("partitioner", word)]).unwrap();
        assert_eq!(config.partitioner(), *partitioner);
        accepted(&config);
    }
}

#[test]
fn javas_names_of_connections_are_translated() {
    let config = check(&[
        ("metadata.max.age.ms", "60000"),
        ("send.buffer.bytes", "-1"),
        ("receive.buffer.bytes", "32768"),
        ("connections.max.idle.ms", "-1"),
        ("client.dns.lookup", "use_all_dns_ips"),
    ])
    .unwrap();
    for (name, value) in [
        ("topic.metadata.refresh.interval.ms", Some("60000")),
        ("metadata.max.age.ms", None),
        ("socket.send.buffer.bytes", Some("0")),
        ("socket.receive.buffer.bytes", Some("32768")),
        ("connections.max.idle.ms", Some("0")),
        ("client.dns.lookup", Some("use_all_dns_ips")),
    ] {
        assert_eq!(given(&config, name).as_deref(), value, "{name}");
    }
    let idle = "connections.max.idle.ms";
    one(&[(idle, "0")], idle, ProblemKind::Invalid);
}

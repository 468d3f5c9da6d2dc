//! librdkafka itself takes what passes the check, and nothing at all makes the check panic.

use proptest::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;

use super::super::librdkafka::{PASSED_ON, Values};
use super::super::names::SETTINGS;
use super::super::*;
use super::{accepted, check};

/// The least and the greatest value, or the first and the last.
fn extremes(values: Values) -> [String; 2] {
    match values {
        Values::Bool => ["false".to_owned(), "true".to_owned()],
        Values::Int(low, high) | Values::Unused(low, high) => [low.to_string(), high.to_string()],
        Values::Word(words) => [words[0].to_owned(), words[words.len() - 1].to_owned()],
        Values::Words(words) => [words[0].to_owned(), words.join(", ")],
        Values::Text => ["a".to_owned(), "a b".to_owned()],
    }
}

/// What a test does not start: a mock cluster, a flood of debug lines, a signal that would end the test.
fn left_out(name: &str) -> bool {
    name.starts_with("test.mock.") || name == "debug" || name.starts_with("internal.")
}

#[test]
fn librdkafka_takes_everything_that_is_passed_on() {
    for (name, values) in PASSED_ON {
        for value in extremes(*values) {
            let config = check(&[(name, &value)]).unwrap_or_else(|error| panic!("{error}"));
            let (_, value) = config
                .librdkafka()
                .iter()
                .find(|(known, _)| known == name)
                .unwrap();
            let native = ClientConfig::new().set(*name, value).create_native_config();
            assert!(native.is_ok(), "{name}={value}");
        }
    }
}

#[test]
fn librdkafka_takes_a_maximal_configuration() {
    let mut pairs: Vec<(String, String)> = PASSED_ON
        .iter()
        .filter(|(name, _)| !left_out(name))
        .map(|(name, values)| ((*name).to_owned(), extremes(*values)[1].clone()))
        .collect();
    for (name, value) in [
        ("bootstrap.servers", "localhost:9092, [::1]:9093"),
        ("client.id", "maximal"),
        ("acks", "-1"),
        ("enable.idempotence", "TRUE"),
        ("max.in.flight.requests.per.connection", "5"),
        ("linger.ms", "900000"),
        ("batch.size", "2147483647"),
        ("compression.type", "lz4"),
        ("compression.lz4.level", "12"),
        ("delivery.timeout.ms", "2147483647"),
        ("request.timeout.ms", "300000"),
        ("max.block.ms", "9223372036854775807"),
        ("buffer.memory", "1099511627776"),
        ("max.request.size", "1000000000"),
        ("retries", "2147483647"),
        ("retry.backoff.ms", "300000"),
        ("retry.backoff.max.ms", "300000"),
        ("reconnect.backoff.ms", "3600000"),
        ("reconnect.backoff.max.ms", "3600000"),
        ("connections.max.idle.ms", "2147483647"),
        ("metadata.max.age.ms", "3600000"),
        ("send.buffer.bytes", "100000000"),
        ("receive.buffer.bytes", "100000000"),
        ("partitioner", "fnv1a_random"),
        ("statistics.interval.ms", "86400000"),
        ("enable.gapless.guarantee", "true"),
        ("queue.buffering.backpressure.threshold", "1"),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
    ] {
        pairs.push((name.to_owned(), value.to_owned()));
    }
    let properties = pairs.into_iter().collect();
    accepted(&Config::check(&properties, Required::default()).unwrap_or_else(|e| panic!("{e}")));
}

fn any_name() -> impl Strategy<Value = String> {
    let known = SETTINGS
        .iter()
        .flat_map(|(name, aliases)| std::iter::once(name).chain(*aliases));
    let known: Vec<_> = known
        .chain(PASSED_ON.iter().map(|(name, _)| name))
        .copied()
        .collect();
    prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "true",
        "false",
        "0",
        "1",
        "all",
        "lz4",
        "ssl",
        "sasl_plaintext",
        "PLAIN",
        "PEM",
        "a:1,b:2",
        "[::1]:1",
        "",
    ];
    prop_oneof![
        2 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        1 => (0..1_000_000).prop_map(|number: i32| number.to_string()),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn check_never_panics_and_librdkafka_takes_what_it_lets_through(
        pairs in proptest::collection::vec((any_name(), any_value()), 0..6),
    ) {
        let mut properties: Properties = pairs.into_iter().collect();
        if properties.get("metadata.broker.list").is_none() {
            properties.set("bootstrap.servers", "localhost:9092");
        }
        let required = Required::default();
        match Config::check(&properties, required) {
            Ok(config) => {
                let mut native = ClientConfig::new();
                for (name, value) in config.librdkafka() {
                    native.set(name, value);
                }
                prop_assert!(native.create_native_config().is_ok(), "{:?}", config);
                // Making a producer reads files for TLS, starts mock brokers, sends signals.
                let safe = config.librdkafka().iter().all(|(name, _)| !left_out(name));
                if safe && !config.security_protocol().uses_tls() {
                    prop_assert!(native.create::<BaseProducer>().is_ok(), "{:?}", config);
                }
            }
            Err(error) => {
                prop_assert!(!error.problems().is_empty());
                prop_assert_eq!(error.to_string().lines().count(), error.problems().len() + 1);
            }
        }
    }
}

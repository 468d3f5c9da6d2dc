//! Real connections over TLS and with SASL, of which librdkafka logs everything, and logins that fail.

use std::time::Duration;

use franking::config::Properties;
use franking::oauthbearer::OAuthBearerToken;
use franking::serializers::StringSerializer;
use franking::testing::block_on;
use franking::{Producer, ProducerRecord};

use crate::support::secured::{Listener, PASSWORD, Secured, USER};
use crate::support::topic;
use crate::{Shown, log};

const SCRAM_USER: &str = "tweety-user-canary";
const SCRAM_PASSWORD: &str = "tweety-password-canary";
const WRONG: &str = "tweety-wrong-canary";
const KEY: &str = "tweety-secured-key";
const VALUE: &str = "tweety-secured-value";

#[test]
fn no_connection_shows_a_secret_in_anything_that_librdkafka_says() {
    log();
    let broker = Secured::shared();
    broker.set_scram_password(SCRAM_USER, SCRAM_PASSWORD);
    let topic = topic(broker.plain(), "secrets", 1, &[]);
    let key = std::fs::read_to_string(broker.path("client-key.pem")).unwrap();
    let certificate = std::fs::read_to_string(broker.path("client-certificate.pem")).unwrap();
    let token = broker
        .tokens
        .token("tweety-subject-canary", Duration::from_secs(3600));
    let login = |mechanism: &'static str, user: &str, password: &str| {
        vec![
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.username", user.to_owned()),
            ("sasl.password", password.to_owned()),
        ]
    };
    let ways = [
        (Listener::Sasl, login("PLAIN", USER, PASSWORD), true),
        (
            Listener::Sasl,
            login("SCRAM-SHA-256", SCRAM_USER, SCRAM_PASSWORD),
            true,
        ),
        (
            Listener::Sasl,
            login("SCRAM-SHA-512", SCRAM_USER, SCRAM_PASSWORD),
            true,
        ),
        (Listener::Sasl, login("PLAIN", WRONG, WRONG), false),
        (
            Listener::Sasl,
            login("SCRAM-SHA-256", SCRAM_USER, WRONG),
            false,
        ),
        (
            Listener::Sasl,
            vec![("sasl.mechanism", "OAUTHBEARER".to_owned())],
            true,
        ),
        (
            Listener::Mutual,
            vec![
                ("ssl.keystore.key", key.clone()),
                ("ssl.keystore.certificate.chain", certificate),
                ("ssl.keystore.type", "PEM".to_owned()),
            ],
            true,
        ),
    ];
    let mut shown = Shown::default();
    let before = log().entries().len();
    for (listener, more, good) in &ways {
        // Who comes in may be the first one to whom this broker speaks TLS.
        let time = if *good { "30000" } else { "5000" };
        let mut all = Properties::new();
        all.set("bootstrap.servers", broker.at(*listener))
            .set("security.protocol", listener.protocol())
            .set("ssl.ca.location", broker.path("ca.pem"))
            .set("debug", "all")
            .set("max.block.ms", time)
            .set("delivery.timeout.ms", time)
            .set("request.timeout.ms", "3000");
        for (name, value) in more {
            all.set(*name, value.as_str());
        }
        let mut builder = Producer::<String, String>::builder()
            .properties(all.clone())
            .key_serializer(StringSerializer)
            .value_serializer(StringSerializer);
        if more[0].1 == "OAUTHBEARER" {
            let token = token.clone();
            builder =
                builder.oauthbearer_token(move || Ok(OAuthBearerToken::from_jwt(token.clone())?));
        }
        shown.debug("properties", &all);
        shown.debug("a builder", &builder);
        let producer = builder.build().unwrap();
        let record = ProducerRecord::new(topic.clone())
            .key(KEY.to_owned())
            .value(VALUE.to_owned());
        let sent = block_on(producer.send(record), Duration::from_secs(60)).expect("in time");
        assert_eq!(sent.is_ok(), *good, "{listener:?} {:?}: {sent:?}", more[0]);
        if let Err(error) = sent {
            shown.error("a login that failed", &error);
        }
        block_on(
            producer.close(Duration::from_secs(1)),
            Duration::from_secs(30),
        )
        .expect("in time");
    }
    shown.log();
    let said = log().entries().len() - before;
    assert!(said > 500, "librdkafka told what it did: {said}");
    let entries = log().entries();
    assert!(
        entries.iter().any(|entry| entry.contains("SASL")),
        "also of SASL"
    );
    let (header, rest) = token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    assert!(!header.is_empty());
    let lines: Vec<_> = key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let secrets = [
        PASSWORD,
        SCRAM_PASSWORD,
        WRONG,
        SCRAM_USER,
        KEY,
        VALUE,
        claims,
        signature,
    ];
    shown.must_not_hold(
        secrets
            .into_iter()
            .chain(lines.iter().copied().filter(|line| line.len() >= 8)),
    );
    println!(
        "{} ways in, {said} log lines of librdkafka's, no secret",
        ways.len()
    );
}

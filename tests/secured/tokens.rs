//! OAUTHBEARER: when tokens are asked for, where they come from, and that nothing shows one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use franking::config::Properties;
use franking::oauthbearer::OAuthBearerToken;
use franking::serializers::StringSerializer;
use franking::{Producer, ProducerBuilder, ProducerRecord};

use crate::support::secured::{Listener, Secured, USER};
use crate::support::{eventually, read, topic};
use crate::ways::Way;

fn builder(properties: Properties) -> ProducerBuilder<String, String> {
    Producer::builder()
        .properties(properties)
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
}

fn send(producer: &Producer<String, String>, topic: &str, value: String) {
    let record = ProducerRecord::new(topic.to_owned()).value(value);
    producer.blocking().send(record).unwrap();
}

#[test]
fn tokens_are_asked_for_again_before_they_expire_and_sends_go_on() {
    // The broker ends a connection whose token has expired, unless it was shown a new one.
    let broker = Secured::start(&[(
        "listener.name.sasl.oauthbearer.connections.max.reauth.ms",
        "3600000",
    )]);
    const LIFETIME: Duration = Duration::from_secs(4);
    let topic = topic(broker.plain(), "renewed", 1, &[]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let broker = Arc::new(broker);
    let issuing = Arc::clone(&broker);
    let retriever = move || {
        counting.fetch_add(1, SeqCst);
        Ok(OAuthBearerToken::from_jwt(
            issuing.tokens.token(USER, LIFETIME),
        )?)
    };
    let builder = builder(Way::Token.properties(&broker));
    let producer = builder.oauthbearer_token(retriever).build().unwrap();

    let began = Instant::now();
    let mut sent = 0;
    let mut slowest = Duration::ZERO;
    while began.elapsed() < LIFETIME * 3 {
        let before = Instant::now();
        send(&producer, &topic, format!("{sent}"));
        slowest = slowest.max(before.elapsed());
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = asked.load(SeqCst);
    // At 80 % of 4 s, so in 12 s at the start and three times more; a token's times are whole seconds.
    assert!((3..=8).contains(&asked), "{asked}");
    assert_eq!(read(broker.plain(), &topic).len(), sent);
    println!(
        "{sent} records in {:?} with {asked} tokens of {LIFETIME:?}, the slowest in {slowest:?}",
        began.elapsed()
    );
}

#[test]
fn who_has_tokens_may_fail_panic_and_be_slow_and_the_records_wait() {
    let broker = Secured::shared();
    let topic = topic(broker.plain(), "late-token", 1, &[]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let token = broker.tokens.token(USER, Duration::from_secs(3600));
    let retriever = move || match counting.fetch_add(1, SeqCst) {
        0 => Err("the identity provider is away".into()),
        1 => panic!("a bug"),
        _ => {
            std::thread::sleep(Duration::from_secs(1));
            Ok(OAuthBearerToken::from_jwt(token.clone())?)
        }
    };
    let builder = builder(Way::Token.properties(broker));
    let producer = builder.oauthbearer_token(retriever).build().unwrap();
    let began = Instant::now();
    send(&producer, &topic, "late".to_owned());
    // librdkafka asks again ten seconds after each failure.
    assert_eq!(asked.load(SeqCst), 3);
    assert_eq!(read(broker.plain(), &topic).len(), 1);
    println!(
        "a token at the third time: sent after {:?}",
        began.elapsed()
    );
    // Its thread ends with the producer.
    drop(producer);
    assert!(eventually(|| Arc::strong_count(&asked) == 1));
}

#[test]
fn a_file_is_read_again_when_its_token_ends() {
    let broker = Secured::shared();
    let topic = topic(broker.plain(), "file-token", 1, &[]);
    let short = broker.tokens.token(USER, Duration::from_secs(3));
    let file = broker.file("renewed.jwt", &short);
    let mut properties = Way::Token.properties(broker);
    properties.set(
        "sasl.oauthbearer.token.endpoint.url",
        format!("file://{file}"),
    );
    let producer = builder(properties).build().unwrap();
    send(&producer, &topic, "first".to_owned());

    // Somebody renews it, as a sidecar does. Whoever connects later needs the new one: so does this producer.
    broker.file(
        "renewed.jwt",
        &broker.tokens.token(USER, Duration::from_secs(3600)),
    );
    std::thread::sleep(Duration::from_secs(4));
    send(&producer, &topic, "second".to_owned());
    assert_eq!(read(broker.plain(), &topic).len(), 2);
}

#[test]
fn unsigned_tokens_go_on_after_the_first_has_expired() {
    let broker = Secured::start(&[(
        "listener.name.bare.oauthbearer.connections.max.reauth.ms",
        "3600000",
    )]);
    let topic = topic(broker.plain(), "unsigned", 1, &[]);
    let base = |more: &[(&str, &str)]| {
        let mut properties = Properties::from_iter([
            ("bootstrap.servers", broker.at(Listener::Bare)),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
        ]);
        for (name, value) in more {
            properties.set(*name, *value);
        }
        properties
    };
    let mut all = 0;
    // As librdkafka says it, and as Java does.
    for properties in [
        base(&[
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
            (
                "sasl.oauthbearer.config",
                "principal=alice scope=write lifeSeconds=3",
            ),
        ]),
        base(&[(
            "sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"alice\" unsecuredLoginLifetimeSeconds=\"3\";",
        )]),
    ] {
        let producer = builder(properties).build().unwrap();
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(8) {
            send(&producer, &topic, format!("{sent}"));
            sent += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("{sent} records in 8 s with unsigned tokens of 3 s");
        all += sent;
    }
    assert_eq!(read(broker.plain(), &topic).len(), all);
}

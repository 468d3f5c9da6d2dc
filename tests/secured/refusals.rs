//! Who is not let in hears so within seconds, with the setting and the remedy, not after `delivery.timeout.ms`.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use franking::config::Properties;
use franking::engine::Closed;
use franking::oauthbearer::OAuthBearerToken;
use franking::{Code, Persistence, Producer, SendError};

use crate::support::secured::{Authority, Listener, PASSWORD, Secured, TokenIssuer, USER};
use crate::support::sending::Program;
use crate::support::{builder, read, record, topic};
use crate::ways::Way;

/// `delivery.timeout.ms` is 120 s in all of these.
const SECONDS: Duration = Duration::from_secs(10);

/// Records that wait while a refusal is found out.
const WAITING: usize = 100;

/// Somebody who is not let in, and what is to be said of it.
struct Case {
    name: &'static str,
    properties: Properties,
    token: Option<OAuthBearerToken>,
    setting: &'static str,
    /// All of these are in the text.
    says: &'static [&'static str],
    /// None of these is.
    secrets: Vec<String>,
}

impl Case {
    fn new(name: &'static str, properties: Properties, setting: &'static str) -> Self {
        Self {
            name,
            properties,
            token: None,
            setting,
            says: &[],
            secrets: vec![],
        }
    }

    fn saying(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    fn producer(&self) -> Producer<String, String> {
        let builder = builder("").properties(self.properties.iter());
        match self.token.clone() {
            Some(token) => builder.oauthbearer_token(move || Ok(token.clone())),
            None => builder,
        }
        .build()
        .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Checks what a record, or a question, is answered with.
    fn check(&self, error: &SendError) {
        let (name, text) = (self.name, error.to_string());
        assert_eq!(*error.code(), Code::Authentication, "{name}: {text}");
        assert_eq!(
            error.persistence(),
            Persistence::NotPersisted,
            "{name}: {text}"
        );
        assert!(!error.is_transient(), "{name}: {text}");
        assert_eq!(
            error.failure().setting_name(),
            Some(self.setting),
            "{name}: {text}"
        );
        for says in [&[self.setting], self.says].concat() {
            assert!(text.contains(says), "{name}: no {says:?} in {text}");
        }
        for secret in &self.secrets {
            assert!(
                !format!("{error} {error:?}").contains(secret),
                "{name}: {text}"
            );
        }
    }

    /// Sends, asks and flushes all at once, then sends again, and closes; gives how long each took.
    async fn refused(&self, topic: &str) -> [Duration; 4] {
        let producer = self.producer();
        let began = Instant::now();
        let mut sent = vec![];
        for n in 0..WAITING {
            sent.push(
                producer
                    .enqueue(record(topic, format!("{n}")))
                    .await
                    .unwrap(),
            );
        }
        let records = async {
            for sent in sent {
                let error = sent.await.unwrap_err();
                self.check(&error);
                assert!(error.into_record().is_some(), "it comes back");
            }
            began.elapsed()
        };
        let question = async {
            self.check(&producer.partitions_for(topic).await.unwrap_err());
            began.elapsed()
        };
        let flush = async {
            producer.flush().await;
            began.elapsed()
        };
        let (records, question, flush) = tokio::join!(records, question, flush);

        // From now on at once, also for who asks.
        let later = Instant::now();
        self.check(&producer.send(record(topic, "later")).await.unwrap_err());
        self.check(&producer.partitions_for(topic).await.unwrap_err());
        assert!(
            later.elapsed() < Duration::from_secs(1),
            "{:?}",
            later.elapsed()
        );
        assert_eq!(producer.room().outstanding(), 0);
        let later = Instant::now();
        assert_eq!(
            producer.close(Duration::from_secs(60)).await,
            Closed::default()
        );
        assert!(
            later.elapsed() < Duration::from_secs(3),
            "{:?}",
            later.elapsed()
        );
        [records, question, flush, self.closed(topic).await]
    }

    /// Closes at once, with records that wait.
    async fn closed(&self, topic: &str) -> Duration {
        let producer = self.producer();
        for n in 0..WAITING {
            drop(
                producer
                    .enqueue(record(topic, format!("{n}")))
                    .await
                    .unwrap(),
            );
        }
        let began = Instant::now();
        let closed = producer.close(Duration::from_secs(60)).await;
        let expected = Closed {
            not_persisted: WAITING as u64,
            ..Closed::default()
        };
        assert_eq!(closed, expected, "{}", self.name);
        began.elapsed()
    }
}

/// With these in place of the right ones.
fn with(mut properties: Properties, others: &[(&str, &str)]) -> Properties {
    for (name, value) in others {
        properties.set(*name, *value);
    }
    properties
}

fn certificates(broker: &Secured) -> Vec<Case> {
    let tls = || Way::Tls.properties(broker);
    let at = |listener| with(tls(), &[("bootstrap.servers", broker.at(listener))]);
    vec![
        Case::new(
            "expired certificate",
            at(Listener::Expired),
            "ssl.ca.location",
        )
        .saying(&["expired", "ssl.keystore.location", "ssl://127.0.0.1:"]),
        Case::new(
            "another host's certificate",
            at(Listener::Elsewhere),
            "ssl.endpoint.identification.algorithm",
        )
        .saying(&["host name", "advertised.listeners"]),
        Case::new(
            "unknown authority",
            with(tls(), &[("ssl.ca.location", &broker.path("other-ca.pem"))]),
            "ssl.ca.location",
        )
        .saying(&["authority that is not trusted"]),
    ]
}

fn clients(broker: &Secured) -> Vec<Case> {
    let mutual = || Way::Mutual.properties(broker);
    let none = with(
        Way::Tls.properties(broker),
        &[("bootstrap.servers", broker.at(Listener::Mutual))],
    );
    let stranger = Authority::new("nobody's").client(USER);
    let files = [
        (
            "ssl.certificate.location",
            broker.file("stranger.pem", &stranger.certificate),
        ),
        (
            "ssl.key.location",
            broker.file("stranger-key.pem", &stranger.key),
        ),
    ];
    let files = files.each_ref().map(|(name, file)| (*name, file.as_str()));
    vec![
        Case::new("no client's certificate", none, "ssl.certificate.location"),
        Case::new(
            "a stranger's certificate",
            with(mutual(), &files),
            "ssl.certificate.location",
        ),
    ]
}

fn passwords(broker: &Secured) -> Vec<Case> {
    let mut all = vec![];
    for (name, way) in [
        ("wrong password, PLAIN", Way::Plain),
        ("wrong password, SCRAM-SHA-256", Way::Scram256),
        ("wrong password, SCRAM-SHA-512", Way::Scram512),
    ] {
        let properties = with(way.properties(broker), &[("sasl.password", "not-the-one")]);
        all.push(Case::new(name, properties, "sasl.password"));
    }
    let nobody = with(
        Way::Scram256.properties(broker),
        &[("sasl.username", "mallory")],
    );
    all.push(Case::new("unknown user", nobody, "sasl.password"));
    for case in &mut all {
        case.says = &["sasl.username", "sasl.jaas.config", "sasl.mechanism"];
        case.secrets = vec!["not-the-one".into(), PASSWORD.into(), "mallory".into()];
    }
    all
}

fn tokens(broker: &Secured) -> Vec<Case> {
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let expired = broker.tokens.token_of(USER, now - 2 * hour, now - hour);
    let forged = TokenIssuer::new().token(USER, hour);
    [("expired token", expired), ("a stranger's token", forged)]
        .map(|(name, token)| Case {
            token: Some(OAuthBearerToken::from_jwt(token.clone()).unwrap()),
            says: &["token", "expired"],
            secrets: vec![token],
            ..Case::new(
                name,
                Way::Token.properties(broker),
                "sasl.oauthbearer.token.endpoint.url",
            )
        })
        .into()
}

fn protocols(broker: &Secured) -> Vec<Case> {
    let no_sasl = with(
        Way::Scram256.properties(broker),
        &[("bootstrap.servers", broker.at(Listener::Tls))],
    );
    vec![
        Case::new("SASL, to a listener without", no_sasl, "security.protocol")
            .saying(&["has no SASL"]),
    ]
}

/// Each on a thread of its own: they mostly wait.
fn are_refused(cases: &[Case]) {
    let broker = Secured::shared();
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || {
                let topic = topic(broker.plain(), "refused", 1, &[]);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let took = runtime.unwrap().block_on(case.refused(&topic));
                let [records, question, flush, close] = took;
                println!(
                    "{}: records told after {records:.1?}, partitions_for {question:.1?}, flush {flush:.1?}, close {close:.1?}",
                    case.name
                );
                assert!(took.iter().all(|took| *took < SECONDS), "{}: {took:?}", case.name);
                assert_eq!(read(broker.plain(), &topic).len(), 0, "{}", case.name);
            });
        }
    });
}

#[test]
fn a_certificate_that_does_not_hold_is_told_within_seconds() {
    are_refused(&certificates(Secured::shared()));
}

#[test]
fn a_clients_certificate_that_the_broker_refuses_is_told_within_seconds() {
    are_refused(&clients(Secured::shared()));
}

#[test]
fn a_wrong_password_is_told_within_seconds() {
    are_refused(&passwords(Secured::shared()));
}

#[test]
fn a_token_that_is_not_taken_is_told_within_seconds() {
    are_refused(&tokens(Secured::shared()));
}

#[test]
fn the_wrong_protocol_is_told_within_seconds() {
    are_refused(&protocols(Secured::shared()));
}

/// What may be a broker that restarts is waited for, and told beside the time-out.
#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_that_is_only_suspected_to_be_wrong_is_told_with_the_time_out() {
    let broker = Secured::shared();
    let tls_to_plain = with(
        Way::Tls.properties(broker),
        &[("bootstrap.servers", broker.plain())],
    );
    let no_sasl = with(
        Way::Tls.properties(broker),
        &[("bootstrap.servers", broker.at(Listener::Sasl))],
    );
    let plain_to_tls = with(
        Properties::new(),
        &[("bootstrap.servers", broker.at(Listener::Tls))],
    );
    for (name, properties) in [
        ("no TLS, to a listener of TLS", plain_to_tls),
        ("TLS, to a listener without", tls_to_plain),
        ("no SASL, to a listener of SASL", no_sasl),
    ] {
        let producer = builder("")
            .properties(properties.iter())
            .property("request.timeout.ms", "1000")
            .property("delivery.timeout.ms", "6000")
            .property("max.block.ms", "6000")
            .build()
            .unwrap();
        let topic = topic(broker.plain(), "suspected", 1, &[]);
        let (sent, asked) = tokio::join!(
            producer.send(record(&topic, "v")),
            producer.partitions_for(&topic)
        );
        for error in [sent.unwrap_err(), asked.unwrap_err()] {
            println!("{name}: {error}");
            assert_ne!(*error.code(), Code::Authentication, "{error}");
            assert!(error.is_transient(), "{error}");
            assert_eq!(
                error.failure().setting_name(),
                Some("security.protocol"),
                "{error}"
            );
            assert!(error.to_string().contains("perhaps"), "{error}");
        }
        assert_eq!(read(broker.plain(), &topic).len(), 0);
    }
}

/// A broker that restarts breaks connections in the middle of a handshake, and nobody is refused by that.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_in_the_handshake_refuse_nobody() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (broken, count) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            if broken.send(()).is_err() {
                return;
            }
        }
    });
    let broker = Secured::shared();
    let bootstrap = format!("{address},{}", broker.at(Listener::Tls));
    let alone = with(
        Way::Tls.properties(broker),
        &[("bootstrap.servers", &address)],
    );
    let together = with(
        Way::Tls.properties(broker),
        &[("bootstrap.servers", &bootstrap)],
    );
    let topic = topic(broker.plain(), "broken", 1, &[]);
    let [alone, together] = [alone, together]
        .map(|properties| builder("").properties(properties.iter()).build().unwrap());

    let waiting = alone.enqueue(record(&topic, "alone")).await.unwrap();
    together.send(record(&topic, "together")).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert!(waited.is_err(), "it waits: {waited:?}");
    let broken = count.try_iter().count();
    println!("{broken} handshakes broken, nobody refused");
    assert!(broken > 3, "{broken}");
    assert_eq!(read(broker.plain(), &topic).len(), 1);
}

#[test]
fn the_program_ends_within_seconds_and_says_why() {
    let broker = Secured::shared();
    let certificate = certificates(broker).remove(0);
    let password = passwords(broker).remove(0);
    for case in [certificate, password] {
        let topic = topic(broker.plain(), "program-refused", 1, &[]);
        let options: Vec<_> = case
            .properties
            .iter()
            .filter(|(name, _)| *name != "bootstrap.servers")
            .flat_map(|(name, value)| ["-X".to_owned(), format!("{name}={value}")])
            .collect();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let bootstrap = case.properties.get("bootstrap.servers").unwrap();
        let began = Instant::now();
        let mut program = Program::start(bootstrap, &topic, &options);
        program.write("one\ntwo\n");
        let ended = program.end();
        let took = began.elapsed();
        println!(
            "{}: franking send ended after {took:.1?} with {:?}:\n{}",
            case.name, ended.code, ended.said
        );
        assert!(took < SECONDS, "{took:?}");
        assert_ne!(ended.code, Some(0));
        assert!(ended.said.contains("AUTHENTICATION"), "{ended:?}");
        assert!(ended.said.contains(case.setting), "{ended:?}");
        for secret in &case.secrets {
            assert!(!ended.said.contains(secret), "{ended:?}");
        }
        assert_eq!(read(broker.plain(), &topic).len(), 0);
    }
}

/// One of two brokers refuses; the other has all that is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_beside_one_that_does_not_harms_nobody() {
    let broker = Secured::shared();
    let topic = topic(broker.plain(), "one-refuses", 1, &[]);
    let tls = Way::Tls.properties(broker);
    let bootstrap = format!(
        "{},{}",
        broker.at(Listener::Expired),
        broker.at(Listener::Tls)
    );
    let both = with(tls, &[("bootstrap.servers", &bootstrap)]);
    let producer = builder("").properties(both.iter()).build().unwrap();
    let began = Instant::now();
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(5) {
        producer
            .send(record(&topic, format!("{sent}")))
            .await
            .unwrap();
        sent += 1;
    }
    println!("{sent} records beside a broker that refuses");
    assert_eq!(read(broker.plain(), &topic).len(), sent);
}

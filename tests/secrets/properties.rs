//! The values of sensitive properties.

use std::time::Duration;

use franking::config::{Config, Properties, Required};
use franking::serializers::BytesSerializer;
use franking::testing::block_on;
use franking::{Producer, ProducerRecord};

use crate::{Shown, log};

/// Those that librdkafka marks as sensitive.
const SENSITIVE: [&str; 12] = [
    "sasl.username",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl_key",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
];

/// What means the same in Java, and what is a secret by mistake.
const JAVAS: [&str; 6] = [
    "sasl.jaas.config",
    "ssl.keystore.key",
    "ssl.keystore.certificate.chain",
    "ssl.truststore.certificates",
    "sasl.pasword",
    "ssl.keypassword",
];

fn canary(name: &str) -> String {
    format!("tweety-{}-canary", name.replace(['.', '_'], "-"))
}

/// Values that could be taken, with the canary in them.
fn values(name: &str) -> Vec<String> {
    let canary = canary(name);
    match name {
        "sasl.jaas.config" => vec![
            format!(
                r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="{canary}" password="{canary}";"#
            ),
            format!(r#"PlainLoginModule required password="{canary}"#),
            canary,
        ],
        "ssl.key.pem" | "ssl.keystore.key" | "ssl_key" => vec![
            format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----\n"),
            canary,
        ],
        _ => vec![canary],
    }
}

/// Ways to be wrong, and ways to get as far as a connection.
const AROUND: [&[(&str, &str)]; 6] = [
    &[],
    &[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
    ],
    &[
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
    ],
    &[("security.protocol", "SSL")],
    &[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
    ],
    &[
        ("acks", "2"),
        ("linger.ms", "soon"),
        ("security.protocol", "SASL_SSL"),
        ("security.require.tls", "perhaps"),
    ],
];

fn properties(pairs: &[(&str, &str)]) -> Properties {
    let mut all = Properties::new();
    // Nobody listens there.
    all.set("bootstrap.servers", "127.0.0.1:9")
        .set("debug", "all");
    for (name, value) in pairs {
        all.set(*name, *value);
    }
    all
}

/// Shows all there is of a configuration, up to a producer that tried to connect. Whether there was one.
fn show(shown: &mut Shown, what: &str, all: &Properties) -> bool {
    shown.debug(what, all);
    match Config::check(all, Required::default()) {
        Ok(config) => {
            shown.debug(what, &config);
            for warning in config.warnings() {
                shown.debug(what, warning);
                shown.text(what, warning);
            }
        }
        Err(error) => shown.error(what, &error),
    }
    let builder = Producer::<bytes::Bytes, bytes::Bytes>::builder()
        .properties(all.clone())
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer);
    shown.debug(what, &builder);
    let producer = match builder.build() {
        Ok(producer) => producer,
        Err(error) => {
            shown.error(what, &error);
            return false;
        }
    };
    shown.debug(what, &producer);
    let sent = block_on(
        producer.send(ProducerRecord::new("t")),
        Duration::from_secs(30),
    );
    let error = sent.expect("in time").expect_err("there is no broker");
    shown.error(what, &error);
    block_on(producer.close(Duration::ZERO), Duration::from_secs(30)).expect("in time");
    true
}

#[test]
fn no_sensitive_property_shows_its_value() {
    log();
    let mut shown = Shown::default();
    let (mut tried, mut connected) = (0, 0);
    let short = [
        ("max.block.ms", "100"),
        ("delivery.timeout.ms", "1000"),
        ("request.timeout.ms", "500"),
    ];
    let mut show = |what: &str, pairs: &[(&str, &str)]| {
        let all = properties(&[&short[..], pairs].concat());
        tried += 1;
        connected += u32::from(show(&mut shown, what, &all));
    };
    for name in SENSITIVE.into_iter().chain(JAVAS) {
        for value in values(name) {
            for around in AROUND {
                show(name, &[around, &[(name, &value)]].concat());
            }
        }
    }
    // The user's name and password together go as far as a connection.
    let (user, password) = (canary("sasl.username"), canary("sasl.password"));
    for around in AROUND {
        show(
            "both",
            &[
                around,
                &[("sasl.username", &user), ("sasl.password", &password)],
            ]
            .concat(),
        );
    }
    let all: Vec<_> = SENSITIVE.map(|name| (name, canary(name))).to_vec();
    let all: Vec<_> = all
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    show("all at once", &all);
    let text: String = all
        .iter()
        .map(|(name, value)| format!("{name}={value}\\u00\n"))
        .collect();
    if let Err(error) = Properties::parse(&text) {
        shown.error("a file", &error);
    }

    shown.log();
    let lines = log().entries().len();
    assert!(connected >= 10, "{connected} of {tried}");
    assert!(
        shown
            .0
            .iter()
            .any(|(_, text)| text.contains("sasl.password")),
        "it names them"
    );
    let canaries: Vec<_> = SENSITIVE.into_iter().chain(JAVAS).map(canary).collect();
    shown.must_not_hold(canaries.iter().map(String::as_str));
    println!(
        "{tried} configurations, {connected} as far as librdkafka; {} texts, {lines} log lines, no secret",
        shown.0.len()
    );
}

/// What the program prints, with what librdkafka says.
#[cfg(feature = "cli")]
#[test]
fn no_command_prints_a_secret() {
    use std::process::{Command, Stdio};

    let mut shown = Shown::default();
    for name in SENSITIVE.into_iter().chain(JAVAS) {
        for value in values(name) {
            let property = format!("{name}={value}");
            for around in [
                &[][..],
                &[
                    "-X",
                    "security.protocol=SASL_PLAINTEXT",
                    "-X",
                    "sasl.mechanism=PLAIN",
                ],
            ] {
                for command in [
                    &["tail", "t", "--exit"][..],
                    &["audit", "t"],
                    &["send", "-t", "t", "-X", "max.block.ms=100"],
                ] {
                    // Those that read look for a broker for ten seconds.
                    if command[0] != "send" && !matches!(name, "sasl.password" | "ssl_key") {
                        continue;
                    }
                    let output = Command::new(env!("CARGO_BIN_EXE_franking"))
                        .args(command)
                        .args(["-b", "127.0.0.1:9", "-X", &property, "-X", "debug=all"])
                        .args(around)
                        .env("RUST_LOG", "trace")
                        .stdin(Stdio::null())
                        .output()
                        .unwrap();
                    shown.text(name, String::from_utf8_lossy(&output.stdout));
                    shown.text(name, String::from_utf8_lossy(&output.stderr));
                }
            }
        }
    }
    let canaries: Vec<_> = SENSITIVE.into_iter().chain(JAVAS).map(canary).collect();
    shown.must_not_hold(canaries.iter().map(String::as_str));
}

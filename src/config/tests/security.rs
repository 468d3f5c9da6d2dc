//! TLS and SASL.

use rdkafka::ClientConfig;

use super::super::security::TLS;
use super::super::*;
use super::{accepted, check, given, one, problem, problems, warned};

#[test]
fn tls_needs_a_feature_and_says_which() {
    for protocol in ["SSL", "sasl_ssl"] {
        let pairs = [
            ("security.protocol", protocol),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ];
        if TLS {
            check(&pairs).unwrap();
        } else {
            one(&pairs, "security.protocol", ProblemKind::NeedsFeature);
            let instead = problem(&pairs).instead;
            assert!(
                instead.contains("`tls`") && instead.contains("`tls-vendored`"),
                "{instead}"
            );
        }
    }
    let scram = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "scram-sha-256"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
    ];
    if !TLS {
        one(&scram, "sasl.mechanism", ProblemKind::NeedsFeature);
    }
}

#[test]
fn sasl_needs_a_mechanism_that_is_built_in_and_its_credentials() {
    let on = ("security.protocol", "SASL_PLAINTEXT");
    one(&[on], "sasl.mechanism", ProblemKind::Missing);
    one(
        &[on, ("sasl.mechanism", "GSSAPI")],
        "sasl.mechanism",
        ProblemKind::Refused,
    );
    one(
        &[on, ("sasl.mechanism", "DIGEST")],
        "sasl.mechanism",
        ProblemKind::Invalid,
    );
    assert_eq!(
        problems(&[on, ("sasl.mechanisms", "PLAIN")]),
        [
            ("sasl.username".to_owned(), ProblemKind::Missing),
            ("sasl.password".to_owned(), ProblemKind::Missing),
        ]
    );
}

#[test]
fn security_that_is_not_used_is_warned_of() {
    assert_eq!(
        warned(&[("ssl.ca.location", "/ca.pem"), ("sasl.username", "u")]),
        ["ssl.ca.location", "sasl.username"]
    );
}

#[test]
fn javas_stores_are_translated_or_refused() {
    // Without the feature, that it is missing is one more problem.
    let found = |more: &[(&'static str, &'static str)]| {
        let pairs = [&[("security.protocol", "SSL")], more].concat();
        match check(&pairs) {
            Ok(config) => Ok(config),
            Err(error) => {
                let mut problems = error.into_problems();
                problems.retain(|problem| problem.kind != ProblemKind::NeedsFeature);
                Err(problems
                    .into_iter()
                    .map(|p| (p.property, p.kind))
                    .collect::<Vec<_>>())
            }
        }
    };
    for (more, property, kind) in [
        (
            &[("ssl.truststore.location", "a.jks")][..],
            "ssl.truststore.location",
            ProblemKind::Refused,
        ),
        (
            &[("ssl.keystore.type", "JKS")][..],
            "ssl.keystore.type",
            ProblemKind::Refused,
        ),
        (
            &[("ssl.keystore.location", "a.p12")][..],
            "ssl.keystore.password",
            ProblemKind::Missing,
        ),
        (
            &[("ssl.cipher.suites", "TLS_RSA_WITH_AES_128_CBC_SHA")][..],
            "ssl.cipher.suites",
            ProblemKind::Invalid,
        ),
    ] {
        assert_eq!(found(more).unwrap_err(), [(property.to_owned(), kind)]);
    }
    let pem = found(&[
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", "/ca.pem"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", "/me.pem"),
        ("ssl.endpoint.identification.algorithm", ""),
    ]);
    match pem {
        Ok(config) => {
            for (name, value) in [
                ("ssl.ca.location", "/ca.pem"),
                ("ssl.key.location", "/me.pem"),
                ("ssl.certificate.location", "/me.pem"),
                ("ssl.endpoint.identification.algorithm", "none"),
            ] {
                assert_eq!(given(&config, name).as_deref(), Some(value), "{name}");
            }
            assert_eq!(config.warnings().len(), 1);
        }
        Err(others) => assert!(!TLS && others.is_empty(), "{others:?}"),
    }
}

#[test]
fn librdkafka_knows_every_name_that_tls_is_translated_to() {
    let texts = [
        "ssl.cipher.suites",
        "ssl.curves.list",
        "ssl.sigalgs.list",
        "ssl.providers",
        "ssl.crl.location",
        "ssl.ca.location",
        "ssl.truststore.certificates",
        "ssl.certificate.location",
        "ssl.keystore.certificate.chain",
        "ssl.key.location",
        "ssl.keystore.key",
        "ssl.key.password",
        "ssl.keystore.location",
        "ssl.keystore.password",
    ];
    let mut pairs: Vec<_> = texts.map(|name| (name, "x")).to_vec();
    pairs.extend([
        ("security.protocol", "SASL_SSL"),
        ("ssl.endpoint.identification.algorithm", "HTTPS"),
        ("enable.ssl.certificate.verification", "true"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=x"),
    ]);
    match check(&pairs) {
        Ok(config) => {
            let mut native = ClientConfig::new();
            for (name, value) in config.librdkafka() {
                native.set(name, value);
            }
            for name in texts {
                let name = match name {
                    "ssl.truststore.certificates" => "ssl.ca.pem",
                    "ssl.keystore.certificate.chain" => "ssl.certificate.pem",
                    "ssl.keystore.key" => "ssl.key.pem",
                    name => name,
                };
                assert_eq!(given(&config, name).as_deref(), Some("x"), "{name}");
            }
            // No producer: that would read the files.
            native.create_native_config().unwrap();
        }
        Err(error) if TLS => panic!("{error}"),
        Err(error) => assert_eq!(
            error.problems()[0].kind,
            ProblemKind::NeedsFeature,
            "{error}"
        ),
    }
}

#[test]
fn a_producer_is_made_for_tls_and_scram() {
    let pairs = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "scram-sha-512"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
    ];
    if TLS {
        let config = check(&pairs).unwrap();
        assert!(config.warnings().is_empty());
        accepted(&config);
    }
}

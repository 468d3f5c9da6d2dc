//! TLS and SASL.

use rdkafka::ClientConfig;

use super::super::security::TLS;
use super::super::*;
use super::{accepted, check, check_built, given, one, problems, warned};

#[test]
fn tls_needs_a_feature_and_says_which() {
    let found = |tls, pairs: &[(&str, &str)]| {
        let problems = match check_built(tls, pairs) {
            Ok(_) => Vec::new(),
            Err(error) => error.into_problems(),
        };
        let problems = problems.into_iter();
        problems
            .map(|problem| (problem.property, problem.kind, problem.instead))
            .collect::<Vec<_>>()
    };
    let user = [("sasl.username", "u"), ("sasl.password", "p")];
    for (protocol, mechanism, missing) in [
        ("SSL", "PLAIN", Some("security.protocol")),
        ("sasl_ssl", "PLAIN", Some("security.protocol")),
        ("sasl_ssl", "SCRAM-SHA-512", Some("security.protocol")),
        ("SASL_PLAINTEXT", "scram-sha-256", Some("sasl.mechanism")),
        ("SASL_PLAINTEXT", "PLAIN", None),
    ] {
        let how = [
            ("security.protocol", protocol),
            ("sasl.mechanism", mechanism),
        ];
        let pairs = [how, user].concat();
        assert_eq!(found(true, &pairs), [], "{protocol} {mechanism}");
        let without = found(false, &pairs);
        assert_eq!(without.len(), usize::from(missing.is_some()), "{without:?}");
        if let (Some(property), [(found, kind, instead)]) = (missing, &without[..]) {
            assert_eq!(
                (found.as_str(), *kind),
                (property, ProblemKind::NeedsFeature)
            );
            assert!(
                instead.contains("`tls`") && instead.contains("`tls-vendored`"),
                "{instead}"
            );
        }
    }
}

#[test]
fn security_require_tls_refuses_what_anybody_could_read_or_pretend() {
    let required = ("security.require.tls", "true");
    let user = [("sasl.username", "u"), ("sasl.password", "p")];
    let refused = |pairs: &[(&str, &str)]| {
        let error = check_built(true, &[&[required], pairs].concat()).unwrap_err();
        let problems = error.into_problems();
        for problem in &problems {
            assert_eq!(problem.kind, ProblemKind::Contradiction, "{problem}");
            assert!(
                problem.message.contains("`security.require.tls` is true"),
                "{problem}"
            );
        }
        let problems = problems.into_iter();
        problems.map(|problem| problem.property).collect::<Vec<_>>()
    };
    assert_eq!(refused(&[]), ["security.protocol"]);
    assert_eq!(
        refused(&[("security.protocol", "PLAINTEXT")]),
        ["security.protocol"]
    );
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let bare = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", mechanism),
        ];
        assert_eq!(refused(&[bare, user].concat()), ["security.protocol"]);
    }
    let tls = ("security.protocol", "SSL");
    let algorithm = "ssl.endpoint.identification.algorithm";
    let verification = "enable.ssl.certificate.verification";
    for off in ["", "none"] {
        assert_eq!(refused(&[tls, (algorithm, off)]), [algorithm]);
    }
    assert_eq!(refused(&[tls, (verification, "false")]), [verification]);
    assert_eq!(
        refused(&[tls, (algorithm, "none"), (verification, "false")]),
        [algorithm, verification]
    );

    let good = [required, tls, (algorithm, "https"), (verification, "true")];
    assert_eq!(check_built(true, &good).unwrap().warnings(), []);
    // Without it, these are warnings.
    let off = [tls, (algorithm, "none"), (verification, "false")];
    for more in [&[][..], &[("security.require.tls", "false")]] {
        let config = check_built(true, &[&off, more].concat()).unwrap();
        assert_eq!(config.warnings().len(), 2);
    }
    one(
        &[("security.require.tls", "yes")],
        "security.require.tls",
        ProblemKind::Invalid,
    );
}

#[test]
fn a_password_or_token_without_tls_is_warned_of_and_a_hash_is_not() {
    let warned = |pairs: &[(&str, &str)]| {
        let bare = [("security.protocol", "SASL_PLAINTEXT")];
        let config = check_built(true, &[&bare, pairs].concat()).unwrap();
        let warnings = config.warnings().iter();
        warnings
            .map(|warning| warning.to_string())
            .collect::<Vec<_>>()
    };
    let user = [("sasl.username", "u"), ("sasl.password", "p")];
    let plain = warned(&[&[("sasl.mechanism", "PLAIN")], &user[..]].concat());
    assert!(
        plain.len() == 1 && plain[0].contains("password goes over the network"),
        "{plain:?}"
    );
    let token = warned(&[
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.token.endpoint.url", "file:///token"),
    ]);
    assert!(
        token.len() == 1 && token[0].contains("token goes over the network"),
        "{token:?}"
    );
    assert_eq!(
        warned(&[&[("sasl.mechanism", "SCRAM-SHA-256")], &user[..]].concat()),
        [""; 0]
    );
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const TOKEN: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// SASL over TLS with this mechanism, in a build that has it.
fn sasl(mechanism: &str, more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let how = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", mechanism),
    ];
    check_built(true, &[&how, more].concat())
}

#[test]
fn javas_login_modules_say_who_logs_in() {
    for (mechanism, module) in [
        ("PLAIN", PLAIN),
        ("SCRAM-SHA-256", SCRAM),
        ("SCRAM-SHA-512", SCRAM),
    ] {
        let jaas = format!(r#"{module} required username="alice" password="a \"b\\" ;"#);
        let config = sasl(mechanism, &[("sasl.jaas.config", &jaas)]).unwrap();
        assert_eq!(config.warnings(), []);
        assert_eq!(given(&config, "sasl.username").as_deref(), Some("alice"));
        assert_eq!(given(&config, "sasl.password").as_deref(), Some(r#"a "b\"#));
        assert_eq!(given(&config, "sasl.jaas.config"), None);
        assert!(!format!("{config:?}").contains("alice"), "{config:?}");
    }
}

#[test]
fn what_is_wrong_with_a_login_module_is_said_without_its_secrets() {
    let secret = "hunter2";
    for (mechanism, jaas, kind) in [
        (
            "PLAIN",
            format!("{PLAIN} required username=\"u\" password=\"hunter2\""),
            ProblemKind::Invalid,
        ),
        (
            "PLAIN",
            format!("{SCRAM} required username=\"u\" password=\"hunter2\";"),
            ProblemKind::Contradiction,
        ),
        (
            "PLAIN",
            "hunter2 required username=\"u\";".to_owned(),
            ProblemKind::Refused,
        ),
        (
            "PLAIN",
            format!("{PLAIN} required username=\"hunter2\";"),
            ProblemKind::Missing,
        ),
        (
            "PLAIN",
            format!("{PLAIN} required password=\"hunter2\";"),
            ProblemKind::Missing,
        ),
        (
            "PLAIN",
            format!("{PLAIN} required username=\"u\" password=\"hunter2\\0\";"),
            ProblemKind::Invalid,
        ),
        (
            "SCRAM-SHA-256",
            format!("{SCRAM} required username=\"u\" password=\"hunter2\" tokenauth=\"true\";"),
            ProblemKind::Refused,
        ),
        (
            "OAUTHBEARER",
            format!("{TOKEN} required clientSecret=\"hunter2\";"),
            ProblemKind::Refused,
        ),
        (
            "OAUTHBEARER",
            format!("{TOKEN} required unsecuredLoginLifetimeSeconds=\"hunter2\";"),
            ProblemKind::Invalid,
        ),
        (
            "OAUTHBEARER",
            format!("{TOKEN} required unsecuredLoginListClaim_scope=\"|hunter2\";"),
            ProblemKind::Missing,
        ),
    ] {
        let error = sasl(mechanism, &[("sasl.jaas.config", &jaas)]).unwrap_err();
        let found: Vec<_> = error
            .problems()
            .iter()
            .map(|p| (p.property.as_str(), p.kind))
            .collect();
        assert_eq!(found, [("sasl.jaas.config", kind)], "{jaas}: {error}");
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
    // Two that say who logs in.
    let jaas = format!("{PLAIN} required username=\"u\" password=\"p\";");
    let both = [
        ("sasl.jaas.config", jaas.as_str()),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
    ];
    let error = sasl("PLAIN", &both).unwrap_err();
    assert_eq!(error.problems().len(), 2, "{error}");
}

#[test]
fn tokens_come_from_one_place() {
    let url = "sasl.oauthbearer.token.endpoint.url";
    let unsigned = "enable.sasl.oauthbearer.unsecure.jwt";
    let config = "sasl.oauthbearer.config";
    let jaas = "sasl.jaas.config";
    let module = format!("{TOKEN} required;");
    let alice = format!(
        "{TOKEN} required unsecuredLoginStringClaim_sub=\"alice\" unsecuredLoginListClaim_scope=\"|a|b\" unsecuredLoginExtension_team=\"till\";"
    );
    let handler = (
        "sasl.login.callback.handler.class",
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    );
    for good in [
        &[
            (url, "file:///run/secrets/kafka.jwt"),
            (jaas, &module),
            handler,
        ][..],
        &[(url, "file:/run/secrets/kafka.jwt")],
        &[
            (unsigned, "true"),
            (
                config,
                "principal=alice scope=a,b lifeSeconds=60 extension_team=till",
            ),
        ],
        &[(jaas, &alice)],
    ] {
        let config = sasl("OAUTHBEARER", good).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.tokens().is_some(), "{good:?}");
        assert_eq!(config.warnings(), []);
        assert_eq!(
            given(&config, "sasl.mechanisms").as_deref(),
            Some("OAUTHBEARER")
        );
        // librdkafka is told of no other source: it would make no second token.
        assert_eq!(given(&config, unsigned), None);
    }
    let both = [
        (unsigned, "true"),
        (config, "principal=alice"),
        (url, "file:///token"),
    ];
    for (wrong, property, kind) in [
        (&both[..], unsigned, ProblemKind::Contradiction),
        (
            &[(jaas, &alice), (url, "file:///token")],
            jaas,
            ProblemKind::Contradiction,
        ),
        (&[(unsigned, "true")], config, ProblemKind::Missing),
        (
            &[(unsigned, "true"), (config, "principal=alice life=1")],
            config,
            ProblemKind::Invalid,
        ),
        (
            &[
                (unsigned, "true"),
                (config, "principal=alice lifeSeconds=0"),
            ],
            config,
            ProblemKind::Invalid,
        ),
        (
            &[
                (unsigned, "true"),
                (config, "principal=alice extension_a1=x"),
            ],
            config,
            ProblemKind::Invalid,
        ),
        (
            &[(url, "https://login.example.com/token")],
            url,
            ProblemKind::Refused,
        ),
        (&[(url, "file://token")], url, ProblemKind::Invalid),
        (&[(url, "file:///a%20b")], url, ProblemKind::Invalid),
        (
            &[(url, "file:///token"), (handler.0, "com.example.Handler")],
            handler.0,
            ProblemKind::Refused,
        ),
    ] {
        let error = sasl("OAUTHBEARER", wrong).unwrap_err();
        let found: Vec<_> = error
            .problems()
            .iter()
            .map(|p| (p.property.as_str(), p.kind))
            .collect();
        assert_eq!(found, [(property, kind)], "{wrong:?}: {error}");
    }

    // With none, the program has to have them.
    assert!(sasl("OAUTHBEARER", &[]).unwrap().tokens().is_none());
    let properties = Properties::from_iter([
        ("bootstrap.servers", "b:1"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "OAUTHBEARER"),
    ]);
    let required = Required {
        oauthbearer_token: true,
        ..Required::default()
    };
    let error = super::super::check::check(&properties, required, true).unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!(
        (problem.property.as_str(), problem.kind),
        (url, ProblemKind::Missing)
    );
    assert!(problem.instead.contains("`oauthbearer_token`"), "{problem}");
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
    let found = |more: &[(&'static str, &'static str)]| {
        let pairs = [&[("security.protocol", "SSL")], more].concat();
        check_built(true, &pairs).map_err(|error| {
            let problems = error.into_problems().into_iter();
            problems.map(|p| (p.property, p.kind)).collect::<Vec<_>>()
        })
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
    let config = pem.unwrap();
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

//! TLS and SASL: Java's names to librdkafka's, and what this build can do.

use super::error::ProblemKind;
use super::librdkafka::Pairs;
use super::names::quoted;
use super::reader::Reader;
use super::values::SecurityProtocol;

/// Whether this build can do TLS.
pub(super) const TLS: bool = cfg!(any(feature = "tls", feature = "tls-vendored"));

const WITH_TLS: &str = "build the crate with its feature `tls` or `tls-vendored`";

/// Text for librdkafka's TLS, and its names there.
const TLS_TEXT: &[(&str, &str)] = &[
    ("ssl.curves.list", "ssl.curves.list"),
    ("ssl.sigalgs.list", "ssl.sigalgs.list"),
    ("ssl.providers", "ssl.providers"),
    ("ssl.crl.location", "ssl.crl.location"),
    ("ssl.ca.location", "ssl.ca.location"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.certificate.location", "ssl.certificate.location"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.key.location", "ssl.key.location"),
    ("ssl.keystore.key", "ssl.key.pem"),
    ("ssl.key.password", "ssl.key.password"),
];

/// The other settings that only TLS uses.
const TLS_OTHER: &[&str] = &[
    "ssl.cipher.suites",
    "ssl.truststore.location",
    "ssl.truststore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
];

const SASL: &[&str] = &[
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "enable.sasl.oauthbearer.unsecure.jwt",
];

/// Reads `security.protocol` and everything that hangs on it.
pub(super) fn read(reader: &mut Reader<'_>, pairs: &mut Pairs) -> SecurityProtocol {
    let given = reader.given("security.protocol");
    let Some(protocol) = reader
        .word("security.protocol", SecurityProtocol::WORDS)
        .or_else(|| given.is_none().then_some(SecurityProtocol::Plaintext))
    else {
        // Nobody knows what was meant, so nothing is said about what hangs on it.
        return SecurityProtocol::Plaintext;
    };
    if protocol.uses_tls() {
        if !TLS {
            reader.problem(
                "security.protocol",
                ProblemKind::NeedsFeature,
                format!("`{protocol}` needs TLS, and this build has none"),
                WITH_TLS,
            );
        }
        tls(reader, pairs);
    } else {
        let texts = TLS_TEXT.iter().map(|(setting, _)| *setting);
        not_used(reader, texts.chain(TLS_OTHER.iter().copied()), protocol);
    }
    if protocol.uses_sasl() {
        sasl(reader, pairs, protocol);
    } else {
        not_used(reader, SASL.iter().copied(), protocol);
    }
    protocol
}

fn not_used(
    reader: &mut Reader<'_>,
    settings: impl Iterator<Item = &'static str>,
    protocol: SecurityProtocol,
) {
    for setting in settings {
        if let Some((name, _)) = reader.given(setting) {
            reader.warn(
                name,
                format!("it is not used, as `security.protocol` is `{protocol}`"),
                "set `security.protocol`, or remove it",
            );
        }
    }
}

/// Gives librdkafka a text as it is.
fn pass(reader: &mut Reader<'_>, pairs: &mut Pairs, setting: &'static str, name: &str) {
    if let Some((written, value)) = reader.given(setting)
        && let Some(value) = reader.c_text(written, value)
    {
        pairs.push(name, value);
    }
}

fn tls(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    for (setting, name) in TLS_TEXT {
        pass(reader, pairs, setting, name);
    }
    if let Some(suites) = reader.text("ssl.cipher.suites") {
        if suites.contains("TLS_") || suites.contains("SSL_") {
            reader.problem(
                "ssl.cipher.suites",
                ProblemKind::Invalid,
                format!("{} has Java's names", quoted("ssl.cipher.suites", suites)),
                "write OpenSSL's names, which `openssl ciphers -stdname` lists, or remove it",
            );
        } else {
            pass(reader, pairs, "ssl.cipher.suites", "ssl.cipher.suites");
        }
    }
    trust_store(reader, pairs);
    key_store(reader, pairs);
    // Java turns the check off with an empty value.
    let algorithm = "ssl.endpoint.identification.algorithm";
    match reader.text(algorithm).map(str::trim) {
        None => {}
        Some("") => host_name_unchecked(reader, pairs),
        Some(_) => match reader.word(algorithm, &[("https", true), ("none", false)]) {
            Some(true) => pairs.push(algorithm, "https"),
            Some(false) => host_name_unchecked(reader, pairs),
            None => {}
        },
    }
    if let Some(verify) = reader.bool("enable.ssl.certificate.verification") {
        pairs.push("enable.ssl.certificate.verification", verify);
        if !verify {
            reader.warn(
                "enable.ssl.certificate.verification",
                "anybody can pretend to be a broker",
                "write the broker's certificate authority as `ssl.ca.location`",
            );
        }
    }
}

fn host_name_unchecked(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    pairs.push("ssl.endpoint.identification.algorithm", "none");
    reader.warn(
        "ssl.endpoint.identification.algorithm",
        "anybody with any certificate of a trusted authority can pretend to be a broker",
        "write `https`",
    );
}

fn trust_store(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    let kind = reader.text("ssl.truststore.type").map(str::trim);
    let pem = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"));
    if let Some(location) = reader.text("ssl.truststore.location") {
        if !pem {
            reader.problem(
                "ssl.truststore.location",
                ProblemKind::Refused,
                "librdkafka cannot read Java's trust stores",
                "export the certificates as PEM and write that file's path as `ssl.ca.location`",
            );
        } else if reader.given("ssl.ca.location").is_some() {
            reader.problem(
                "ssl.truststore.location",
                ProblemKind::Contradiction,
                "`ssl.ca.location` is given too, and both say whom to trust",
                "keep one of them",
            );
        } else if let Some(location) = reader.c_text("ssl.truststore.location", location) {
            pairs.push("ssl.ca.location", location);
        }
    } else if let Some(kind) = kind.filter(|_| !pem) {
        reader.problem(
            "ssl.truststore.type",
            ProblemKind::Refused,
            format!(
                "librdkafka cannot read {}",
                quoted("ssl.truststore.type", kind)
            ),
            "write `PEM`, or remove it",
        );
    }
}

fn key_store(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    let kind = reader
        .text("ssl.keystore.type")
        .map_or("PKCS12", str::trim)
        .to_ascii_uppercase();
    let location = reader.text("ssl.keystore.location");
    let location = location.and_then(|path| reader.c_text("ssl.keystore.location", path));
    let password = reader.given("ssl.keystore.password").is_some();
    match (kind.as_str(), location) {
        ("PKCS12", Some(location)) => {
            pairs.push("ssl.keystore.location", location);
            pass(
                reader,
                pairs,
                "ssl.keystore.password",
                "ssl.keystore.password",
            );
            if !password {
                reader.problem(
                    "ssl.keystore.password",
                    ProblemKind::Missing,
                    "`ssl.keystore.location` is given, and a key store has a password",
                    "set it",
                );
            }
        }
        // Java's PEM key store is one file with the key and its certificates.
        ("PEM", Some(location)) => {
            for (setting, name) in [
                ("ssl.key.location", "ssl.key.location"),
                ("ssl.certificate.location", "ssl.certificate.location"),
            ] {
                if reader.given(setting).is_some() {
                    reader.problem(
                        setting,
                        ProblemKind::Contradiction,
                        "`ssl.keystore.location` is given too, and has the key and its certificates",
                        "keep one of them",
                    );
                } else {
                    pairs.push(name, location);
                }
            }
            if password {
                reader.problem(
                    "ssl.keystore.password",
                    ProblemKind::Contradiction,
                    "`ssl.keystore.type` is `PEM`, which has no password of the whole file",
                    "write the key's as `ssl.key.password`",
                );
            }
        }
        ("PKCS12" | "PEM", None) => {
            if password {
                reader.problem(
                    "ssl.keystore.location",
                    ProblemKind::Missing,
                    "`ssl.keystore.password` is given, and no key store",
                    "set it, or remove the password",
                );
            }
        }
        _ => reader.problem(
            "ssl.keystore.type",
            ProblemKind::Refused,
            format!(
                "librdkafka cannot read {}",
                quoted("ssl.keystore.type", &kind)
            ),
            "convert the key store with `keytool -importkeystore -deststoretype PKCS12`, and write `PKCS12`",
        ),
    }
}

fn sasl(reader: &mut Reader<'_>, pairs: &mut Pairs, protocol: SecurityProtocol) {
    const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
    const WRITE: &str = "write `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`";
    let Some((name, value)) = reader.given("sasl.mechanism") else {
        reader.problem(
            "sasl.mechanism",
            ProblemKind::Missing,
            format!("`security.protocol` is `{protocol}`, and Java's default, GSSAPI, is not in this build"),
            WRITE,
        );
        return;
    };
    let written = value.trim().to_ascii_uppercase();
    let Some(mechanism) = MECHANISMS.iter().find(|known| **known == written) else {
        let (kind, message) = if written == "GSSAPI" {
            (
                ProblemKind::Refused,
                "this build of librdkafka has no Kerberos (GSSAPI)".to_owned(),
            )
        } else {
            (
                ProblemKind::Invalid,
                format!("{} is not one of its values", quoted(name, value)),
            )
        };
        reader.problem(name, kind, message, WRITE);
        return;
    };
    // librdkafka takes SCRAM's and OAUTHBEARER's hashes from OpenSSL. Without TLS at all, that has been said already.
    if *mechanism != "PLAIN" && !TLS && !protocol.uses_tls() {
        reader.problem(
            name,
            ProblemKind::NeedsFeature,
            format!("`{mechanism}` needs OpenSSL, and this build has none"),
            WITH_TLS,
        );
    }
    pairs.push("sasl.mechanisms", mechanism);
    let (password, token) = (&SASL[1..3], &SASL[3..]);
    let others = if *mechanism == "OAUTHBEARER" {
        password
    } else {
        token
    };
    for other in others {
        if reader.given(other).is_some() {
            reader.warn(
                other,
                format!("it is not used, as `{name}` is `{mechanism}`"),
                "remove it",
            );
        }
    }
    if *mechanism == "OAUTHBEARER" {
        let unsecured = reader.bool("enable.sasl.oauthbearer.unsecure.jwt");
        if unsecured == Some(true) {
            pairs.push("enable.sasl.oauthbearer.unsecure.jwt", true);
            pass(
                reader,
                pairs,
                "sasl.oauthbearer.config",
                "sasl.oauthbearer.config",
            );
        } else {
            reader.problem(
                name,
                ProblemKind::Refused,
                "this producer has no way to fetch an OAuth token",
                "use `SCRAM-SHA-512` or `PLAIN`; for a test cluster, `enable.sasl.oauthbearer.unsecure.jwt=true` makes unsigned tokens",
            );
        }
        return;
    }
    for credential in ["sasl.username", "sasl.password"] {
        if reader.text(credential).is_none_or(str::is_empty) {
            reader.problem(
                credential,
                ProblemKind::Missing,
                format!("`{mechanism}` needs it"),
                "set it",
            );
        }
        pass(reader, pairs, credential, credential);
    }
    if *mechanism == "PLAIN" && !protocol.uses_tls() {
        reader.warn(
            "security.protocol",
            "the password goes over the network as it is",
            "write `SASL_SSL`",
        );
    }
}

//! Java's trust stores and key stores: PEM and PKCS#12 are taken, JKS is told how to convert.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::super::error::ProblemKind;
use super::super::librdkafka::Pairs;
use super::super::names::quoted;
use super::super::reader::Reader;
use super::pass;

/// The settings of stores.
pub(super) const NAMES: &[&str] = &[
    TRUST,
    "ssl.truststore.type",
    KEY,
    "ssl.keystore.password",
    "ssl.keystore.type",
];

const TRUST: &str = "ssl.truststore.location";
const KEY: &str = "ssl.keystore.location";

pub(super) fn trust(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    let kind = reader.text("ssl.truststore.type").map(str::trim);
    let pem = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"));
    if let Some(location) = reader.text(TRUST) {
        if !pem {
            reader.problem(
                TRUST,
                ProblemKind::Refused,
                "librdkafka reads no trust store but PEM",
                format!(
                    "convert it with `keytool -list -rfc -keystore {} > ca.pem`, and write that file's path as `ssl.ca.location`",
                    shown(location, "truststore.jks")
                ),
            );
        } else if reader.given("ssl.ca.location").is_some() {
            reader.problem(
                TRUST,
                ProblemKind::Contradiction,
                "`ssl.ca.location` is given too, and both say whom to trust",
                "keep one of them",
            );
        } else if let Some(location) = reader.c_text(TRUST, location) {
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

pub(super) fn key(reader: &mut Reader<'_>, pairs: &mut Pairs) {
    let kind = reader
        .text("ssl.keystore.type")
        .map_or("PKCS12", str::trim)
        .to_ascii_uppercase();
    let location = reader.text(KEY);
    let location = location.and_then(|path| reader.c_text(KEY, path));
    let password = reader.given("ssl.keystore.password").is_some();
    match (kind.as_str(), location) {
        // Since Java 9, what is called JKS is PKCS#12 more often than not.
        ("PKCS12" | "JKS", Some(location)) if is_pkcs12(location, kind == "PKCS12") => {
            pairs.push(KEY, location);
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
                    KEY,
                    ProblemKind::Missing,
                    "`ssl.keystore.password` is given, and no key store",
                    "set it, or remove the password",
                );
            }
        }
        (kind, location) => {
            let (setting, what) = match location {
                Some(_) => (KEY, "it is a key store of Java's own format".to_owned()),
                None => {
                    let setting = "ssl.keystore.type";
                    (
                        setting,
                        format!("librdkafka cannot read {}", quoted(setting, kind)),
                    )
                }
            };
            reader.problem(
                setting,
                ProblemKind::Refused,
                what,
                format!(
                    "convert it with `keytool -importkeystore -srckeystore {} -destkeystore client.p12 -deststoretype PKCS12`, \
                     write that file's path as `ssl.keystore.location`, and `PKCS12` as `ssl.keystore.type`",
                    shown(location.unwrap_or_default(), "client.jks")
                ),
            );
        }
    }
}

/// Whether it is PKCS#12 and not Java's own format: as the file says, or else as the type does.
fn is_pkcs12(path: &str, said: bool) -> bool {
    is_jks(path).map_or(said, |jks| !jks)
}

/// Whether the file begins as Java's own format does; `None` if it cannot be read, which librdkafka will say.
fn is_jks(path: &str) -> Option<bool> {
    let path = Path::new(path);
    let mut magic = [0; 4];
    // Only a file: anything else could keep the reader waiting.
    path.metadata().ok().filter(|found| found.is_file())?;
    File::open(path).ok()?.read_exact(&mut magic).ok()?;
    Some(magic == [0xfe, 0xed, 0xfe, 0xed])
}

/// A path as a shell takes it, or the name of an example.
fn shown<'p>(path: &'p str, example: &'p str) -> &'p str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match !path.is_empty() && path.len() < 200 && path.chars().all(plain) {
        true => path,
        false => example,
    }
}

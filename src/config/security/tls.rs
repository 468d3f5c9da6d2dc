//! TLS: certificates, keys, ciphers, and who the other end must be.

use super::super::error::ProblemKind;
use super::super::librdkafka::Pairs;
use super::super::names::quoted;
use super::super::reader::Reader;
use super::{pass, required, stores};

/// Text for librdkafka's TLS, and its names there.
const TEXT: &[(&str, &str)] = &[
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

const ALGORITHM: &str = "ssl.endpoint.identification.algorithm";
const VERIFICATION: &str = "enable.ssl.certificate.verification";

/// Every setting that only TLS uses.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let texts = TEXT.iter().map(|(setting, _)| *setting);
    texts
        .chain(stores::NAMES.iter().copied())
        .chain(["ssl.cipher.suites", ALGORITHM, VERIFICATION])
}

pub(super) fn read(reader: &mut Reader<'_>, pairs: &mut Pairs, tls_required: bool) {
    for (setting, name) in TEXT {
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
    stores::trust(reader, pairs);
    stores::key(reader, pairs);
    // Java turns the check off with an empty value.
    match reader.text(ALGORITHM).map(str::trim) {
        None => {}
        Some("") => host_name_unchecked(reader, pairs, tls_required),
        Some(_) => match reader.word(ALGORITHM, &[("https", true), ("none", false)]) {
            Some(true) => pairs.push(ALGORITHM, "https"),
            Some(false) => host_name_unchecked(reader, pairs, tls_required),
            None => {}
        },
    }
    if let Some(verify) = reader.bool(VERIFICATION) {
        pairs.push(VERIFICATION, verify);
        if !verify {
            unchecked(
                reader,
                VERIFICATION,
                "anybody can pretend to be a broker",
                "remove it, and write the path of the certificate of the brokers' authority as `ssl.ca.location`",
                tls_required,
            );
        }
    }
}

fn host_name_unchecked(reader: &mut Reader<'_>, pairs: &mut Pairs, tls_required: bool) {
    pairs.push(ALGORITHM, "none");
    unchecked(
        reader,
        ALGORITHM,
        "anybody with any certificate of a trusted authority can pretend to be a broker",
        "write `https`",
        tls_required,
    );
}

/// TLS with whoever answers.
fn unchecked(
    reader: &mut Reader<'_>,
    setting: &'static str,
    why: &str,
    instead: &str,
    tls_required: bool,
) {
    match tls_required {
        true => required(reader, setting, why, instead),
        false => reader.warn(setting, why, instead),
    }
}

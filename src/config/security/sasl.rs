//! SASL: the mechanism, and who this client is.

use super::super::error::ProblemKind;
use super::super::librdkafka::Pairs;
use super::super::names::quoted;
use super::super::reader::Reader;
use super::super::values::SecurityProtocol;
use super::jaas::{self, Login};
use super::tokens::{self, Tokens};
use super::{WITH_TLS, pass};

/// The settings that only SASL uses.
pub(super) const NAMES: &[&str] = &[
    "sasl.mechanism",
    JAAS,
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.config",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.jwt.retriever.class",
    "sasl.login.callback.handler.class",
];

/// Those of [`NAMES`] that are passwords, and those that are tokens.
const PASSWORD: &[&str] = &["sasl.username", "sasl.password"];
const TOKEN: &[&str] = NAMES.split_at(4).1;

pub(super) const JAAS: &str = "sasl.jaas.config";

/// Mechanisms with the login modules that Java has for them.
const MECHANISMS: &[(&str, &str)] = &[
    (
        "PLAIN",
        "org.apache.kafka.common.security.plain.PlainLoginModule",
    ),
    (
        "SCRAM-SHA-256",
        "org.apache.kafka.common.security.scram.ScramLoginModule",
    ),
    (
        "SCRAM-SHA-512",
        "org.apache.kafka.common.security.scram.ScramLoginModule",
    ),
    (
        "OAUTHBEARER",
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
    ),
];

pub(super) fn read(
    reader: &mut Reader<'_>,
    pairs: &mut Pairs,
    protocol: SecurityProtocol,
    token_required: bool,
) -> Option<Tokens> {
    let (mechanism, module) = mechanism(reader, protocol)?;
    pairs.push("sasl.mechanisms", mechanism);
    let login = login(reader, mechanism, module);
    if mechanism == "OAUTHBEARER" {
        not_used(reader, PASSWORD, mechanism);
        if !protocol.uses_tls() {
            without_tls(reader, "the token");
        }
        return tokens::read(reader, login.as_ref(), token_required);
    }
    not_used(reader, TOKEN, mechanism);
    match login {
        Some(login) => credentials_of(reader, pairs, mechanism, &login),
        // Something is wrong with it, which has been said.
        None if reader.given(JAAS).is_some() => {}
        None => credentials(reader, pairs, mechanism),
    }
    if mechanism == "PLAIN" && !protocol.uses_tls() {
        without_tls(reader, "the password");
    }
    None
}

/// The mechanism, and the login module that goes with it.
fn mechanism(
    reader: &mut Reader<'_>,
    protocol: SecurityProtocol,
) -> Option<(&'static str, &'static str)> {
    const WRITE: &str = "write `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`";
    let Some((name, value)) = reader.given("sasl.mechanism") else {
        reader.problem(
            "sasl.mechanism",
            ProblemKind::Missing,
            format!("`security.protocol` is `{protocol}`, and Java's default, GSSAPI, is not in this build"),
            WRITE,
        );
        return None;
    };
    let written = value.trim().to_ascii_uppercase();
    let Some(found) = MECHANISMS.iter().find(|(known, _)| *known == written) else {
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
        return None;
    };
    // librdkafka takes SCRAM's and OAUTHBEARER's hashes from OpenSSL. Without TLS at all, that has been said already.
    if found.0 != "PLAIN" && !reader.tls && !protocol.uses_tls() {
        reader.problem(
            name,
            ProblemKind::NeedsFeature,
            format!("`{}` needs OpenSSL, and this build has none", found.0),
            WITH_TLS,
        );
    }
    Some(*found)
}

fn not_used(reader: &mut Reader<'_>, settings: &[&'static str], mechanism: &str) {
    for setting in settings {
        if let Some((name, _)) = reader.given(setting) {
            reader.warn(
                name,
                format!("it is not used, as `sasl.mechanism` is `{mechanism}`"),
                "remove it",
            );
        }
    }
}

fn without_tls(reader: &mut Reader<'_>, what: &str) {
    reader.warn(
        "security.protocol",
        format!("{what} goes over the network as it is"),
        "write `SASL_SSL`; `security.require.tls=true` refuses everything else",
    );
}

/// What `sasl.jaas.config` says; `None` if it is not there, or wrong.
fn login(reader: &mut Reader<'_>, mechanism: &str, module: &str) -> Option<Login> {
    let (name, text) = reader.given(JAAS)?;
    let form = || format!("write `{module} required …;`, with values in double quotes");
    let login = match jaas::parse(text) {
        Ok(login) => login,
        Err(wrong) => {
            reader.problem(name, ProblemKind::Invalid, wrong, form());
            return None;
        }
    };
    if login.module != module {
        // Another module's name is shown if it is one of Java's; any other text could be a secret in the wrong place.
        let known = MECHANISMS.iter().find(|(_, known)| *known == login.module);
        let (kind, message) = match known {
            Some((_, other)) => (
                ProblemKind::Contradiction,
                format!("`{other}` is not for `sasl.mechanism` `{mechanism}`"),
            ),
            None => (
                ProblemKind::Refused,
                "its login module is a Java class that is not known here".to_owned(),
            ),
        };
        reader.problem(name, kind, message, form());
        return None;
    }
    Some(login)
}

/// User name and password as librdkafka's properties have them.
fn credentials(reader: &mut Reader<'_>, pairs: &mut Pairs, mechanism: &str) {
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
}

/// User name and password as Java's login modules have them.
fn credentials_of(reader: &mut Reader<'_>, pairs: &mut Pairs, mechanism: &str, login: &Login) {
    for (option, setting) in [("username", PASSWORD[0]), ("password", PASSWORD[1])] {
        if reader.given(setting).is_some() {
            reader.problem(
                setting,
                ProblemKind::Contradiction,
                format!("`{JAAS}` is given too, and both say who logs in"),
                "keep one of them",
            );
        }
        match login.option(option) {
            None | Some("") => reader.problem(
                JAAS,
                ProblemKind::Missing,
                format!("`{mechanism}` needs the option `{option}`, which is not there or empty"),
                format!("write `{option}=\"…\"` before the `;`"),
            ),
            Some(value) => {
                if let Some(value) = reader.c_text(JAAS, value) {
                    pairs.push(setting, value);
                }
            }
        }
    }
    if login.option("tokenauth").is_some_and(|yes| yes == "true") {
        reader.problem(
            JAAS,
            ProblemKind::Refused,
            "librdkafka has no delegation tokens, which `tokenauth` asks for",
            "write the user's own name and password, and leave `tokenauth` out",
        );
    }
}

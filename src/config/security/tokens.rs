//! OAUTHBEARER: what the properties say about where tokens come from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::oauthbearer::{FileRetriever, TokenRetriever, UnsecuredRetriever};

use super::super::error::ProblemKind;
use super::super::reader::Reader;
use super::jaas::Login;
use super::sasl::JAAS;

const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";
const CONFIG: &str = "sasl.oauthbearer.config";
const URL: &str = "sasl.oauthbearer.token.endpoint.url";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";
const HANDLER: &str = "sasl.login.callback.handler.class";

/// The package of Java's classes for OAUTHBEARER.
const PACKAGE: &str = "org.apache.kafka.common.security.oauthbearer.";

/// Who has the tokens. `Debug` says nothing of him.
#[derive(Clone)]
pub(in super::super) struct Tokens(pub(in super::super) Arc<dyn TokenRetriever>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// `required`: the program has none, so the properties must say it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    login: Option<&Login>,
    required: bool,
) -> Option<Tokens> {
    classes(reader);
    let wanted = reader.bool(UNSECURED) == Some(true);
    let unsigned = match login.filter(|login| !login.options.is_empty()) {
        Some(login) => Some((JAAS, of_login(reader, login))),
        None if wanted => Some((UNSECURED, of_config(reader))),
        None => None,
    };
    let file = reader.text(URL).map(|url| file(reader, url));
    match (unsigned, file) {
        (Some((setting, _)), Some(_)) => {
            reader.problem(
                setting,
                ProblemKind::Contradiction,
                format!("`{URL}` is given too, and both say where tokens come from"),
                "keep one of them",
            );
            None
        }
        (Some((_, unsigned)), None) => Some(Tokens(Arc::new(unsigned?))),
        (None, Some(path)) => Some(Tokens(Arc::new(FileRetriever::new(path?)))),
        (None, None) => {
            if required {
                reader.problem(
                    URL,
                    ProblemKind::Missing,
                    "`OAUTHBEARER` needs a token, and neither the properties nor the program say where it comes from",
                    format!("write the URL of a file that holds one (`file:///…`), or give the builder `oauthbearer_token`; for a test cluster, `{UNSECURED}=true` makes unsigned tokens"),
                );
            }
            None
        }
    }
}

/// Java's classes: those that say what is done here anyway.
fn classes(reader: &mut Reader<'_>) {
    for (setting, known) in [
        (
            HANDLER,
            &[
                "OAuthBearerLoginCallbackHandler",
                "secured.OAuthBearerLoginCallbackHandler",
            ],
        ),
        (RETRIEVER, &["FileJwtRetriever", "DefaultJwtRetriever"]),
    ] {
        let Some((name, class)) = reader.given(setting) else {
            continue;
        };
        let class = class.trim().strip_prefix(PACKAGE);
        if !class.is_some_and(|class| known.contains(&class)) {
            reader.problem(
                name,
                ProblemKind::Refused,
                "it names a Java class that is not known here",
                format!("write `{PACKAGE}{}`, or remove it", known[0]),
            );
        }
    }
}

/// The file that a URL names.
fn file(reader: &mut Reader<'_>, url: &str) -> Option<PathBuf> {
    let url = url.trim();
    let path = url
        .strip_prefix("file:")
        .map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path {
        Some(path) if path.starts_with('/') && !path.contains(['%', '\0']) => {
            Some(PathBuf::from(path))
        }
        Some(_) => {
            reader.problem(
                URL,
                ProblemKind::Invalid,
                "it names no file by its full path",
                "write `file:///` and the rest of the path, without `%`",
            );
            None
        }
        None => {
            reader.problem(
                URL,
                ProblemKind::Refused,
                "this build of librdkafka has no HTTP client, so no OIDC",
                "have somebody else put the token into a file and write `file:///…`, or give the builder `oauthbearer_token`",
            );
            None
        }
    }
}

/// librdkafka's `sasl.oauthbearer.config`: names and values, separated by blanks.
fn of_config(reader: &mut Reader<'_>) -> Option<UnsecuredRetriever> {
    let mut found = UnsecuredRetriever::default();
    for entry in reader.text(CONFIG).unwrap_or_default().split_whitespace() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let value = value.to_owned();
        match name {
            "principal" => found.principal = value,
            "principalClaimName" => found.principal_claim = value,
            "scopeClaimName" => found.scope_claim = value,
            "scope" => found.scope = value.split(',').map(str::to_owned).collect(),
            "lifeSeconds" => found.lifetime = lifetime(reader, CONFIG, &value)?,
            _ => match name.strip_prefix("extension_") {
                Some(name) => found.extensions.push((name.to_owned(), value)),
                None => {
                    reader.problem(
                        CONFIG,
                        ProblemKind::Invalid,
                        "it has a name that is not known",
                        "write `principal=…`, and if need be `scope=…`, `lifeSeconds=…`, `principalClaimName=…`, `scopeClaimName=…`, `extension_NAME=…`, separated by blanks",
                    );
                    return None;
                }
            },
        }
    }
    checked(reader, CONFIG, "principal=…", found)
}

/// Java's options of unsigned tokens.
fn of_login(reader: &mut Reader<'_>, login: &Login) -> Option<UnsecuredRetriever> {
    let mut found = UnsecuredRetriever::default();
    if let Some(name) = login.option("unsecuredLoginPrincipalClaimName") {
        found.principal_claim = name.to_owned();
    }
    if let Some(name) = login.option("unsecuredLoginScopeClaimName") {
        found.scope_claim = name.to_owned();
    }
    for (name, value) in &login.options {
        if let Some(claim) = name.strip_prefix("unsecuredLoginStringClaim_")
            && claim == found.principal_claim
        {
            found.principal = value.clone();
        } else if let Some(claim) = name.strip_prefix("unsecuredLoginListClaim_")
            && claim == found.scope_claim
        {
            // The first character says what separates the others.
            let mut chars = value.chars();
            let separator = chars.next().unwrap_or(',');
            found.scope = chars.as_str().split(separator).map(str::to_owned).collect();
        } else if let Some(name) = name.strip_prefix("unsecuredLoginExtension_") {
            found.extensions.push((name.to_owned(), value.clone()));
        } else if name == "unsecuredLoginLifetimeSeconds" {
            found.lifetime = lifetime(reader, JAAS, value)?;
        } else if !name.ends_with("ClaimName") {
            reader.problem(
                JAAS,
                ProblemKind::Refused,
                "it has an option that is not taken here",
                "keep only `unsecuredLoginStringClaim_sub`, `unsecuredLoginListClaim_scope`, `unsecuredLoginLifetimeSeconds` and extensions; a token of an OIDC provider comes from a file or from the program",
            );
            return None;
        }
    }
    checked(reader, JAAS, "unsecuredLoginStringClaim_sub=\"…\"", found)
}

fn lifetime(reader: &mut Reader<'_>, setting: &str, seconds: &str) -> Option<Duration> {
    // A day: whatever is longer is a mistake, and tests need no more.
    let found = seconds
        .parse()
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds));
    if found.is_none() {
        reader.problem(
            setting,
            ProblemKind::Invalid,
            "the tokens' lifetime is no number of seconds",
            "write 1 to 86400",
        );
    }
    found.map(Duration::from_secs)
}

/// A first token can be made of it.
fn checked(
    reader: &mut Reader<'_>,
    setting: &str,
    principal: &str,
    found: UnsecuredRetriever,
) -> Option<UnsecuredRetriever> {
    if found.principal.is_empty() {
        reader.problem(
            setting,
            ProblemKind::Missing,
            "unsigned tokens need the name of whose they are",
            format!("write `{principal}`"),
        );
        return None;
    }
    if let Err(error) = found.retrieve() {
        reader.problem(
            setting,
            ProblemKind::Invalid,
            error.to_string(),
            "correct it",
        );
        return None;
    }
    Some(found)
}

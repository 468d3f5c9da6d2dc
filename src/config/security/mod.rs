//! TLS and SASL: Java's names to librdkafka's, and what this build can do.

mod jaas;
mod pem;
mod sasl;
mod stores;
mod tls;
mod tokens;

use super::error::ProblemKind;
use super::librdkafka::Pairs;
use super::reader::Reader;
use super::values::SecurityProtocol;

pub(super) use tokens::Tokens;

/// Whether this build can do TLS. The check is told so, that both answers are tested in any build.
pub(super) const TLS: bool = cfg!(any(feature = "tls", feature = "tls-vendored"));

const WITH_TLS: &str = "build the crate with its feature `tls` or `tls-vendored`";

/// Ours: no connection without TLS, and none whose other end could be anybody.
const REQUIRE_TLS: &str = "security.require.tls";

/// Reads `security.protocol` and everything that hangs on it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    pairs: &mut Pairs,
    token_required: bool,
) -> (SecurityProtocol, Option<Tokens>) {
    let tls_required = reader.bool(REQUIRE_TLS) == Some(true);
    let given = reader.given("security.protocol");
    let Some(protocol) = reader
        .word("security.protocol", SecurityProtocol::WORDS)
        .or_else(|| given.is_none().then_some(SecurityProtocol::Plaintext))
    else {
        // Nobody knows what was meant, so nothing is said about what hangs on it.
        return (SecurityProtocol::Plaintext, None);
    };
    if protocol.uses_tls() {
        if !reader.tls {
            reader.problem(
                "security.protocol",
                ProblemKind::NeedsFeature,
                format!("`{protocol}` needs TLS, and this build has none"),
                WITH_TLS,
            );
        }
        tls::read(reader, pairs, tls_required);
    } else {
        if tls_required {
            required(
                reader,
                "security.protocol",
                &format!("`{protocol}` is not encrypted"),
                match protocol.uses_sasl() {
                    true => "write `SASL_SSL`",
                    false => "write `SSL` or `SASL_SSL`",
                },
            );
        }
        not_used(reader, tls::names(), protocol);
    }
    let mut tokens = None;
    if protocol.uses_sasl() {
        tokens = sasl::read(reader, pairs, protocol, token_required);
    } else {
        not_used(reader, sasl::NAMES.iter().copied(), protocol);
    }
    (protocol, tokens)
}

/// `security.require.tls` forbids it.
fn required(reader: &mut Reader<'_>, setting: &'static str, why: &str, instead: &str) {
    let name = reader.given(setting).map_or(setting, |(name, _)| name);
    reader.problem(
        name,
        ProblemKind::Contradiction,
        format!("{why}, and `{REQUIRE_TLS}` is true"),
        instead,
    );
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

/// Gives librdkafka a text as it is; PEM with the lines that it must have.
fn pass(reader: &mut Reader<'_>, pairs: &mut Pairs, setting: &'static str, name: &str) {
    if let Some((written, value)) = reader.given(setting)
        && let Some(value) = reader.c_text(written, value)
    {
        match name.ends_with(".pem") {
            true => pairs.push(name, pem::with_lines(value)),
            false => pairs.push(name, value),
        }
    }
}

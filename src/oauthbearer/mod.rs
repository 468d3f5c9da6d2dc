//! Tokens for SASL's mechanism OAUTHBEARER, and where they come from.
//!
//! Who has tokens in the program gives the builder a [`TokenRetriever`], which may be a closure:
//!
//! ```no_run
//! use std::time::{Duration, SystemTime};
//! use franking::{Producer, oauthbearer::OAuthBearerToken};
//!
//! # fn ask_the_identity_provider() -> std::io::Result<String> { unimplemented!() }
//! let producer: Producer<String, String> = Producer::builder()
//!     .property("bootstrap.servers", "broker-1.example.com:9093")
//!     .property("security.protocol", "SASL_SSL")
//!     .property("sasl.mechanism", "OAUTHBEARER")
//!     .oauthbearer_token(|| Ok(OAuthBearerToken::from_jwt(ask_the_identity_provider()?)?))
//!     .property("key.serializer", "string")
//!     .property("value.serializer", "string")
//!     .build()?;
//! # Ok::<(), franking::BuildError>(())
//! ```
//!
//! Without a program's help, a file may hold the token, as Java's `FileJwtRetriever` has it
//! (`sasl.oauthbearer.token.endpoint.url=file:///run/secrets/kafka.jwt`); it is read again when a new token is needed. Test
//! clusters also believe tokens that nobody signed (`enable.sasl.oauthbearer.unsecure.jwt=true`). To ask an OIDC provider
//! librdkafka would need an HTTP client, which this build does not have.
//!
//! # When it is asked
//! When the producer is built, and again when 80 % of the token's lifetime is over; after an error, every ten seconds. It is
//! asked on a thread of its own (`franking-token`) and may block there: records wait meanwhile, nothing else does. From
//! async code, `Handle::block_on` of a tokio runtime waits for a future. A panic counts as an error.

use std::{error::Error, fmt, time::SystemTime};

mod file;
mod jwt;
mod unsecured;

pub(crate) use self::{file::FileRetriever, unsecured::UnsecuredRetriever};

/// Where tokens come from. Closures are such.
pub trait TokenRetriever: Send + Sync + 'static {
    /// A token that is valid now. It may block.
    ///
    /// # Errors
    /// Whatever kept it from having one. Its text is logged, cut to a line: it should say what to do, and hold no secret.
    fn retrieve(&self) -> Result<OAuthBearerToken, Box<dyn Error + Send + Sync>>;
}

impl<F> TokenRetriever for F
where
    F: Fn() -> Result<OAuthBearerToken, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    fn retrieve(&self) -> Result<OAuthBearerToken, Box<dyn Error + Send + Sync>> {
        self()
    }
}

/// A token, until when it is valid, and whose it is. `Debug` shows neither the token nor the name.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthBearerToken {
    value: String,
    expires: SystemTime,
    principal: String,
    extensions: Vec<(String, String)>,
}

impl OAuthBearerToken {
    /// A token of any sort. The principal's name is for messages only: the broker takes it from the token.
    ///
    /// # Errors
    /// [`TokenError`] if the token has a character that no token has, or the name is empty or has a NUL.
    pub fn new(
        value: impl Into<String>,
        expires: SystemTime,
        principal: impl Into<String>,
    ) -> Result<Self, TokenError> {
        let (value, principal) = (value.into(), principal.into());
        // RFC 6750. Checked here, since librdkafka's own message about a wrong one would show it.
        let characters = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
        if value.is_empty() || !value.bytes().all(characters) {
            return Err(TokenError(
                "a token has letters, digits and `-._~+/=` only, and at least one",
            ));
        }
        if principal.is_empty() || principal.contains('\0') {
            return Err(TokenError("the principal's name is empty or has a NUL"));
        }
        Ok(Self {
            value,
            expires,
            principal,
            extensions: Vec::new(),
        })
    }

    /// A JWT: when it expires and whose it is are read from its claims `exp` and `sub`. The signature is the broker's affair.
    ///
    /// # Errors
    /// [`TokenError`] if it is no JWT, or lacks one of these.
    pub fn from_jwt(value: impl Into<String>) -> Result<Self, TokenError> {
        let value = value.into();
        let (expires, principal) = jwt::claims(&value)?;
        Self::new(value, expires, principal)
    }

    /// Adds a SASL extension (KIP-342), which the broker's own code may look at.
    ///
    /// # Errors
    /// [`TokenError`] if the name has anything but letters or is `auth`, or the value has a character that none has.
    pub fn extension(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, TokenError> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name == "auth" || !name.bytes().all(|c| c.is_ascii_alphabetic()) {
            return Err(TokenError(
                "an extension's name has letters only, and is not `auth`",
            ));
        }
        let characters = |c: u8| matches!(c, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        if !value.bytes().all(characters) {
            return Err(TokenError("an extension's value is printable ASCII"));
        }
        self.extensions.push((name, value));
        Ok(self)
    }

    /// The token itself. **A secret.**
    pub fn value(&self) -> &str {
        &self.value
    }

    /// When it expires.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Whose it is.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Its SASL extensions.
    pub fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }
}

impl fmt::Debug for OAuthBearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthBearerToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a token, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError(&'static str);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for TokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_own_characters_only_and_nothing_shows_it() {
        let now = SystemTime::now();
        let token = OAuthBearerToken::new("aA0-._~+/=", now, "hunter1").unwrap();
        let token = token.extension("team", "hunter2").unwrap();
        let shown = format!("{token:?} {token:#?}");
        assert!(
            !shown.contains("aA0") && !shown.contains("hunter"),
            "{shown}"
        );
        for wrong in ["", "hunter 3", "hunter\u{1}3", "hünter3", "hunter\n3"] {
            let error = OAuthBearerToken::new(wrong, now, "p").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("nter3"), "{error}");
        }
        OAuthBearerToken::new("a", now, "").unwrap_err();
        for (name, value) in [
            ("auth", "a"),
            ("", "a"),
            ("a1", "a"),
            ("a", "\u{1}"),
            ("a", "é"),
        ] {
            token.clone().extension(name, value).unwrap_err();
        }
    }
}

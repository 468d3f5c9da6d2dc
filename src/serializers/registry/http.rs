//! A client of Confluent's schema registry, and of those that speak its REST interface (Karapace, Apicurio's, Redpanda's).

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use ureq::{
    Agent,
    config::ConfigBuilder,
    http::{HeaderValue, header::InvalidHeaderValue},
    typestate::AgentScope,
};

use super::{Format, Reference, Registry, Schema, SchemaError};

/// What a path segment may hold as it is.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A schema registry over HTTP.
///
/// Of several addresses (separated by commas, as in Java's `schema.registry.url`) it asks the next one if one does not
/// answer. `https` takes the cargo feature `tls` or `tls-vendored`. Cheap to clone; the clones share their connections.
///
/// ```no_run
/// use franking::serializers::{AvroSerializer, registry::{HttpRegistry, Subject}};
///
/// #[derive(serde::Serialize)]
/// struct Order { cups: i32 }
///
/// const SCHEMA: &str = r#"{"type": "record", "name": "Order", "fields": [{"name": "cups", "type": "int"}]}"#;
/// let registry = HttpRegistry::looking_up("http://localhost:8081")?.basic_auth("shop", "secret")?;
/// let orders = AvroSerializer::<Order>::new(SCHEMA)?.in_registry(registry, Subject::TopicValue)?;
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone)]
pub struct HttpRegistry {
    agent: Agent,
    addresses: Vec<String>,
    registers: bool,
    normalizes: bool,
    authorization: Option<HeaderValue>,
}

impl HttpRegistry {
    /// Registers a schema that the registry does not know, as Java's `auto.register.schemas=true`, its default.
    ///
    /// # Errors
    /// An address is not one of `http`, or of `https` without the feature for it.
    pub fn registering(addresses: &str) -> Result<Self, SchemaError> {
        Self::new(addresses, true)
    }

    /// Only looks schemas up, as Java's `auto.register.schemas=false`: for where schemas are registered by review, and
    /// applications must not. One that is not there is [`SchemaError::Refused`].
    ///
    /// # Errors
    /// As [`registering`](Self::registering).
    pub fn looking_up(addresses: &str) -> Result<Self, SchemaError> {
        Self::new(addresses, false)
    }

    fn new(addresses: &str, registers: bool) -> Result<Self, SchemaError> {
        let addresses: Vec<_> = addresses
            .split(',')
            .map(|address| address.trim().trim_end_matches('/').to_owned())
            .collect();
        let tls = cfg!(any(feature = "tls", feature = "tls-vendored"));
        for address in &addresses {
            // Not shown: it can hold a password.
            if address.contains('@') {
                return Err(SchemaError::invalid(
                    "a registry's address holds a user; give it to basic_auth instead",
                ));
            }
            if address.starts_with("https://") && !tls {
                return Err(SchemaError::invalid(
                    "https is not in this build; build franking with the cargo feature `tls` or `tls-vendored`",
                ));
            }
            if !address.starts_with("http://") && !address.starts_with("https://") {
                return Err(SchemaError::invalid(
                    "a registry's address is no URL; begin it with http://",
                ));
            }
        }
        Ok(Self {
            agent: agent(Duration::from_secs(10)),
            addresses,
            registers,
            normalizes: false,
            authorization: None,
        })
    }

    /// Waits this long for an answer; without it, 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.agent = agent(timeout);
        self
    }

    /// Lets the registry bring schemas into one form before it compares them, as Java's `normalize.schemas=true`.
    pub fn normalizing(mut self) -> Self {
        self.normalizes = true;
        self
    }

    /// Says who asks, with a password.
    ///
    /// # Errors
    /// They cannot be sent in a header.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, SchemaError> {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.authorization(&format!("Basic {credentials}"))
    }

    /// Says who asks, with a token.
    ///
    /// # Errors
    /// It cannot be sent in a header.
    pub fn bearer(self, token: &str) -> Result<Self, SchemaError> {
        self.authorization(&format!("Bearer {token}"))
    }

    fn authorization(mut self, text: &str) -> Result<Self, SchemaError> {
        let mut value = HeaderValue::from_str(text).map_err(|_: InvalidHeaderValue| {
            SchemaError::invalid(
                "the credentials cannot be sent in a header; look for a line break in them",
            )
        })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    fn ask(&self, address: &str, path: &str, body: &[u8]) -> Result<u32, SchemaError> {
        let mut request = self
            .agent
            .post(format!("{address}{path}"))
            .header("content-type", MEDIA_TYPE)
            .header("accept", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let unreachable = |error: ureq::Error| SchemaError::unreachable(error.to_string());
        let mut response = request.send(body).map_err(unreachable)?;
        let status = response.status();
        let answer = response.body_mut().read_to_vec().map_err(unreachable)?;
        if status.is_success() {
            return match serde_json::from_slice(&answer) {
                Ok(Accepted { id }) => Ok(id),
                Err(_) => Err(SchemaError::unreachable("the answer holds no id")),
            };
        }
        let Refusal {
            error_code,
            message,
        } = serde_json::from_slice(&answer).unwrap_or(Refusal {
            error_code: status.as_u16().into(),
            message: status.canonical_reason().unwrap_or_default().into(),
        });
        // A gateway's or the registry's own trouble, and "later": all else stays so until somebody does something.
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(SchemaError::unreachable(format!("{error_code}, {message}")));
        }
        Err(SchemaError::refused(error_code, message))
    }
}

impl Registry for HttpRegistry {
    fn id(&self, subject: &str, schema: &Schema) -> Result<u32, SchemaError> {
        let subject = utf8_percent_encode(subject, &SEGMENT);
        let versions = if self.registers { "/versions" } else { "" };
        let normalize = if self.normalizes {
            "?normalize=true"
        } else {
            ""
        };
        let path = format!("/subjects/{subject}{versions}{normalize}");
        let body = serde_json::to_vec(&Request::from(schema))
            .map_err(|error| SchemaError::unreachable(error.to_string()))?;
        let mut last = SchemaError::unreachable("there is no address");
        for address in &self.addresses {
            match self.ask(address, &path, &body) {
                Err(error) if error.is_transient() => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

// Credentials are secret.
impl fmt::Debug for HttpRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRegistry")
            .field("addresses", &self.addresses)
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        // The registry's answer says more than its status.
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .user_agent(concat!("franking/", env!("CARGO_PKG_VERSION")));
    with_tls(config).build().into()
}

/// As librdkafka: OpenSSL, and the system's certificates.
#[cfg(any(feature = "tls", feature = "tls-vendored"))]
fn with_tls(config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    let tls = TlsConfig::builder()
        .provider(TlsProvider::NativeTls)
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    config.tls_config(tls)
}

#[cfg(not(any(feature = "tls", feature = "tls-vendored")))]
fn with_tls(config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
    config
}

// === what goes over the wire ===

#[derive(Serialize)]
struct Request<'s> {
    schema: &'s str,
    /// Registries from before there were others take Avro without it.
    #[serde(rename = "schemaType", skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Referred<'s>>,
}

#[derive(Serialize)]
struct Referred<'s> {
    name: &'s str,
    subject: &'s str,
    version: u32,
}

impl<'s> From<&'s Schema> for Request<'s> {
    fn from(schema: &'s Schema) -> Self {
        let referred = |reference: &'s Reference| Referred {
            name: &reference.name,
            subject: &reference.subject,
            version: reference.version,
        };
        Self {
            schema: &schema.text,
            format: match schema.format {
                Format::Avro => None,
                Format::Protobuf => Some("PROTOBUF"),
                Format::Json => Some("JSON"),
            },
            references: schema.references.iter().map(referred).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Accepted {
    id: u32,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_work_are_refused_without_showing_them() {
        for address in [
            "localhost:8081",
            "",
            "http://a:1,ftp://b",
            "http://u:hunter2@a",
        ] {
            let error = HttpRegistry::registering(address).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let https = HttpRegistry::registering("https://a:1");
        let tls = cfg!(any(feature = "tls", feature = "tls-vendored"));
        assert_eq!(https.is_ok(), tls);
    }

    #[test]
    fn credentials_are_not_shown() {
        let registry = HttpRegistry::looking_up("http://a:1").unwrap();
        let registry = registry.basic_auth("shop", "hunter2").unwrap();
        let encoded = BASE64_STANDARD.encode("shop:hunter2");
        assert!(!format!("{registry:?}").contains(&encoded));
        assert!(registry.clone().bearer("line\nbreak").is_err());
    }
}

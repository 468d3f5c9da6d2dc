//! Why there is no origin.

use std::{error::Error, fmt};

#[cfg(doc)]
use super::{Origin, OriginBuilder};

/// Why there is no [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginError {
    /// Nothing names the service.
    MissingServiceName,
    /// An attribute has no name.
    MissingAttributeName,
    /// `OTEL_RESOURCE_ATTRIBUTES` is not a list of `key=value`, or not percent-encoded UTF-8.
    Malformed,
    /// What every record would carry is longer than the limit ([`OriginBuilder::header_limit`]).
    TooLong {
        /// How long it is, with the names of the headers.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Two headers were given the same name.
    SameName {
        /// The name.
        name: String,
    },
    /// The type of a CloudEvents event is empty.
    MissingEventType,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginError::MissingServiceName => f.write_str(
                "nothing names the service that writes; set OTEL_SERVICE_NAME, or service.name in OTEL_RESOURCE_ATTRIBUTES or in the code",
            ),
            OriginError::MissingAttributeName => {
                f.write_str("an attribute of the origin has an empty name; give it one")
            }
            OriginError::Malformed => f.write_str(
                "OTEL_RESOURCE_ATTRIBUTES cannot be read; write it as key=value,key=value with percent-encoded UTF-8",
            ),
            OriginError::TooLong { bytes, limit } => write!(
                f,
                "every record would carry {bytes} bytes of headers, and at most {limit} may be; shorten the attributes of the origin, or raise header_limit"
            ),
            OriginError::SameName { name } => write!(
                f,
                "two headers have the name {name:?}; give each its own"
            ),
            OriginError::MissingEventType => {
                f.write_str("the type of the events is empty; CloudEvents wants one, as com.example.order.placed")
            }
        }
    }
}

impl Error for OriginError {}

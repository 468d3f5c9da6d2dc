//! Why a schema has no id.

use std::{borrow::Cow, error::Error, fmt};

use franking_core::Escaped;

/// Why a schema has no id: the source of a send's error with [`Code::Serialization`](crate::Code::Serialization).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// The id is not known yet, and the caller is one who does not wait. The registry is being asked.
    NotReady {
        /// The subject that was asked for.
        subject: String,
    },
    /// The registry did not answer, or not sensibly. It may do so later.
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The registry refused: the schema is not compatible with the subject's, is not valid, not registered, not allowed.
    Refused {
        /// The registry's code, as 409 (not compatible), 42201 (not valid) or 40403 (not registered).
        code: u32,
        /// The registry's words.
        reason: String,
    },
    /// What the program asks for cannot work: a text that is no schema, an address that is none, a subject by a full name
    /// that the schema has not.
    Invalid {
        /// What is wrong, and what to do instead.
        reason: Cow<'static, str>,
    },
}

impl SchemaError {
    /// The registry refused, with its code and words.
    pub fn refused(code: u32, reason: impl Into<String>) -> Self {
        Self::Refused {
            code,
            reason: reason.into(),
        }
    }

    /// The registry did not answer, or not sensibly.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable {
            reason: reason.into(),
        }
    }

    /// What the program asks for cannot work.
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            reason: reason.into(),
        }
    }

    /// Whether the same record may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotReady { .. } | Self::Unreachable { .. })
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { subject } => write!(
                f,
                "the schema's id under {subject:?} is not known yet; call prepare() for the topic at the start, or a send \
                 that may wait"
            ),
            Self::Unreachable { reason } => {
                write!(
                    f,
                    "the schema registry could not be asked: {}; check its address",
                    Escaped(reason)
                )
            }
            Self::Refused { code, reason } => {
                write!(
                    f,
                    "the schema registry refused ({code}): {}",
                    Escaped(reason)
                )
            }
            Self::Invalid { reason } => write!(f, "{}", Escaped(reason)),
        }
    }
}

impl Error for SchemaError {}

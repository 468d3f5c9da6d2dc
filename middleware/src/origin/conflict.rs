//! What becomes of reserved headers that the application set itself.

use franking_core::{Code, Failure, Headers};

use crate::provenance::{Header, Names};

const PREFIX: &str = "prov-";

/// See the constructors of [`Origin`](super::Origin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    Override,
    Keep,
    Refuse,
}

/// The names that are the stack's: all that begin with `prov-`, and an organisation's own.
pub(super) struct Reserved(Vec<String>);

impl Reserved {
    pub(super) fn new(names: &Names) -> Self {
        let own = Header::ALL
            .into_iter()
            .filter(|header| !matches!(header, Header::TraceParent | Header::TraceState))
            .map(|header| names.get(header).to_owned())
            .filter(|name| !name.starts_with(PREFIX));
        Self(own.collect())
    }

    /// Removes them, and says how many there were.
    pub(super) fn remove(&self, headers: &mut Headers) -> usize {
        let own: usize = self.0.iter().map(|name| headers.remove(name)).sum();
        own + headers.remove_prefixed(PREFIX)
    }

    /// A refusal, if there is one.
    pub(super) fn refuse(&self, headers: &Headers) -> Result<(), Failure> {
        let is_reserved =
            |name: &str| name.starts_with(PREFIX) || self.0.iter().any(|own| own == name);
        match headers.iter().find(|(name, _)| is_reserved(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::new(Code::Refused)
                .detail(format!(
                    "the application set the header {name:?}, whose name is the origin layer's"
                ))
                .advice("leave that header to the layer; pass a consumed record on with Record::forward")),
        }
    }
}

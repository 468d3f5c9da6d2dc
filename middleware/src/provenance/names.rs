//! An organisation's own names for the headers.

use std::borrow::Cow;

use franking_core::{HeaderName, InvalidHeaderName};

use super::Header;

/// Which name each header has: the schema's, or an organisation's own. Writers and readers take the same map.
///
/// ```
/// use franking_middleware::provenance::{Header, Names, Reader};
///
/// let names = Names::new().name(Header::Id, "x-acme-record-id")?;
/// assert_eq!(names.get(Header::Id), "x-acme-record-id");
/// assert_eq!(names.get(Header::Origin), "prov-origin");
/// let reader = Reader::new().names(names);
/// # let _ = reader;
/// # Ok::<(), franking_core::InvalidHeaderName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names([Cow<'static, str>; Header::ALL.len()]);

impl Names {
    /// The names of the schema.
    pub fn new() -> Self {
        Self(Header::ALL.map(|header| header.name().into()))
    }

    /// Gives this header another name.
    ///
    /// # Errors
    /// [`InvalidHeaderName`] for one that Kafka does not take.
    pub fn name(
        mut self,
        header: Header,
        name: impl Into<String>,
    ) -> Result<Self, InvalidHeaderName> {
        let name = name.into();
        HeaderName::new(&name)?;
        self.set(header, name);
        Ok(self)
    }

    /// The name of this header.
    pub fn get(&self, header: Header) -> &str {
        &self.0[header as usize]
    }

    /// A reader may look for any name.
    pub(super) fn set(&mut self, header: Header, name: String) {
        self.0[header as usize] = name.into();
    }

    /// Encoded, for stamping.
    #[cfg(any(feature = "origin", feature = "audit"))]
    pub(crate) fn encoded(&self, header: Header) -> HeaderName {
        HeaderName::new(self.get(header)).expect("names are checked when they come in")
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

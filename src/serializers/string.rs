//! Text.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};

/// Text as UTF-8, as Java's `StringSerializer` by default, without a copy for a `String`.
///
/// Java's can write other encodings (`serializer.encoding`); for those, give a closure.
///
/// ```
/// use franking::{Headers, Serializer, serializers::StringSerializer};
///
/// let bytes = StringSerializer.serialize("t", &mut Headers::new(), "grüße")?;
/// assert_eq!(bytes.as_deref(), Some("grüße".as_bytes()));
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerializer;

impl Serializer<String> for StringSerializer {
    fn serialize(
        &self,
        _: &str,
        _: &mut Headers,
        value: String,
    ) -> Result<Option<Bytes>, BoxError> {
        Ok(Some(value.into()))
    }
}

impl Serializer<&'static str> for StringSerializer {
    fn serialize(
        &self,
        _: &str,
        _: &mut Headers,
        value: &'static str,
    ) -> Result<Option<Bytes>, BoxError> {
        Ok(Some(Bytes::from_static(value.as_bytes())))
    }
}

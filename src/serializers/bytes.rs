//! Bytes.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};

/// Bytes as they are, without a copy, as Java's `ByteArraySerializer`, `BytesSerializer` and `ByteBufferSerializer`.
///
/// ```
/// use franking::{Headers, Serializer, serializers::BytesSerializer};
///
/// let bytes = BytesSerializer.serialize("t", &mut Headers::new(), vec![0, 255])?;
/// assert_eq!(bytes.as_deref(), Some(&[0, 255][..]));
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerializer;

impl Serializer<Bytes> for BytesSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: Bytes) -> Result<Option<Bytes>, BoxError> {
        Ok(Some(value))
    }
}

impl Serializer<Vec<u8>> for BytesSerializer {
    fn serialize(
        &self,
        _: &str,
        _: &mut Headers,
        value: Vec<u8>,
    ) -> Result<Option<Bytes>, BoxError> {
        Ok(Some(value.into()))
    }
}

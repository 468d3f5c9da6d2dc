//! UUIDs.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};
use uuid::{Uuid, fmt::Hyphenated};

/// A UUID as its text, 36 bytes in lower case, as Java's `UUIDSerializer` by default.
///
/// ```
/// use franking::{Headers, Serializer, serializers::UuidSerializer};
/// use uuid::Uuid;
///
/// let bytes = UuidSerializer.serialize("t", &mut Headers::new(), Uuid::from_u128(0xAB))?;
/// assert_eq!(bytes.as_deref(), Some(&b"00000000-0000-0000-0000-0000000000ab"[..]));
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidSerializer;

impl Serializer<Uuid> for UuidSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: Uuid) -> Result<Option<Bytes>, BoxError> {
        let mut text = [0; Hyphenated::LENGTH];
        value.hyphenated().encode_lower(&mut text);
        Ok(Some(Bytes::copy_from_slice(&text)))
    }
}

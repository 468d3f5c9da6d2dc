//! JSON.

use bytes::{BufMut, Bytes, BytesMut};
use franking_core::{BoxError, Headers, Serializer};
use serde::Serialize;

/// Anything that serde can serialize, as JSON in UTF-8, without spaces.
///
/// ```
/// use franking::{Headers, Serializer, serializers::JsonSerializer};
///
/// #[derive(serde::Serialize)]
/// struct Order { drink: &'static str, cups: u32 }
///
/// let order = Order { drink: "espresso", cups: 2 };
/// let bytes = JsonSerializer.serialize("orders", &mut Headers::new(), order)?;
/// assert_eq!(bytes.as_deref(), Some(&br#"{"drink":"espresso","cups":2}"#[..]));
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

impl<T: Serialize> Serializer<T> for JsonSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: T) -> Result<Option<Bytes>, BoxError> {
        // Most events are small; a larger one grows the buffer.
        let mut out = BytesMut::with_capacity(128).writer();
        serde_json::to_writer(&mut out, &value)?;
        Ok(Some(out.into_inner().freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;

    #[test]
    fn is_compact() {
        assert_eq!(bytes(JsonSerializer, vec![1, 2]), b"[1,2]");
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let map = std::collections::HashMap::from([(vec![1], 1)]);
        let result = JsonSerializer.serialize("t", &mut Headers::new(), map);
        assert!(result.is_err());
    }
}

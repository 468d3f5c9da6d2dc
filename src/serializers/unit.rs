//! Nothing.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};

/// `()` as Kafka's null, as Java's `VoidSerializer`: for topics whose records have no keys, or no values.
///
/// ```
/// use franking::{Headers, Serializer, serializers::UnitSerializer};
///
/// assert_eq!(UnitSerializer.serialize("clicks", &mut Headers::new(), ())?, None);
/// # Ok::<(), franking::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitSerializer;

impl Serializer<()> for UnitSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, (): ()) -> Result<Option<Bytes>, BoxError> {
        Ok(None)
    }
}

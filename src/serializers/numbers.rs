//! Numbers and truth values, big-endian, as Java's serializers write them.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};

macro_rules! big_endian {
    ($($(#[$doc:meta])+ $name:ident: $type:ty => $bytes:expr, as in $value:expr => $shown:expr;)+) => {$(
        $(#[$doc])+
        ///
        /// ```
        #[doc = concat!("use franking::{Headers, Serializer, serializers::", stringify!($name), "};")]
        ///
        #[doc = concat!("let bytes = ", stringify!($name), ".serialize(\"t\", &mut Headers::new(), ", stringify!($value), ")?;")]
        #[doc = concat!("assert_eq!(bytes.as_deref(), Some(&", stringify!($shown), "[..]));")]
        /// # Ok::<(), franking::BoxError>(())
        /// ```
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl Serializer<$type> for $name {
            fn serialize(
                &self,
                _: &str,
                _: &mut Headers,
                value: $type,
            ) -> Result<Option<Bytes>, BoxError> {
                let bytes: fn($type) -> _ = $bytes;
                Ok(Some(Bytes::copy_from_slice(&bytes(value))))
            }
        }
    )+};
}

big_endian! {
    /// `bool` as one byte, 1 or 0, as Java's `BooleanSerializer`.
    BoolSerializer: bool => |value| [u8::from(value)],
        as in true => [1];
    /// `i16` as two bytes, as Java's `ShortSerializer`.
    I16Serializer: i16 => i16::to_be_bytes,
        as in -2 => [0xff, 0xfe];
    /// `i32` as four bytes, as Java's `IntegerSerializer`.
    I32Serializer: i32 => i32::to_be_bytes,
        as in -2 => [0xff, 0xff, 0xff, 0xfe];
    /// `i64` as eight bytes, as Java's `LongSerializer`.
    I64Serializer: i64 => i64::to_be_bytes,
        as in 258 => [0, 0, 0, 0, 0, 0, 1, 2];
    /// `f32` as four bytes, as Java's `FloatSerializer`: every NaN keeps its bits.
    F32Serializer: f32 => f32::to_be_bytes,
        as in 1.5 => [0x3f, 0xc0, 0, 0];
    /// `f64` as eight bytes, as Java's `DoubleSerializer`: every NaN becomes the one that Java knows.
    F64Serializer: f64 => |value| match value.is_nan() {
        // Java writes doubles with `doubleToLongBits`, which makes all NaNs one, and floats with
        // `floatToRawIntBits`, which does not.
        true => 0x7ff8_0000_0000_0000_u64.to_be_bytes(),
        false => value.to_be_bytes(),
    },
        as in -2.0 => [0xc0, 0, 0, 0, 0, 0, 0, 0];
}

#[cfg(test)]
mod tests {
    use super::super::tests::bytes;
    use super::*;

    #[test]
    fn a_nan_is_what_java_makes_of_it() {
        let float = f32::from_bits(0xffc0_0001);
        assert_eq!(bytes(F32Serializer, float), [0xff, 0xc0, 0, 1]);
        let double = f64::from_bits(0xfff8_0000_0000_0001);
        assert_eq!(bytes(F64Serializer, double), [0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    }
}

//! Thrift.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};
use thrift::protocol::{TBinaryOutputProtocol, TCompactOutputProtocol, TSerializable};

/// What Apache's Thrift compiler generates, as Java's `TSerializer`: the struct's fields, without a message around them.
///
/// The generated code has to be for version 0.25 of the crate `thrift`. There is no registry's format for Thrift. In the
/// compact protocol the crate writes a field whose id is 15 more than the last one's in the long form, where Java takes the
/// short one; all readers take both.
///
/// ```
/// use franking::{BoxError, Headers, Serializer, serializers::ThriftSerializer};
/// use thrift::protocol::{TFieldIdentifier, TInputProtocol, TOutputProtocol, TSerializable, TStructIdentifier, TType};
///
/// // struct Order { 1: i32 cups }, as the compiler writes it.
/// struct Order { cups: i32 }
///
/// impl TSerializable for Order {
///     fn write_to_out_protocol(&self, out: &mut dyn TOutputProtocol) -> thrift::Result<()> {
///         out.write_struct_begin(&TStructIdentifier::new("Order"))?;
///         out.write_field_begin(&TFieldIdentifier::new("cups", TType::I32, 1))?;
///         out.write_i32(self.cups)?;
///         out.write_field_end()?;
///         out.write_field_stop()?;
///         out.write_struct_end()
///     }
/// #   fn read_from_in_protocol(_: &mut dyn TInputProtocol) -> thrift::Result<Self> { Err("only written here".into()) }
///     // …
/// }
///
/// let bytes = ThriftSerializer::compact().serialize("orders", &mut Headers::new(), Order { cups: 2 })?;
/// assert_eq!(bytes.as_deref(), Some(&b"\x15\x04\0"[..]));
/// let bytes = ThriftSerializer::binary().serialize("orders", &mut Headers::new(), Order { cups: 2 })?;
/// assert_eq!(bytes.as_deref(), Some(&b"\x08\0\x01\0\0\0\x02\0"[..]));
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ThriftSerializer {
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Compact,
    Binary,
}

impl ThriftSerializer {
    /// In the compact protocol: variable-length numbers, and field ids as differences.
    pub fn compact() -> Self {
        Self {
            protocol: Protocol::Compact,
        }
    }

    /// In the binary protocol, which is Java's default.
    pub fn binary() -> Self {
        Self {
            protocol: Protocol::Binary,
        }
    }
}

impl<T: TSerializable> Serializer<T> for ThriftSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: T) -> Result<Option<Bytes>, BoxError> {
        let mut out = Vec::with_capacity(128);
        match self.protocol {
            Protocol::Compact => {
                value.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut out))?;
            }
            Protocol::Binary => {
                value.write_to_out_protocol(&mut TBinaryOutputProtocol::new(&mut out, true))?;
            }
        }
        Ok(Some(out.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use thrift::protocol::{
        TBinaryInputProtocol, TCompactInputProtocol, TFieldIdentifier, TInputProtocol,
        TListIdentifier, TOutputProtocol, TStructIdentifier, TType,
    };

    use super::super::tests::bytes;
    use super::*;

    /// `struct Reading { 1: bool ok, 2: i32 count, 3: i64 at, 4: double celsius, 5: string place, 19: list<i32> raw }`
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Reading {
        ok: bool,
        count: i32,
        at: i64,
        celsius: f64,
        place: String,
        raw: Vec<i32>,
    }

    impl TSerializable for Reading {
        fn write_to_out_protocol(&self, out: &mut dyn TOutputProtocol) -> thrift::Result<()> {
            out.write_struct_begin(&TStructIdentifier::new("Reading"))?;
            out.write_field_begin(&TFieldIdentifier::new("ok", TType::Bool, 1))?;
            out.write_bool(self.ok)?;
            out.write_field_end()?;
            out.write_field_begin(&TFieldIdentifier::new("count", TType::I32, 2))?;
            out.write_i32(self.count)?;
            out.write_field_end()?;
            out.write_field_begin(&TFieldIdentifier::new("at", TType::I64, 3))?;
            out.write_i64(self.at)?;
            out.write_field_end()?;
            out.write_field_begin(&TFieldIdentifier::new("celsius", TType::Double, 4))?;
            out.write_double(self.celsius)?;
            out.write_field_end()?;
            out.write_field_begin(&TFieldIdentifier::new("place", TType::String, 5))?;
            out.write_string(&self.place)?;
            out.write_field_end()?;
            out.write_field_begin(&TFieldIdentifier::new("raw", TType::List, 19))?;
            out.write_list_begin(&TListIdentifier::new(TType::I32, self.raw.len() as i32))?;
            for raw in &self.raw {
                out.write_i32(*raw)?;
            }
            out.write_list_end()?;
            out.write_field_end()?;
            out.write_field_stop()?;
            out.write_struct_end()
        }

        fn read_from_in_protocol(from: &mut dyn TInputProtocol) -> thrift::Result<Self> {
            let mut reading = Self::default();
            from.read_struct_begin()?;
            loop {
                let field = from.read_field_begin()?;
                if field.field_type == TType::Stop {
                    break;
                }
                match field.id {
                    Some(1) => reading.ok = from.read_bool()?,
                    Some(2) => reading.count = from.read_i32()?,
                    Some(3) => reading.at = from.read_i64()?,
                    Some(4) => reading.celsius = from.read_double()?,
                    Some(5) => reading.place = from.read_string()?,
                    _ => {
                        let list = from.read_list_begin()?;
                        for _ in 0..list.size {
                            reading.raw.push(from.read_i32()?);
                        }
                        from.read_list_end()?;
                    }
                }
                from.read_field_end()?;
            }
            from.read_struct_end()?;
            Ok(reading)
        }
    }

    fn reading() -> Reading {
        Reading {
            ok: true,
            count: -1,
            at: 50399,
            celsius: 1.5,
            place: "Köln".into(),
            raw: vec![0, 64],
        }
    }

    /// Byte by byte from Apache's specification of the compact protocol.
    #[test]
    fn compact_as_specified() {
        let expected = [
            // A field's id as the difference to the last one, and its type, which for a bool is its value.
            &[0x11][..],
            // Zigzag: -1 is 1.
            &[0x15, 0x01],
            // 50399 is 100798 in zigzag: seven bits at a time, the lowest first.
            &[0x16, 0xbe, 0x93, 0x06],
            // Little-endian, unlike in the binary protocol.
            &[0x17, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f],
            &[0x18, 0x05],
            "Köln".as_bytes(),
            // 14 on from the last id; a list of two numbers.
            &[0xe9, 0x25, 0x00, 0x80, 0x01],
            &[0x00],
        ];
        assert_eq!(
            bytes(ThriftSerializer::compact(), reading()),
            expected.concat()
        );
    }

    /// Byte by byte from Apache's specification of the binary protocol.
    #[test]
    fn binary_as_specified() {
        let expected = [
            // Type, id, value, all big-endian.
            &[2, 0, 1, 1][..],
            &[8, 0, 2, 0xff, 0xff, 0xff, 0xff],
            &[10, 0, 3, 0, 0, 0, 0, 0, 0, 0xc4, 0xdf],
            &[4, 0, 4, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[11, 0, 5, 0, 0, 0, 5],
            "Köln".as_bytes(),
            &[15, 0, 19, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 64],
            &[0],
        ];
        assert_eq!(
            bytes(ThriftSerializer::binary(), reading()),
            expected.concat()
        );
    }

    proptest! {
        /// A reader of the protocol gets the struct that was sent.
        #[test]
        fn what_is_read_is_what_was_sent(
            ok: bool,
            count: i32,
            at: i64,
            celsius in -1e300..1e300,
            place: String,
            raw in proptest::collection::vec(any::<i32>(), 0..40),
        ) {
            let sent = Reading { ok, count, at, celsius, place, raw };
            let compact = bytes(ThriftSerializer::compact(), sent.clone());
            let read = Reading::read_from_in_protocol(&mut TCompactInputProtocol::new(&compact[..]));
            prop_assert_eq!(&read.unwrap(), &sent);
            let binary = bytes(ThriftSerializer::binary(), sent.clone());
            let read = Reading::read_from_in_protocol(&mut TBinaryInputProtocol::new(&binary[..], true));
            prop_assert_eq!(read.unwrap(), sent);
        }
    }
}

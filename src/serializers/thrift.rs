//! Thrift.

use bytes::Bytes;
use franking_core::{BoxError, Headers, Serializer};
use thrift::protocol::{TBinaryOutputProtocol, TCompactOutputProtocol, TSerializable};

/// What Apache's Thrift compiler generates, as Java's `TSerializer`: the struct's fields, without a message around them.
///
/// The generated code has to be of Rust crate `thrift` 0.25. There is no registry's format for Thrift.
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

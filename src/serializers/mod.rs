//! Serializers: from keys and values to the bytes that Java's consumers, and everybody else's, read.
//!
//! | serializer | takes | writes | name as property | cargo feature |
//! |---|---|---|---|---|
//! | [`StringSerializer`] | `String`, `&'static str` | UTF-8 | `string` | |
//! | [`BytesSerializer`] | `Bytes`, `Vec<u8>` | the bytes | `bytes` | |
//! | [`BoolSerializer`] | `bool` | a byte | `bool` | |
//! | [`I16Serializer`], [`I32Serializer`], [`I64Serializer`] | `i16`, `i32`, `i64` | big-endian | `i16`, `i32`, `i64` | |
//! | [`F32Serializer`], [`F64Serializer`] | `f32`, `f64` | IEEE 754, big-endian | `f32`, `f64` | |
//! | `UuidSerializer` | `uuid::Uuid` | its text | `uuid` | `uuid` |
//! | [`UnitSerializer`] | `()` | null | `unit` | |
//! | [`JsonSerializer`] | what serde serializes | JSON | | |
//! | `AvroSerializer` | what serde serializes, by a schema | Avro, alone or in the registry's format | | `avro` |
//! | `ProtobufSerializer` | a `prost::Message` | Protobuf, alone or in the registry's format | | `protobuf` |
//! | `ThriftSerializer` | what Apache's compiler generates | Thrift, compact or binary | | `thrift` |
//! | a closure, or a [`Serializer`](crate::Serializer) of your own | anything | anything, and headers | | |
//!
//! Those with a name write byte for byte what Java's serializers write; the tests run Java's against them. The names, and
//! Java's names of its classes, can be given as `key.serializer` and `value.serializer`.
//!
//! ```no_run
//! use franking::{Producer, serializers::{I64Serializer, JsonSerializer}};
//!
//! # #[derive(serde::Serialize)] struct Order;
//! let in_code: Producer<i64, Order> = Producer::builder()
//!     .property("bootstrap.servers", "localhost:9092")
//!     .key_serializer(I64Serializer)
//!     .value_serializer(JsonSerializer)
//!     .build()?;
//! let by_name: Producer<i64, f64> = Producer::builder()
//!     .property("bootstrap.servers", "localhost:9092")
//!     .property("key.serializer", "i64")
//!     .property("value.serializer", "org.apache.kafka.common.serialization.DoubleSerializer")
//!     .build()?;
//! # Ok::<(), franking::BuildError>(())
//! ```
//!
//! Keys and values that are absent stay null, with every serializer. A serializer that refuses fails the send with
//! [`Code::Serialization`](crate::Code::Serialization) and its own error as the source, before anything is queued.
//!
//! [`registry`] has what it takes to put a schema's id before a payload; the HTTP client is behind the cargo feature
//! `schema-registry`.

#[cfg(feature = "avro")]
mod avro;
mod bytes;
mod json;
mod names;
mod numbers;
#[cfg(feature = "protobuf")]
mod protobuf;
pub mod registry;
mod string;
#[cfg(feature = "thrift")]
mod thrift;
mod unit;
#[cfg(feature = "uuid")]
mod uuid;

#[cfg(feature = "avro")]
pub use self::avro::AvroSerializer;
pub(crate) use self::names::by_name;
#[cfg(feature = "protobuf")]
pub use self::protobuf::{MessageIndexes, ProtobufSerializer};
#[cfg(feature = "thrift")]
pub use self::thrift::ThriftSerializer;
#[cfg(feature = "uuid")]
pub use self::uuid::UuidSerializer;
pub use self::{
    bytes::BytesSerializer,
    json::JsonSerializer,
    numbers::{
        BoolSerializer, F32Serializer, F64Serializer, I16Serializer, I32Serializer, I64Serializer,
    },
    string::StringSerializer,
    unit::UnitSerializer,
};

#[cfg(test)]
mod tests {
    use franking_core::{Headers, Serializer};

    /// What a serializer that gives neither null nor an error writes.
    pub(super) fn bytes<T>(serializer: impl Serializer<T>, value: T) -> Vec<u8> {
        serializer
            .serialize("t", &mut Headers::new(), value)
            .unwrap()
            .unwrap()
            .to_vec()
    }
}

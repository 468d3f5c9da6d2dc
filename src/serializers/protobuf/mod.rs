//! Protobuf.

mod indexes;

use std::{fmt, marker::PhantomData};

use bytes::{BufMut, Bytes, BytesMut};
use franking_core::{BoxError, Headers, Preparing, Serializer};
use prost::Message;

pub use self::indexes::MessageIndexes;
use super::registry::{Registry, Schema, SchemaError, SchemaIds, Subject};

/// A `prost` message in Protobuf's encoding.
///
/// Alone it writes the message. With [`in_registry`](Self::in_registry) or [`with_ids`](Self::with_ids) it writes what
/// Confluent's `KafkaProtobufSerializer` writes: a byte 0, the schema's id, which of the schema's messages it is
/// ([`MessageIndexes`]), and the message.
///
/// ```
/// use franking::{BoxError, Headers, Serializer};
/// use franking::serializers::{MessageIndexes, ProtobufSerializer, registry::SchemaIds};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Order {
///     #[prost(int32, tag = "1")]
///     cups: i32,
/// }
///
/// let alone = ProtobufSerializer::new();
/// let bytes = alone.serialize("orders", &mut Headers::new(), Order { cups: 2 })?;
/// assert_eq!(bytes.as_deref(), Some(&b"\x08\x02"[..]));
///
/// // The first message of the schema with id 7.
/// let with_id = ProtobufSerializer::new().with_ids(SchemaIds::fixed(7), MessageIndexes::new(&[0]));
/// let bytes = with_id.serialize("orders", &mut Headers::new(), Order { cups: 2 })?;
/// assert_eq!(bytes.as_deref(), Some(&b"\0\0\0\0\x07\0\x08\x02"[..]));
/// # Ok::<(), BoxError>(())
/// ```
pub struct ProtobufSerializer<M> {
    registered: Option<(SchemaIds, MessageIndexes)>,
    takes: PhantomData<fn(M)>,
}

impl<M: Message> ProtobufSerializer<M> {
    /// Writes messages alone.
    pub fn new() -> Self {
        Self {
            registered: None,
            takes: PhantomData,
        }
    }

    /// Puts before each message the id of its `.proto` file, as a registry knows it, and which of the file's messages it
    /// is. For [`Subject::RecordName`] and `TopicRecordName` the schema must be
    /// [`named`](Schema::named) with the message's full name.
    ///
    /// # Errors
    /// The subject takes a full name, and the schema has none.
    pub fn in_registry(
        self,
        registry: impl Registry,
        subject: Subject,
        schema: Schema,
        indexes: MessageIndexes,
    ) -> Result<Self, SchemaError> {
        let ids = SchemaIds::new(registry, subject, schema)?;
        Ok(self.with_ids(ids, indexes))
    }

    /// Puts these ids, and which of the schema's messages it is, before each message.
    pub fn with_ids(mut self, ids: SchemaIds, indexes: MessageIndexes) -> Self {
        self.registered = Some((ids, indexes));
        self
    }
}

impl<M: Message + 'static> Serializer<M> for ProtobufSerializer<M> {
    fn serialize(
        &self,
        topic: &str,
        _: &mut Headers,
        message: M,
    ) -> Result<Option<Bytes>, BoxError> {
        let mut out = BytesMut::new();
        if let Some((ids, indexes)) = &self.registered {
            let frame = ids.frame(topic)?;
            out.reserve(frame.len() + indexes.encoded().len() + message.encoded_len());
            out.put_slice(&frame);
            out.put_slice(indexes.encoded());
        } else {
            out.reserve(message.encoded_len());
        }
        message.encode(&mut out)?;
        Ok(Some(out.freeze()))
    }

    fn prepare(&self, topic: &str) -> Option<Preparing> {
        let (ids, _) = self.registered.as_ref()?;
        ids.prepare(topic)
    }
}

impl<M: Message> Default for ProtobufSerializer<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ProtobufSerializer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtobufSerializer")
            .field("registered", &self.registered)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::bytes::Buf;

    use super::super::tests::bytes;
    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Heartbeat {
        #[prost(uint64, tag = "1")]
        beat: u64,
    }

    /// The examples of Protobuf's documentation, "Encoding".
    #[test]
    fn the_documentations_examples() {
        #[derive(Clone, PartialEq, Message)]
        struct Test1 {
            #[prost(int32, tag = "1")]
            a: i32,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Test2 {
            #[prost(string, tag = "2")]
            b: String,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Test3 {
            #[prost(message, optional, tag = "3")]
            c: Option<Test1>,
        }
        let a = || Test1 { a: 150 };
        assert_eq!(bytes(ProtobufSerializer::new(), a()), [0x08, 0x96, 0x01]);
        let b = Test2 {
            b: "testing".into(),
        };
        assert_eq!(bytes(ProtobufSerializer::new(), b), b"\x12\x07testing");
        let c = Test3 { c: Some(a()) };
        assert_eq!(
            bytes(ProtobufSerializer::new(), c),
            [0x1a, 0x03, 0x08, 0x96, 0x01]
        );
        assert_eq!(bytes(ProtobufSerializer::new(), Test3::default()), b"");
    }

    /// As published with the crate `schema_registry_converter`: records that Confluent's Java serializer wrote.
    #[test]
    fn published_values_with_a_schemas_id() {
        let first =
            ProtobufSerializer::new().with_ids(SchemaIds::fixed(7), MessageIndexes::new(&[0]));
        assert_eq!(
            bytes(first, Heartbeat { beat: 101 }),
            [0, 0, 0, 0, 7, 0, 8, 101]
        );

        #[derive(Clone, PartialEq, Message)]
        struct ProtoTest {
            #[prost(bytes, tag = "1")]
            id: Vec<u8>,
            #[prost(int32, tag = "2")]
            by: i32,
            #[prost(int64, tag = "3")]
            counter: i64,
            #[prost(string, tag = "4")]
            input: String,
            #[prost(message, repeated, tag = "5")]
            results: Vec<Outcome>,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Outcome {
            #[prost(string, tag = "1")]
            up: String,
            #[prost(string, tag = "2")]
            down: String,
        }
        let id = [
            11, 134, 69, 48, 212, 168, 77, 40, 147, 167, 30, 246, 208, 32, 252, 79,
        ];
        let message = ProtoTest {
            id: id.to_vec(),
            by: 0,
            counter: 1,
            input: "String".into(),
            results: vec![Outcome {
                up: "STRING".into(),
                down: "string".into(),
            }],
        };
        // Its file defines A, B and C before it.
        let fourth = MessageIndexes::new(&[3]);
        let by = ProtobufSerializer::new().with_ids(SchemaIds::fixed(6), fourth);
        let mut expected = vec![0, 0, 0, 0, 6, 2, 6, 10, 16];
        expected.extend(id);
        expected.extend([24, 1, 34, 6, 83, 116, 114, 105, 110, 103, 42, 16]);
        expected.extend([10, 6, 83, 84, 82, 73, 78, 71, 18, 6, 115, 116, 114, 105]);
        expected.extend([110, 103]);
        assert_eq!(bytes(by, message), expected);
    }

    /// Reads as a consumer does: the id, the path of the message, the message.
    fn read(mut from: &[u8]) -> (u32, Vec<u32>, Heartbeat) {
        fn number(from: &mut &[u8]) -> u32 {
            let zigzag = prost::decode_length_delimiter(from).unwrap();
            u32::try_from(zigzag >> 1).unwrap()
        }
        assert_eq!(from.get_u8(), 0);
        let id = from.get_u32();
        let mut path: Vec<_> = (0..number(&mut from)).map(|_| 0).collect();
        path.iter_mut().for_each(|index| *index = number(&mut from));
        if path.is_empty() {
            path.push(0);
        }
        (id, path, Heartbeat::decode(from).unwrap())
    }

    proptest! {
        /// A reader gets the id, the message's place and the message that were sent.
        #[test]
        fn what_is_read_is_what_was_sent(
            id: u32,
            path in proptest::collection::vec(0..=i32::MAX as u32, 1..6),
            beat: u64,
        ) {
            let indexes = MessageIndexes::new(&path);
            let by = ProtobufSerializer::new().with_ids(SchemaIds::fixed(id), indexes);
            let written = bytes(by, Heartbeat { beat });
            prop_assert_eq!(read(&written), (id, path, Heartbeat { beat }));
        }
    }
}

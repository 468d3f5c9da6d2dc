//! Protobuf.

use std::{fmt, marker::PhantomData};

use bytes::{BufMut, Bytes, BytesMut};
use franking_core::{BoxError, Headers, Preparing, Serializer};
use prost::{Message, Name};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

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
            out.reserve(frame.len() + indexes.0.len() + message.encoded_len());
            out.put_slice(&frame);
            out.put_slice(&indexes.0);
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

/// Which of a `.proto` file's messages it is: the message's place in the file, counted from 0, then its place among the
/// messages that are defined within that one, and so on.
///
/// In `message A {}  message B { message C {}  message D {} }`, `A` is `[0]` and `D` is `[1, 1]`. Readers that decode by the
/// schema read garbage if it is wrong, so rather than count, let [`of`](Self::of) look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageIndexes(Vec<u8>);

impl MessageIndexes {
    /// The message at this place.
    ///
    /// # Panics
    /// If the path is empty, which no message has.
    pub fn new(path: &[u32]) -> Self {
        assert!(!path.is_empty(), "a message has a place in its file");
        if path == [0] {
            // The commonest of all is one byte: an empty list.
            return Self(vec![0]);
        }
        let mut encoded = Vec::new();
        put_varint(&mut encoded, path.len() as u64);
        for index in path {
            put_varint(&mut encoded, u64::from(*index));
        }
        Self(encoded)
    }

    /// The place of this message, from the descriptors that `prost-build` writes (`file_descriptor_set_path`).
    ///
    /// # Errors
    /// These are no descriptors, or the message is not in them.
    pub fn of<M: Name>(descriptors: &[u8]) -> Result<Self, BoxError> {
        let wanted = M::full_name();
        let set = FileDescriptorSet::decode(descriptors)?;
        let path = set
            .file
            .iter()
            .find_map(|file| place(&file.message_type, scope(file, &wanted)?));
        match path {
            Some(path) => Ok(Self::new(&path)),
            None => Err(format!("the message {wanted} is not in these descriptors").into()),
        }
    }
}

/// The message's name within this file, if that has its package.
fn scope<'n>(file: &FileDescriptorProto, full_name: &'n str) -> Option<&'n str> {
    match file.package() {
        "" => Some(full_name),
        package => full_name.strip_prefix(package)?.strip_prefix('.'),
    }
}

/// The place among these messages, and those within them, of the one with this name.
fn place(messages: &[DescriptorProto], name: &str) -> Option<Vec<u32>> {
    let (outer, inner) = match name.split_once('.') {
        Some((outer, inner)) => (outer, Some(inner)),
        None => (name, None),
    };
    let at = messages.iter().position(|it| it.name() == outer)?;
    let mut path = vec![u32::try_from(at).ok()?];
    if let Some(inner) = inner {
        path.extend(place(&messages[at].nested_type, inner)?);
    }
    Some(path)
}

/// As Avro and Kafka write signed numbers: zigzag, low bits first.
fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut zigzag = value << 1;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

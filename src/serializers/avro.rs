//! Avro.

use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    sync::{Mutex, PoisonError},
};

use apache_avro::{Schema as Avro, writer::datum::GenericDatumWriter};
use bytes::Bytes;
use franking_core::{BoxError, Headers, Preparing, Serializer};
use serde::Serialize;

use super::registry::{Registry, Schema, SchemaError, SchemaIds, Subject};

/// Anything that serde can serialize, in Avro's binary encoding, by a schema.
///
/// Alone it writes the datum, without a header: for topics whose readers know the schema. With
/// [`in_registry`](Self::in_registry) or [`with_ids`](Self::with_ids) it writes what Confluent's `KafkaAvroSerializer`
/// writes: a byte 0, the schema's id, and the datum. A value that does not fit the schema fails the send.
///
/// A schema is read once, however many serializers are made of it, and kept as long as the process.
///
/// ```
/// use franking::{BoxError, Headers, Serializer};
/// use franking::serializers::{AvroSerializer, registry::SchemaIds};
///
/// #[derive(serde::Serialize)]
/// struct Order { drink: String, cups: i32 }
///
/// const SCHEMA: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
///     {"name": "drink", "type": "string"},
///     {"name": "cups", "type": "int"}
/// ]}"#;
/// let order = || Order { drink: "mocha".to_owned(), cups: 2 };
///
/// let alone = AvroSerializer::<Order>::new(SCHEMA)?;
/// let bytes = alone.serialize("orders", &mut Headers::new(), order())?;
/// assert_eq!(bytes.as_deref(), Some(&b"\x0amocha\x04"[..]));
///
/// let with_id = AvroSerializer::<Order>::new(SCHEMA)?.with_ids(SchemaIds::fixed(7));
/// let bytes = with_id.serialize("orders", &mut Headers::new(), order())?;
/// assert_eq!(bytes.as_deref(), Some(&b"\0\0\0\0\x07\x0amocha\x04"[..]));
/// # Ok::<(), BoxError>(())
/// ```
pub struct AvroSerializer<T> {
    by: &'static BySchema,
    ids: Option<SchemaIds>,
    takes: PhantomData<fn(T)>,
}

impl<T: Serialize> AvroSerializer<T> {
    /// Writes values by this schema, which is JSON.
    ///
    /// # Errors
    /// It is no Avro schema, or speaks of types that it does not define.
    pub fn new(schema: &str) -> Result<Self, BoxError> {
        Ok(Self {
            by: BySchema::of(schema)?,
            ids: None,
            takes: PhantomData,
        })
    }

    /// Puts the schema's id, as a registry knows it, before each value.
    ///
    /// # Errors
    /// The subject takes a full name, and the schema is not of a named type.
    pub fn in_registry(
        self,
        registry: impl Registry,
        subject: Subject,
    ) -> Result<Self, SchemaError> {
        let mut schema = Schema::avro(&self.by.text);
        if let Some(name) = self.by.schema.name() {
            schema = schema.named(name.to_string());
        }
        let ids = SchemaIds::new(registry, subject, schema)?;
        Ok(self.with_ids(ids))
    }

    /// Puts these ids before each value.
    pub fn with_ids(mut self, ids: SchemaIds) -> Self {
        self.ids = Some(ids);
        self
    }
}

impl<T: Serialize + 'static> Serializer<T> for AvroSerializer<T> {
    fn serialize(&self, topic: &str, _: &mut Headers, value: T) -> Result<Option<Bytes>, BoxError> {
        let mut out = Vec::with_capacity(128);
        if let Some(ids) = &self.ids {
            out.extend(ids.frame(topic)?);
        }
        let framed = out.len();
        self.by.writer.write_ser(&mut out, &value)?;
        if matches!(self.by.schema, Avro::Bytes) && framed > 0 {
            // Confluent's serializer writes bytes as they are, without Avro's length before them, and its deserializer
            // reads them so.
            let length = out[framed..]
                .iter()
                .take_while(|byte| **byte >= 0x80)
                .count()
                + 1;
            out.drain(framed..framed + length);
        }
        Ok(Some(out.into()))
    }

    fn prepare(&self, topic: &str) -> Option<Preparing> {
        self.ids.as_ref()?.prepare(topic)
    }
}

impl<T> fmt::Debug for AvroSerializer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AvroSerializer")
            .field("schema", &self.by.text)
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

/// A schema, and what writes by it. The writer borrows the schema, so both are kept for good; each text once.
struct BySchema {
    text: String,
    schema: &'static Avro,
    writer: GenericDatumWriter<'static>,
}

impl BySchema {
    fn of(text: &str) -> Result<&'static Self, BoxError> {
        static KEPT: Mutex<Option<HashMap<&str, &BySchema>>> = Mutex::new(None);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_or_insert_default();
        if let Some(known) = kept.get(text) {
            return Ok(known);
        }
        let schema = Avro::parse_str(text)?;
        // Looked through first: a schema that is refused is not kept.
        GenericDatumWriter::builder(&schema).build()?;
        let schema: &'static Avro = Box::leak(Box::new(schema));
        let new: &'static Self = Box::leak(Box::new(Self {
            text: text.to_owned(),
            schema,
            writer: GenericDatumWriter::builder(schema).build()?,
        }));
        kept.insert(&new.text, new);
        Ok(new)
    }
}

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
    pub fn new(schema: &str) -> Result<Self, SchemaError> {
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
    fn of(text: &str) -> Result<&'static Self, SchemaError> {
        let invalid = |error: apache_avro::Error| SchemaError::invalid(error.to_string());
        static KEPT: Mutex<Option<HashMap<&str, &BySchema>>> = Mutex::new(None);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_or_insert_default();
        if let Some(known) = kept.get(text) {
            return Ok(known);
        }
        let schema = Avro::parse_str(text).map_err(invalid)?;
        // Looked through first: a schema that is refused is not kept.
        GenericDatumWriter::builder(&schema)
            .build()
            .map_err(invalid)?;
        let schema: &'static Avro = Box::leak(Box::new(schema));
        let new: &'static Self = Box::leak(Box::new(Self {
            text: text.to_owned(),
            schema,
            writer: GenericDatumWriter::builder(schema)
                .build()
                .map_err(invalid)?,
        }));
        kept.insert(&new.text, new);
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use apache_avro::reader::datum::GenericDatumReader;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::super::tests::bytes;
    use super::*;

    fn alone<T: Serialize + 'static>(schema: &str, value: T) -> Vec<u8> {
        bytes(AvroSerializer::new(schema).unwrap(), value)
    }

    /// The examples of the Avro specification, "Binary Encoding".
    #[test]
    fn the_specifications_examples() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (-2, &[0x03]),
            (2, &[0x04]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
        ] {
            assert_eq!(alone(r#""int""#, value), expected);
            assert_eq!(alone(r#""long""#, i64::from(value)), expected);
        }
        assert_eq!(alone(r#""string""#, "foo"), b"\x06foo");

        #[derive(Serialize)]
        struct Test {
            a: i64,
            b: &'static str,
        }
        let schema = r#"{"type": "record", "name": "test", "fields": [
            {"name": "a", "type": "long"}, {"name": "b", "type": "string"}]}"#;
        assert_eq!(alone(schema, Test { a: 27, b: "foo" }), b"\x36\x06foo");

        let longs = r#"{"type": "array", "items": "long"}"#;
        assert_eq!(alone(longs, vec![3_i64, 27]), [0x04, 0x06, 0x36, 0x00]);
        let union = r#"["null", "string"]"#;
        assert_eq!(alone(union, None::<&str>), [0x00]);
        assert_eq!(alone(union, Some("a")), [0x02, 0x02, 0x61]);
    }

    /// As published with the crate `schema_registry_converter`, which reads and writes what Confluent's serializers do.
    #[test]
    fn published_values_with_a_schemas_id() {
        #[derive(Serialize)]
        struct Heartbeat {
            beat: i64,
        }
        #[derive(Serialize)]
        struct Name {
            name: &'static str,
        }
        let heartbeat = r#"{"type": "record", "name": "Heartbeat", "namespace": "nl.openweb.data",
            "fields": [{"name": "beat", "type": "long"}]}"#;
        let by = AvroSerializer::new(heartbeat).unwrap();
        let written = bytes(by.with_ids(SchemaIds::fixed(3)), Heartbeat { beat: 3 });
        assert_eq!(written, [0, 0, 0, 0, 3, 6]);

        let name = r#"{"type": "record", "name": "Name", "namespace": "nl.openweb.data",
            "fields": [{"name": "name", "type": "string", "avro.java.string": "String"}]}"#;
        let by = AvroSerializer::new(name).unwrap();
        let name = Name { name: "Some name" };
        assert_eq!(
            bytes(by.with_ids(SchemaIds::fixed(4)), name),
            [0, 0, 0, 0, 4, 18, 83, 111, 109, 101, 32, 110, 97, 109, 101]
        );
    }

    /// Confluent's `serializeImpl`: `if (value instanceof byte[]) out.write((byte[]) value)`.
    #[test]
    fn bytes_have_no_length_behind_an_id() {
        let long = vec![7; 300];
        for value in [&[][..], &[1, 2], &long] {
            let value = as_bytes(value);
            let by = || AvroSerializer::new(r#""bytes""#).unwrap();
            let written = bytes(by().with_ids(SchemaIds::fixed(1)), value.clone());
            assert_eq!(written, [&[0, 0, 0, 0, 1], &value.0[..]].concat());
            let length = bytes(by(), value.clone()).len() - value.0.len();
            assert_eq!(length, if value.0.len() < 64 { 1 } else { 2 });
        }
    }

    fn as_bytes(bytes: &[u8]) -> AsBytes {
        AsBytes(bytes.to_vec())
    }

    #[derive(Clone)]
    struct AsBytes(Vec<u8>);

    impl Serialize for AsBytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_that_does_not_show_it() {
        let by = AvroSerializer::<&str>::new(r#""int""#).unwrap();
        let error = by
            .serialize("t", &mut Headers::new(), "hunter2")
            .unwrap_err();
        assert!(error.is::<apache_avro::Error>());
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn a_schema_is_checked_at_once_and_kept_once() {
        for wrong in [
            "",
            "no json",
            r#""whole number""#,
            r#"{"type": "array", "items": "Order"}"#,
        ] {
            assert!(AvroSerializer::<i32>::new(wrong).is_err(), "{wrong}");
        }
        let [one, two] = [(); 2].map(|()| AvroSerializer::<i32>::new(r#""int""#).unwrap());
        assert!(std::ptr::eq(one.by, two.by));
    }

    const NESTED: &str = r#"{"type": "record", "name": "Node", "namespace": "tree", "fields": [
        {"name": "id", "type": "long"},
        {"name": "weight", "type": "double"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["Leaf", "Branch"]}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "children", "type": {"type": "array", "items": "Node"}}
    ]}"#;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Node {
        id: i64,
        weight: f64,
        name: Option<String>,
        kind: Kind,
        tags: BTreeMap<String, String>,
        children: Vec<Node>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Leaf,
        Branch,
    }

    fn node() -> impl Strategy<Value = Node> {
        let tags = || proptest::collection::btree_map(".{0,4}", ".{0,8}", 0..4);
        let fields = move || (any::<i64>(), -1e300..1e300, any::<Option<String>>(), tags());
        let leaf = fields().prop_map(|(id, weight, name, tags)| Node {
            id,
            weight,
            name,
            kind: Kind::Leaf,
            tags,
            children: vec![],
        });
        leaf.prop_recursive(3, 20, 4, move |child| {
            (fields(), proptest::collection::vec(child, 0..4)).prop_map(|(fields, children)| {
                let (id, weight, name, tags) = fields;
                Node {
                    id,
                    weight,
                    name,
                    kind: Kind::Branch,
                    tags,
                    children,
                }
            })
        })
    }

    proptest! {
        /// A reader that takes the id to the registry, and reads the rest by that schema, gets the value that was sent.
        #[test]
        fn what_is_read_is_what_was_sent(id: u32, node in node()) {
            let by = AvroSerializer::new(NESTED).unwrap().with_ids(SchemaIds::fixed(id));
            let written = bytes(by, node.clone());
            prop_assert_eq!(written[0], 0);
            prop_assert_eq!(&written[1..5], &id.to_be_bytes()[..]);

            let schema = Avro::parse_str(NESTED).unwrap();
            let mut rest = &written[5..];
            let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(apache_avro::from_value::<Node>(&value).unwrap(), node);
        }
    }
}

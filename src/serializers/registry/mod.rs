//! Schemas in a registry: what `AvroSerializer`, `ProtobufSerializer` and a serializer of your own need for the wire format
//! of Confluent's schema registry.
//!
//! In that format a byte 0 and the schema's id (4 bytes, big-endian) stand before the payload. Readers take the id to the
//! registry and get the schema with which the payload was written.
//!
//! # When the registry is asked
//! [`Serializer::serialize`](crate::Serializer::serialize) runs within asynchronous sends and never waits, so it only looks
//! at the ids that are known. The registry is asked in [`prepare`](SchemaIds::prepare), which the producer calls before it
//! serializes: for the first record to a topic it waits for the answer, for no later one. So
//!
//! - `send`, `enqueue`, `send_with`, `send_and_forget` and `blocking()` wait for it, no longer than `max.block.ms`;
//! - `try_send` never waits: it begins the look-up and answers [`SchemaError::NotReady`] until the id is there;
//! - [`Producer::prepare`](crate::Producer::prepare) does it at the start, where a schema that the registry refuses should
//!   end the program, not the first record.
//!
//! A look-up runs on a thread of its own, so it needs no runtime and holds none up; there is one at a time for a subject,
//! however many records wait for it. An id is kept for good: in a registry it never changes its meaning. A failure is kept
//! for a second and told to every send meanwhile, so that a registry that is down is not asked for each record.
//!
//! # A serializer of your own
//! ```
//! use bytes::Bytes;
//! use franking::{BoxError, Headers, Preparing, Serializer};
//! use franking::serializers::registry::{Schema, SchemaError, SchemaIds, Subject};
//!
//! /// JSON with the id of its schema, as Confluent's `KafkaJsonSchemaSerializer`.
//! struct WithJsonSchema(SchemaIds);
//!
//! impl<T: serde::Serialize> Serializer<T> for WithJsonSchema {
//!     fn prepare(&self, topic: &str) -> Option<Preparing> {
//!         self.0.prepare(topic)
//!     }
//!     fn serialize(&self, topic: &str, _: &mut Headers, value: T) -> Result<Option<Bytes>, BoxError> {
//!         let mut out = self.0.frame(topic)?.to_vec();
//!         serde_json::to_writer(&mut out, &value)?;
//!         Ok(Some(out.into()))
//!     }
//! }
//!
//! // A registry of one's own; `HttpRegistry` (feature `schema-registry`) is the usual one.
//! let registry = |subject: &str, _: &Schema| match subject {
//!     "orders-value" => Ok(7),
//!     _ => Err(SchemaError::refused(404, "there is no such subject")),
//! };
//! let ids = SchemaIds::new(registry, Subject::TopicValue, Schema::json(r#"{"type": "integer"}"#))?;
//! # franking::testing::block_on(ids.prepare("orders").unwrap(), std::time::Duration::from_secs(9)).unwrap()?;
//! let bytes = WithJsonSchema(ids).serialize("orders", &mut Headers::new(), 42)?;
//! assert_eq!(bytes.as_deref(), Some(&b"\0\0\0\0\x0742"[..]));
//! # Ok::<(), BoxError>(())
//! ```

mod error;
#[cfg(feature = "schema-registry")]
mod http;
mod ids;
mod schema;

#[cfg(feature = "schema-registry")]
pub use self::http::HttpRegistry;
pub use self::{
    error::SchemaError,
    ids::SchemaIds,
    schema::{Format, Reference, Schema, Subject},
};

/// Where schemas have their ids. Closures are registries.
pub trait Registry: Send + Sync + 'static {
    /// The id of this schema under this subject. It may take its time and block: it runs on a thread of its own.
    ///
    /// # Errors
    /// [`SchemaError::Unreachable`] if it may go better later, [`SchemaError::Refused`] if it will not.
    fn id(&self, subject: &str, schema: &Schema) -> Result<u32, SchemaError>;
}

impl<F> Registry for F
where
    F: Fn(&str, &Schema) -> Result<u32, SchemaError> + Send + Sync + 'static,
{
    fn id(&self, subject: &str, schema: &Schema) -> Result<u32, SchemaError> {
        self(subject, schema)
    }
}

//! A producer as it is sold: with the full default stack, and the oracle around it.

use std::sync::Arc;

use bytes::Bytes;
use franking::middleware::audit::Audit;
use franking::middleware::origin::Origin;
use franking::serializers::BytesSerializer;
use franking::{DefaultStack, Producer, ProducerBuilder};

use super::oracle::{Copy, History, Judge};

/// The default stack.
pub fn stack() -> DefaultStack {
    let origin = Origin::builder()
        .service_namespace("franking")
        .service_name("truth")
        .build()
        .unwrap();
    DefaultStack::new(origin)
}

/// A producer of bytes for this cluster, with Kafka's defaults and no layers.
pub fn bytes_builder(bootstrap: impl Into<String>) -> ProducerBuilder<Bytes, Bytes> {
    Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer)
}

/// A producer with the full default stack, watched by the oracle.
pub struct Full {
    pub producer: Producer<Bytes, Bytes>,
    pub audit: Arc<Audit>,
    pub history: History,
}

impl Full {
    /// For this cluster, with these properties.
    pub fn new(bootstrap: &str, properties: &[(&str, &str)]) -> Self {
        Self::with_stack(bootstrap, properties, stack())
    }

    /// With a default stack that differs.
    pub fn with_stack(bootstrap: &str, properties: &[(&str, &str)], stack: DefaultStack) -> Self {
        let history = History::new();
        let audit = Arc::clone(stack.audit());
        let producer = bytes_builder(bootstrap)
            .properties(properties.iter().copied())
            .layer(history.layer())
            .layer(stack)
            .build()
            .unwrap();
        Self {
            producer,
            audit,
            history,
        }
    }

    /// Compares this producer's accounts with what is in the topic.
    pub fn judge<'a>(&'a self, copies: &'a [Copy]) -> Judge<'a> {
        Judge::of(&self.history, copies).audit(self.audit.totals())
    }
}

//! A producer as it is sold: with the full default stack, and the oracle around it.

use std::sync::Arc;

use bytes::Bytes;
use franking::middleware::audit::Audit;
use franking::middleware::origin::Origin;
use franking::middleware::retry::{RetryLayer, RetryStats};
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

/// A producer with the full default stack, watched by the oracle. Clones share it.
#[derive(Clone)]
pub struct Full {
    pub producer: Producer<Bytes, Bytes>,
    pub audit: Arc<Audit>,
    pub retry: RetryStats,
    pub history: History,
}

impl Full {
    /// For this cluster, with these properties, and the retry layer's defaults.
    pub fn new(bootstrap: &str, properties: &[(&str, &str)]) -> Self {
        Self::with_retry(bootstrap, properties, RetryLayer::new())
    }

    /// With other limits of the retry layer.
    pub fn with_retry(bootstrap: &str, properties: &[(&str, &str)], retry: RetryLayer) -> Self {
        let history = History::new();
        let stats = retry.stats();
        let stack = stack().retry(retry);
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
            retry: stats,
            history,
        }
    }

    /// Compares this producer's accounts with what is in the topic.
    pub fn judge<'a>(&'a self, copies: &'a [Copy]) -> Judge<'a> {
        Judge::of(&self.history, copies).audit(self.audit.totals())
    }
}

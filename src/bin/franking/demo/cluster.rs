//! The Kafka of the demo: librdkafka's mock cluster, in this process, with faults on demand.

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::BoxError;

const BROKERS: i32 = 3;

/// Three brokers that speak Kafka's protocol.
pub(super) struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Cluster {
    /// Starts them, with these topics.
    pub(super) fn start(topics: &[&str]) -> Result<Self, BoxError> {
        let cluster = MockCluster::new(BROKERS)?;
        for topic in topics {
            cluster.create_topic(topic, 3, BROKERS)?;
        }
        Ok(Self(cluster))
    }

    pub(super) fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// So many of the next requests with records end with their connection, unanswered and not stored.
    pub(super) fn cut(&self, times: usize) {
        self.fail(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, times);
    }

    /// So many of the next requests with records are answered: the broker cannot write to its disk.
    pub(super) fn break_disk(&self, times: usize) {
        self.fail(RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, times);
    }

    fn fail(&self, error: RDKafkaRespErr, times: usize) {
        self.0
            .request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
    }

    /// From here on all goes well.
    pub(super) fn heal(&self) {
        self.0.clear_request_errors(RDKafkaApiKey::Produce);
    }
}

//! librdkafka's mock cluster: real protocol, in this process, with errors on demand.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
pub use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// A mock cluster of one broker.
pub struct Mock(MockCluster<'static, DefaultProducerContext>);

impl Mock {
    pub fn new() -> Self {
        Self(MockCluster::new(1).expect("a mock cluster"))
    }

    /// With this topic.
    pub fn with_topic(topic: &str, partitions: i32) -> Self {
        let mock = Self::new();
        mock.create_topic(topic, partitions);
        mock
    }

    pub fn create_topic(&self, topic: &str, partitions: i32) {
        self.0
            .create_topic(topic, partitions, 1)
            .expect("a topic in the mock cluster");
    }

    pub fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Closes the connections, and takes none, until [`up`](Self::up).
    pub fn down(&self) {
        self.0.broker_down(1).unwrap();
    }

    pub fn up(&self) {
        self.0.broker_up(1).unwrap();
    }

    /// The broker takes this long for each answer.
    pub fn round_trip(&self, time: Duration) {
        self.0.broker_round_trip_time(1, time).unwrap();
    }

    /// The next requests of this kind are answered with these errors, one each.
    pub fn answers(&self, api: RDKafkaApiKey, answers: &[RDKafkaRespErr]) {
        self.0.request_errors(api, answers);
    }

    /// Requests are answered without errors again.
    pub fn answers_well(&self, api: RDKafkaApiKey) {
        self.0.clear_request_errors(api);
    }

    /// Whoever asks for this topic gets the error.
    pub fn topic_answers(&self, topic: &str, answer: RDKafkaRespErr) {
        self.0.topic_error(topic, answer).unwrap();
    }
}

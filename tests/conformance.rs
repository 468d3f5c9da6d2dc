//! The six promises, kept by the engine on librdkafka and by the default stack: on librdkafka's mock cluster, on a real
//! Kafka, and on the scripted engine.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use franking::config::{Config, Properties, Required};
use franking::engine::Control;
use franking::engine::rdkafka::RdkafkaEngine;
use franking::middleware::origin::Origin;
use franking::testing::conformance::{Fixture, Lever, check};
use franking::testing::{Answer, Scripted, block_on, send};
use franking::{Code, DefaultStack, Failure, Parts, Produce, Record, Room, Topic, Totals};
use support::{Cluster, Mock, STAYS, Stored, read, topic, topic_name};
use tower_layer::{Identity, Layer};

/// Brokers that a fixture can stop.
trait Broker {
    fn bootstrap(&self) -> String;
    fn topic(&self) -> String;
    /// A topic that takes no record, and says so for good.
    fn closed_topic(&self) -> String;
    /// Lets such a topic be read.
    fn open_topic(&mut self, _: &str) {}
    /// From now on no answer comes. Nothing is lost if it was not on its way.
    fn stall(&self);
    /// What is sent from now on may arrive; no answer does.
    fn go_silent(&self);
    fn resume(&self);
}

impl Broker for Mock {
    fn bootstrap(&self) -> String {
        self.bootstrap()
    }

    fn topic(&self) -> String {
        let name = topic_name("conformance");
        self.create_topic(&name, 1);
        name
    }

    fn closed_topic(&self) -> String {
        let name = topic_name("closed");
        self.topic_answers(
            &name,
            support::Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        );
        name
    }

    fn open_topic(&mut self, topic: &str) {
        self.topic_answers(topic, support::Answer::RD_KAFKA_RESP_ERR_NO_ERROR);
    }

    fn stall(&self) {
        // Not by slow answers: those that are under way could only be resumed by cutting connections, and the mock
        // cluster would then store what is sent again.
        self.down();
    }

    fn go_silent(&self) {
        self.round_trip(Duration::from_secs(100));
    }

    fn resume(&self) {
        self.round_trip(Duration::ZERO);
        self.down();
        self.up();
    }
}

impl Broker for Cluster {
    fn bootstrap(&self) -> String {
        self.bootstrap().to_owned()
    }

    fn topic(&self) -> String {
        topic(self.bootstrap(), "conformance", 1, &[])
    }

    fn closed_topic(&self) -> String {
        topic(self.bootstrap(), "closed", 1, &[("max.message.bytes", "1")])
    }

    fn stall(&self) {
        self.freeze(1);
    }

    fn go_silent(&self) {
        self.freeze(1);
    }

    fn resume(&self) {
        self.thaw(1);
    }
}

/// A stack on the engine on librdkafka.
struct OnLibrdkafka<B, L> {
    broker: B,
    layer: L,
    engine: Option<RdkafkaEngine>,
    topic: String,
    closed_topic: Option<String>,
}

impl<B: Broker, L> OnLibrdkafka<B, L> {
    fn new(broker: B, layer: L) -> Self {
        Self {
            broker,
            layer,
            engine: None,
            topic: String::new(),
            closed_topic: None,
        }
    }

    fn engine(&self) -> RdkafkaEngine {
        self.engine.clone().expect("`make` was called")
    }

    fn control(&self) -> Arc<dyn Control> {
        self.engine().control()
    }
}

impl<B: Broker, L> Fixture for OnLibrdkafka<B, L>
where
    L: Layer<RdkafkaEngine>,
    L::Service: Produce + Clone + Send + 'static,
{
    type Service = L::Service;

    fn make(&mut self, room: usize) -> L::Service {
        let mut properties = Properties::new();
        for (name, value) in [
            ("bootstrap.servers", &*self.broker.bootstrap()),
            ("buffer.memory", &room.to_string()),
            ("linger.ms", "1"),
            ("request.timeout.ms", "5000"),
            ("delivery.timeout.ms", "6000"),
            // After a stall it goes on soon.
            ("reconnect.backoff.ms", "20"),
            ("reconnect.backoff.max.ms", "100"),
        ] {
            properties.set(name, value);
        }
        let config = Config::check(&properties, Required::default()).unwrap();
        let engine = RdkafkaEngine::new(&config).unwrap();
        self.engine = Some(engine.clone());
        self.layer.layer(engine)
    }

    fn topic(&mut self) -> Topic {
        self.topic = self.broker.topic();
        self.topic.clone().into()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(12)
    }

    fn room(&mut self) -> Lever<Arc<Room>> {
        Ok(Arc::clone(self.control().room()))
    }

    fn stall(&mut self) -> Lever {
        self.broker.stall();
        Ok(())
    }

    fn resume(&mut self) -> Lever {
        self.broker.resume();
        Ok(())
    }

    fn fail_next(&mut self, _: &Topic) -> Lever<Topic> {
        let broker = &self.broker;
        let topic = self
            .closed_topic
            .get_or_insert_with(|| broker.closed_topic());
        Ok(topic.clone().into())
    }

    fn lose_acknowledgement(&mut self) -> Lever {
        // The record has to leave: the connection, and the topic's leader, must be known.
        let first = Record::new(self.topic.clone()).partition(0).value("first");
        send(&mut self.engine(), first).expect("a broker that answers");
        self.broker.go_silent();
        Ok(())
    }

    fn close(&mut self, within: Duration) -> Lever<Totals> {
        let closing = self.control().close(Instant::now() + within);
        let closed = block_on(closing, Duration::from_secs(60)).expect("an end");
        Ok(Totals {
            delivered: closed.delivered,
            not_persisted: closed.not_persisted,
            unknown: closed.unknown,
        })
    }

    fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
        if self.closed_topic.as_deref() == Some(topic.as_str()) {
            // Closed to readers too, on the mock cluster. The next record that shall fail gets another one.
            self.broker.open_topic(topic);
            self.closed_topic = None;
        }
        Ok(parts(read(&self.broker.bootstrap(), topic)))
    }
}

fn parts(stored: Vec<Stored>) -> Vec<Parts> {
    stored
        .into_iter()
        .filter(|stored| stored.partition == 0)
        .map(|stored| {
            let mut record = Record::default();
            record.key = stored.key.map(Into::into);
            record.value = stored.value.map(Into::into);
            for (name, value) in &stored.headers {
                record.headers.append(name, value.as_deref()).unwrap();
            }
            Parts::clone(&record)
        })
        .collect()
}

fn stack() -> DefaultStack {
    let origin = Origin::builder()
        .service_namespace("franking")
        .service_name("conformance")
        .build()
        .unwrap();
    DefaultStack::new(origin)
}

#[test]
fn the_engine_keeps_the_promises_on_the_mock_cluster() {
    check(&mut OnLibrdkafka::new(Mock::new(), Identity::new())).assert();
}

#[test]
fn the_default_stack_keeps_the_promises_on_the_mock_cluster() {
    check(&mut OnLibrdkafka::new(Mock::new(), stack())).assert();
}

#[test]
fn the_engine_keeps_the_promises_on_a_real_kafka() {
    check(&mut OnLibrdkafka::new(
        Cluster::start(1, &[STAYS]),
        Identity::new(),
    ))
    .assert();
}

#[test]
fn the_default_stack_keeps_the_promises_on_a_real_kafka() {
    check(&mut OnLibrdkafka::new(Cluster::start(1, &[STAYS]), stack())).assert();
}

// === the scripted engine ===

struct OnTheScriptedEngine(Scripted);

impl Fixture for OnTheScriptedEngine {
    type Service = <DefaultStack as Layer<Scripted>>::Service;

    fn make(&mut self, room: usize) -> Self::Service {
        self.0 = Scripted::with_room(room);
        stack().layer(self.0.clone())
    }

    fn room(&mut self) -> Lever<Arc<Room>> {
        Ok(Arc::clone(self.0.room()))
    }

    fn stall(&mut self) -> Lever {
        self.0.stall();
        Ok(())
    }

    fn resume(&mut self) -> Lever {
        self.0.resume();
        Ok(())
    }

    fn fail_next(&mut self, topic: &Topic) -> Lever<Topic> {
        self.0
            .script(Answer::fail(Failure::new(Code::RecordTooLarge)));
        Ok(topic.clone())
    }

    fn lose_acknowledgement(&mut self) -> Lever {
        self.0.script(Answer::lose_acknowledgement());
        Ok(())
    }

    fn close(&mut self, _: Duration) -> Lever<Totals> {
        Ok(self.0.close())
    }

    fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
        let stored = self.0.stored().into_iter();
        Ok(stored
            .filter(|stored| stored.topic == *topic)
            .map(|stored| stored.parts)
            .collect())
    }
}

#[test]
fn the_default_stack_keeps_the_promises_on_the_scripted_engine() {
    check(&mut OnTheScriptedEngine(Scripted::new())).assert();
}

//! Keys, values and headers' values, through success, each kind of failure, and panics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use franking::middleware::audit::Audit;
use franking::middleware::metrics::Metrics;
use franking::middleware::origin::Origin;
use franking::middleware::trace::Trace;
use franking::serializers::StringSerializer;
use franking::testing::{Answer, Scripted, block_on, send};
use franking::{
    BoxError, Code, DefaultStack, Failed, Failure, Headers, Interceptor, InterceptorLayer, Outcome,
    Parts, Persistence, Producer, ProducerRecord, Record, Recover, Serializer,
};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tower_layer::Layer;

use crate::support::{Answer as Broker, Api, Mock};
use crate::{Shown, log, panics};

const KEY: &str = "tweety-key-canary";
const VALUE: &str = "tweety-value-canary";
const HEADER: &str = "tweety-header-canary";
const SECRETS: [&str; 3] = [KEY, VALUE, HEADER];

fn record(topic: &str) -> Record {
    let mut record = Record::new(topic.to_owned()).key(KEY).value(VALUE);
    record.headers.append("mine", HEADER).unwrap();
    record
}

/// Shows whatever an interceptor and a recoverer get to see.
#[derive(Default)]
struct Watching(Mutex<Shown>);

impl Watching {
    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interceptor for Watching {
    type Token = ();

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        self.shown().debug("an interceptor's record", record);
        match &*record.topic {
            "panics" => panic!("an interceptor, as a test"),
            _ => Ok(()),
        }
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        self.shown().debug("an outcome", outcome);
        self.shown().debug("an outcome's record", &outcome.record);
        assert_ne!(
            outcome.record.topic.as_str(),
            "hook-panics",
            "a hook, as a test"
        );
    }
}

impl Recover for Watching {
    fn recover(self: Arc<Self>, failed: Failed) {
        self.shown().debug("what failed", &failed);
        self.shown().debug("what failed", failed.record());
        self.shown().text("why it failed", failed.failure());
        failed.decline();
    }
}

/// Of a layered stack: every failure that an engine may answer, and panics.
#[test]
fn no_layer_shows_a_payload() {
    log();
    panics();
    let spans = InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let metrics = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(metrics.clone()).build())
        .build();
    let audit = Arc::new(Audit::builder().instance_id("i").build());
    let stack = DefaultStack::new(Origin::builder().service_name("s").build().unwrap())
        .trace(Trace::new(tracers.tracer("test")))
        .metrics(Metrics::new(&meters.meter("test")))
        .with_audit(Arc::clone(&audit));
    let watching = Arc::new(Watching::default());
    let engine = Scripted::new();
    let mut service =
        stack.layer(InterceptorLayer::new(Arc::clone(&watching)).layer(engine.clone()));

    let codes = [
        Code::Serialization,
        Code::InvalidRecord,
        Code::NoRoom,
        Code::RecordTooLarge,
        Code::UnknownTopicOrPartition,
        Code::Authorization,
        Code::Authentication,
        Code::TimedOut,
        Code::Interrupted,
        Code::Refused,
        Code::Dropped,
        Code::Closed,
        Code::Fatal,
        Code::WouldBlock,
        Code::Broker {
            number: 19,
            name: "NOT_ENOUGH_REPLICAS".into(),
        },
    ];
    let mut failed = 0;
    for topic in ["sound", "panics", "hook-panics"] {
        send(&mut service, record(topic))
            .map_or_else(|error| watching.shown().error(topic, &error), drop);
        for code in &codes {
            for persistence in [Persistence::NotPersisted, Persistence::Unknown] {
                engine.script(Answer::fail(
                    Failure::new(code.clone()).with_persistence(persistence),
                ));
                let mut record = record(topic);
                record.push_recover(Arc::clone(&watching) as Arc<dyn Recover>);
                if let Err(error) = send(&mut service, record) {
                    failed += 1;
                    let mut shown = watching.shown();
                    shown.error("a send", &error);
                    shown.debug("what came back", &error.into_record());
                }
            }
        }
    }
    assert!(failed >= 60, "{failed}");
    audit.report();
    meters.force_flush().unwrap();
    let mut shown = watching.shown();
    shown.debug("spans", &spans.get_finished_spans().unwrap());
    shown.debug("metrics", &metrics.get_finished_metrics().unwrap());
    shown.debug("the audit", &audit.snapshot());
    shown.debug("the audit", &audit);
    shown.debug("the stack", &stack);
    shown.log();
    let panicked = panics()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    assert!(
        panicked
            .iter()
            .any(|panic| panic.contains("a hook, as a test")),
        "{panicked:?}"
    );
    for panic in panicked {
        shown.text("a panic", panic);
    }
    shown.must_not_hold(SECRETS);
    println!("{failed} failures, {} texts, no payload", shown.0.len());
}

/// A serializer that panics, and one that fails, each for one topic.
struct Picky;

impl Serializer<String> for Picky {
    fn serialize(
        &self,
        topic: &str,
        _: &mut Headers,
        value: String,
    ) -> Result<Option<bytes::Bytes>, BoxError> {
        match topic {
            "serializer-panics" => panic!("a serializer, as a test"),
            "serializer-fails" => Err("as a test".into()),
            _ => Ok(Some(value.into())),
        }
    }
}

/// Of a producer on librdkafka, which logs everything that it does.
#[test]
fn no_producer_shows_a_payload() {
    log();
    panics();
    let mut shown = Shown::default();
    let answers = [
        Broker::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Broker::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Broker::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        Broker::RD_KAFKA_RESP_ERR_INVALID_RECORD,
        Broker::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Broker::RD_KAFKA_RESP_ERR_UNKNOWN,
    ];
    let mut failed = 0;
    for answer in [None].into_iter().chain(answers.map(Some)) {
        let mock = Mock::with_topic("sound", 1);
        let producer: Producer<String, String> = Producer::builder()
            .property("bootstrap.servers", mock.bootstrap())
            .property("debug", "all")
            .property("retries", "1")
            .property("retry.backoff.ms", "1")
            .property("linger.ms", "0")
            .property("max.block.ms", "500")
            .property("request.timeout.ms", "1000")
            .property("delivery.timeout.ms", "1500")
            .key_serializer(StringSerializer)
            .value_serializer(Picky)
            .layer(DefaultStack::new(
                Origin::builder().service_name("s").build().unwrap(),
            ))
            .layer(InterceptorLayer::new(Arc::new(Watching::default())))
            .build()
            .unwrap();
        for topic in [
            "sound",
            "serializer-panics",
            "serializer-fails",
            "panics",
            "hook-panics",
            "not a topic",
        ] {
            if let Some(answer) = answer {
                mock.answers(Api::Produce, &[answer; 4]);
            }
            let record = ProducerRecord::new(topic)
                .key(KEY.to_owned())
                .value(VALUE.to_owned())
                .header("mine", HEADER);
            shown.debug("a producer's record", &record);
            let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                block_on(producer.send(record), Duration::from_secs(20)).expect("in time")
            }));
            match sent {
                Ok(Err(error)) => {
                    failed += 1;
                    shown.error(topic, &error);
                }
                Ok(Ok(metadata)) => shown.debug(topic, &metadata),
                Err(panic) => {
                    let text = panic.downcast_ref::<&str>().copied().unwrap_or("?");
                    shown.text("a panic", text);
                }
            }
        }
        shown.debug("a producer", &producer);
        block_on(
            producer.close(Duration::from_millis(100)),
            Duration::from_secs(20),
        )
        .expect("in time");
    }
    assert!(failed >= answers.len());
    shown.log();
    for panic in panics()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        shown.text("a panic", panic);
    }
    shown.must_not_hold(SECRETS);
    println!(
        "{failed} failures on librdkafka, {} log lines, no payload",
        log().entries().len()
    );
}

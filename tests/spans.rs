//! The spans of records that are refused, fail, are retried, or dropped: each ends at the right time with the right
//! status, as a collector decodes it from OTLP.

mod support;

use std::thread;
use std::time::{Duration, SystemTime};

use franking::middleware::origin::Origin;
use franking::middleware::retry::RetryLayer;
use franking::middleware::trace::Trace;
use franking::testing::{Answer, Scripted, block_on, send};
use franking::{
    Code, DefaultStack, Delivery, Failure, Interceptor, InterceptorLayer, Outcome, Parts,
    Persistence, Produce, Record, SendResult, tower,
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use opentelemetry_sdk::trace::SdkTracerProvider;
use support::otlp::{Collector, attribute};
use tower_layer::Layer;
use tower_service::Service;

/// A collector, and what sends spans to it.
struct Bed {
    collector: Collector,
    provider: SdkTracerProvider,
    engine: Scripted,
}

impl Bed {
    fn new() -> Self {
        let collector = Collector::start();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", collector.endpoint()))
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .build();
        Self {
            collector,
            provider,
            engine: Scripted::new(),
        }
    }

    /// The default stack, whose origin refuses reserved headers.
    fn stack(&self) -> DefaultStack<opentelemetry_sdk::trace::SdkTracer> {
        let origin = Origin::refusing(Origin::builder().service_name("shop")).unwrap();
        let retry = RetryLayer::new().backoff(BACKOFF, BACKOFF);
        DefaultStack::new(origin)
            .trace(Trace::new(self.provider.tracer("test")))
            .retry(retry)
    }

    fn service(&self) -> impl Produce<Future = Delivery> + Clone + use<> {
        self.stack().layer(self.engine.clone())
    }

    /// The only span that the collector has.
    fn span(&self) -> Span {
        self.provider.force_flush().unwrap();
        let mut spans = self.collector.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }

    fn ended(&self) -> usize {
        self.provider.force_flush().unwrap();
        self.collector.spans().len()
    }
}

/// The longest wait before a resend.
const BACKOFF: Duration = Duration::from_millis(300);

/// How long a test waits before a record ends.
const WAIT: Duration = Duration::from_millis(300);

fn order() -> Record {
    Record::new("orders").key("table-7").value("two cups")
}

fn settle(delivery: Delivery) -> SendResult {
    block_on(delivery, Duration::from_secs(60)).expect("an outcome")
}

fn get(span: &Span, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

fn took(span: &Span) -> Duration {
    Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano)
}

fn status(span: &Span) -> (StatusCode, &str) {
    let status = span.status.as_ref().unwrap();
    (status.code(), &status.message)
}

/// What all of them say.
fn check(span: &Span, began: SystemTime) {
    assert_eq!(span.name, "send orders");
    assert_eq!(span.kind(), SpanKind::Producer);
    for (key, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "orders"),
        ("messaging.message.body.size", "8"),
    ] {
        assert_eq!(get(span, key).as_deref(), Some(value), "{key}");
    }
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let started = Duration::from_nanos(span.start_time_unix_nano);
    let late = started.saturating_sub(began);
    assert!(late < Duration::from_secs(5), "{late:?}");
    let text = format!("{span:?}");
    assert!(!text.contains("two cups") && !text.contains("table-7"));
}

fn is_prompt(span: &Span) {
    let took = took(span);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn delivered() {
    let bed = Bed::new();
    let began = SystemTime::now();
    bed.engine
        .script(Answer::deliver().after(Duration::from_secs(30)));
    // The caller drops the future: the record goes on, and so does its span.
    drop(bed.service().call(order()));
    assert_eq!(bed.ended(), 0, "not before the acknowledgement");
    bed.engine.advance(Duration::from_secs(30));
    let span = bed.span();
    check(&span, began);
    assert_eq!(status(&span), (StatusCode::Unset, ""));
    assert_eq!(get(&span, "messaging.kafka.offset").as_deref(), Some("0"));
    let partition = get(&span, "messaging.destination.partition.id");
    assert_eq!(partition.as_deref(), Some("0"));
    assert_eq!(get(&span, "error.type"), None);
    assert!(
        (30..40).contains(&took(&span).as_secs()),
        "{:?}",
        took(&span)
    );
}

#[test]
fn refused() {
    let bed = Bed::new();
    let began = SystemTime::now();
    let mut record = order();
    record.headers.append("prov-id", "forged").unwrap();
    let error = send(&mut bed.service(), record).unwrap_err();
    assert_eq!(*error.code(), Code::Refused);
    let span = bed.span();
    check(&span, began);
    assert_eq!(get(&span, "error.type").as_deref(), Some("REFUSED"));
    let (code, message) = status(&span);
    assert_eq!(code, StatusCode::Error);
    assert!(
        message.starts_with("REFUSED: ") && message.contains("not persisted"),
        "{message}"
    );
    assert_eq!(get(&span, "franking.attempts"), None);
    is_prompt(&span);
}

#[test]
fn failed() {
    for (code, persistence, name) in [
        (
            Code::RecordTooLarge,
            Persistence::NotPersisted,
            "RECORD_TOO_LARGE",
        ),
        (Code::TimedOut, Persistence::Unknown, "TIMED_OUT"),
        (
            Code::Broker {
                number: 44,
                name: "POLICY_VIOLATION".into(),
            },
            Persistence::NotPersisted,
            "POLICY_VIOLATION",
        ),
    ] {
        let began = SystemTime::now();
        let bed = Bed::new();
        let failure = Failure::new(code).with_persistence(persistence);
        bed.engine.script(Answer::fail(failure));
        bed.engine.stall();
        let delivery = bed.service().call(order().partition(3));
        assert_eq!(bed.ended(), 0, "not before the answer");
        // Not the engine's clock: a recoverer that declines says what time it is.
        thread::sleep(WAIT);
        bed.engine.resume();
        settle(delivery).unwrap_err();
        let span = bed.span();
        check(&span, began);
        assert_eq!(get(&span, "error.type").as_deref(), Some(name));
        let (code, message) = status(&span);
        assert_eq!(code, StatusCode::Error);
        assert!(message.contains(&persistence.to_string()), "{message}");
        let partition = get(&span, "messaging.destination.partition.id");
        assert_eq!(partition.as_deref(), Some("3"));
        assert_eq!(get(&span, "messaging.kafka.offset"), None);
        assert!(took(&span) >= WAIT, "{:?}", took(&span));
        is_prompt(&span);
    }
}

fn transient() -> Answer {
    Answer::fail(Failure::new(Code::TimedOut).transient(true))
}

#[test]
fn retried_and_delivered() {
    let bed = Bed::new();
    let began = SystemTime::now();
    bed.engine.script(transient());
    bed.engine.script(transient());
    bed.engine
        .script(Answer::deliver().after(Duration::from_secs(60)));
    let delivery = bed.service().call(order());
    // The third attempt waits for its acknowledgement.
    assert!(support::eventually(|| bed.engine.calls() == 3));
    assert_eq!(bed.ended(), 0, "attempts end no span");
    bed.engine.advance(Duration::from_secs(60));
    settle(delivery).unwrap();
    let span = bed.span();
    check(&span, began);
    assert_eq!(status(&span), (StatusCode::Unset, ""));
    assert_eq!(get(&span, "error.type"), None);
    assert_eq!(get(&span, "franking.attempts").as_deref(), Some("3"));
    assert!(
        (60..70).contains(&took(&span).as_secs()),
        "{:?}",
        took(&span)
    );
    println!(
        "retried: 1 span of {:.3} s for 3 attempts",
        took(&span).as_secs_f64()
    );
}

#[test]
fn retried_and_failed() {
    let bed = Bed::new();
    let began = SystemTime::now();
    bed.engine.otherwise(transient());
    let delivery = bed.service().call(order());
    let error = settle(delivery).unwrap_err();
    let span = bed.span();
    check(&span, began);
    assert_eq!(status(&span).0, StatusCode::Error);
    assert_eq!(get(&span, "error.type").as_deref(), Some("TIMED_OUT"));
    let attempts = get(&span, "franking.attempts").unwrap();
    assert_eq!(attempts, error.attempts().to_string());
    assert!(error.attempts() > 1);
}

#[test]
fn dropped_by_a_layer() {
    /// Loses every record, after a while.
    #[derive(Clone)]
    struct Lossy<S>(S);
    impl<S: Service<Record>> Service<Record> for Lossy<S> {
        type Response = S::Response;
        type Error = franking::BoxError;
        type Future = std::future::Ready<Result<S::Response, Self::Error>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, record: Record) -> Self::Future {
            thread::sleep(WAIT);
            drop(record);
            std::future::ready(Err("lost".into()))
        }
    }
    let bed = Bed::new();
    let began = SystemTime::now();
    let lossy = tower(tower_layer::layer_fn(Lossy)).layer(bed.engine.clone());
    let mut stack = InterceptorLayer::new(Trace::new(bed.provider.tracer("test"))).layer(lossy);
    let error = send(&mut stack, order()).unwrap_err();
    assert_eq!(*error.code(), Code::Dropped);
    assert_eq!(bed.engine.calls(), 0);
    let span = bed.span();
    check(&span, began);
    assert_eq!(status(&span).0, StatusCode::Error);
    assert_eq!(get(&span, "error.type").as_deref(), Some("DROPPED"));
    let took = took(&span);
    assert!(took >= WAIT, "{took:?}");
    is_prompt(&span);
}

#[test]
fn lost_with_its_engine() {
    let bed = Bed::new();
    let began = SystemTime::now();
    bed.engine.stall();
    let delivery = bed.service().call(order());
    assert_eq!(bed.ended(), 0);
    bed.engine.kill(Failure::new(Code::Fatal));
    bed.engine.close();
    settle(delivery).unwrap_err();
    let span = bed.span();
    check(&span, began);
    assert_eq!(status(&span).0, StatusCode::Error);
    assert!(get(&span, "error.type").is_some());
    is_prompt(&span);
}

#[test]
fn a_refusal_further_in_ends_the_span_too() {
    struct Refuse;
    impl Interceptor for Refuse {
        type Token = ();
        fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
            Err(Failure::new(Code::Refused).detail("the topic is read-only"))
        }
        fn on_outcome(&self, (): (), _: &Outcome<'_>) {
            unreachable!("it refused");
        }
    }
    let bed = Bed::new();
    let began = SystemTime::now();
    let inner = InterceptorLayer::new(Refuse).layer(bed.engine.clone());
    send(&mut bed.stack().layer(inner), order()).unwrap_err();
    let span = bed.span();
    check(&span, began);
    let (code, message) = status(&span);
    assert_eq!(code, StatusCode::Error);
    assert!(message.contains("the topic is read-only"), "{message}");
    is_prompt(&span);
}

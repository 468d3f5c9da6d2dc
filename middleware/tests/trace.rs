//! What a user of the trace layer sees: the headers of the record, and the spans.

#![cfg(feature = "trace")]

use std::time::Duration;

use franking_core::{
    Code, Failure, InterceptorLayer, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::trace::Trace;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer, TracerProvider,
    },
};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider,
    ShouldSample, SpanData,
};
use tower_layer::Layer;
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Bed {
    provider: SdkTracerProvider,
    spans: InMemorySpanExporter,
    engine: Scripted,
}

impl Bed {
    fn new(sampler: Sampler) -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_simple_exporter(spans.clone())
            .build();
        Self {
            provider,
            spans,
            engine: Scripted::new(),
        }
    }

    fn tracer(&self) -> SdkTracer {
        self.provider.tracer("test")
    }

    fn stack(&self) -> impl franking_core::Produce + use<> {
        InterceptorLayer::new(Trace::new(self.tracer())).layer(self.engine.clone())
    }

    /// The finished span of a send.
    fn span(&self) -> SpanData {
        let spans = self.spans.get_finished_spans().unwrap();
        let mut sends = spans.into_iter().filter(|span| span.name == "send orders");
        let span = sends.next().expect("a span");
        assert!(sends.next().is_none(), "one send, one span");
        span
    }

    /// The values of this header on the only stored record.
    fn headers(&self, name: &str) -> Vec<String> {
        let stored = self.engine.stored();
        assert_eq!(stored.len(), 1);
        let headers = stored[0].parts.headers.iter();
        headers
            .filter(|(candidate, _)| *candidate == name)
            .map(|(_, value)| String::from_utf8(value.unwrap().to_vec()).unwrap())
            .collect()
    }
}

fn traceparent(context: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    )
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut found = span.attributes.iter().filter(|a| a.key.as_str() == key);
    let value = found.next().map(|attribute| &attribute.value);
    assert!(found.next().is_none(), "{key} twice");
    value
}

fn order() -> Record {
    Record::new("orders").key("k-1").value("12345")
}

#[test]
fn the_span_says_what_was_sent_where() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let trace = Trace::new(bed.tracer())
        .client_id("shop-1")
        .server("kafka-1", 9092);
    let mut stack = InterceptorLayer::new(trace).layer(bed.engine.clone());
    send(&mut stack, order().partition(3)).unwrap();

    let span = bed.span();
    assert_eq!(span.span_kind, SpanKind::Producer);
    assert_eq!(span.status, Status::Unset);
    let expected = [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "orders"),
        ("messaging.destination.partition.id", "3"),
        ("messaging.client.id", "shop-1"),
        ("server.address", "kafka-1"),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(&span, key), Some(&Value::from(value)), "{key}");
    }
    for (key, value) in [
        ("messaging.kafka.offset", 0),
        ("messaging.message.body.size", 5),
        ("server.port", 9092),
    ] {
        assert_eq!(attribute(&span, key), Some(&Value::I64(value)), "{key}");
    }
    assert_eq!(attribute(&span, "messaging.kafka.message.tombstone"), None);
    for absent in [
        "error.type",
        "messaging.kafka.message.key",
        "franking.attempts",
    ] {
        assert_eq!(attribute(&span, absent), None, "{absent}");
    }
    assert!(!format!("{span:?}").contains("12345"), "no value");
    assert_eq!(
        bed.headers("traceparent"),
        [traceparent(&span.span_context)]
    );
    assert!(bed.headers("tracestate").is_empty());
}

/// The crate's constants are of 1.42; 1.44 changed none of these.
#[test]
fn the_names_are_the_conventions() {
    use opentelemetry_semantic_conventions::attribute::*;
    let conventions = [
        ERROR_TYPE,
        MESSAGING_CLIENT_ID,
        MESSAGING_DESTINATION_NAME,
        MESSAGING_DESTINATION_PARTITION_ID,
        MESSAGING_KAFKA_MESSAGE_KEY,
        MESSAGING_KAFKA_MESSAGE_TOMBSTONE,
        MESSAGING_KAFKA_OFFSET,
        MESSAGING_MESSAGE_BODY_SIZE,
        MESSAGING_OPERATION_NAME,
        MESSAGING_OPERATION_TYPE,
        MESSAGING_SYSTEM,
        SERVER_ADDRESS,
        SERVER_PORT,
    ];
    let bed = Bed::new(Sampler::AlwaysOn);
    let trace = Trace::new(bed.tracer())
        .client_id("c")
        .server("kafka-1", 9092)
        .with_keys();
    let mut stack = InterceptorLayer::new(trace).layer(bed.engine.clone());
    send(&mut stack, order()).unwrap();
    bed.engine
        .script(Answer::fail(Failure::new(Code::TimedOut)));
    send(&mut stack, Record::new("orders").key("k")).unwrap_err();
    let spans = bed.spans.get_finished_spans().unwrap();
    let mut used: Vec<_> = spans
        .iter()
        .flat_map(|span| &span.attributes)
        .map(|attribute| attribute.key.as_str())
        .collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, conventions);
}

#[test]
fn a_tombstone_says_so() {
    let bed = Bed::new(Sampler::AlwaysOn);
    bed.engine.script(Answer::deliver_without_offset());
    send(
        &mut bed.stack(),
        Record::new("orders").key(&b"\xff\x00"[..]),
    )
    .unwrap();
    let span = bed.span();
    let tombstone = attribute(&span, "messaging.kafka.message.tombstone");
    assert_eq!(tombstone, Some(&Value::Bool(true)));
    for absent in [
        "messaging.kafka.message.key",
        "messaging.message.body.size",
        "messaging.kafka.offset",
    ] {
        assert_eq!(attribute(&span, absent), None, "{absent}");
    }
}

#[test]
fn keys_are_there_on_request() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let trace = Trace::new(bed.tracer()).with_keys();
    let mut stack = InterceptorLayer::new(trace).layer(bed.engine.clone());
    send(&mut stack, order()).unwrap();
    let span = bed.span();
    let key = attribute(&span, "messaging.kafka.message.key");
    assert_eq!(key, Some(&Value::from("k-1")));
    bed.spans.reset();
    send(&mut stack, Record::new("orders").key(&b"\xff"[..])).unwrap();
    assert_eq!(attribute(&bed.span(), "messaging.kafka.message.key"), None);
}

#[test]
fn a_send_within_a_tracing_span_is_its_child() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let layer = tracing_opentelemetry::layer().with_tracer(bed.tracer());
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("request").in_scope(|| {
            send(&mut bed.stack(), order()).unwrap();
        });
    });
    let spans = bed.spans.get_finished_spans().unwrap();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    let span = bed.span();
    assert_eq!(
        span.span_context.trace_id(),
        request.span_context.trace_id()
    );
    assert_eq!(span.parent_span_id, request.span_context.span_id());
    assert_eq!(
        bed.headers("traceparent"),
        [traceparent(&span.span_context)]
    );
}

/// As a consumer that spans its work with `tracing`.
#[test]
fn a_record_that_goes_on_within_a_tracing_span_is_its_child() {
    use franking_middleware::provenance::Provenance;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let bed = Bed::new(Sampler::AlwaysOn);
    let layer = tracing_opentelemetry::layer().with_tracer(bed.tracer());
    let subscriber = tracing_subscriber::registry().with(layer);
    let headers = [("traceparent", Some(GIVEN.as_bytes()))];
    let consumed = franking_core::ConsumerRecord::new("in", 0, 1, headers);
    tracing::subscriber::with_default(subscriber, || {
        let process = tracing::info_span!("process");
        let sender = Provenance::read(headers).trace.unwrap();
        process.set_parent(sender.context()).unwrap();
        process.in_scope(|| {
            let record = Record::new("orders").forward(consumed);
            send(&mut bed.stack(), record).unwrap();
        });
    });
    let spans = bed.spans.get_finished_spans().unwrap();
    let process = spans.iter().find(|span| span.name == "process").unwrap();
    assert_eq!(process.parent_span_id.to_string(), "b7ad6b7169203331");
    let span = bed.span();
    assert_eq!(span.parent_span_id, process.span_context.span_id());
    assert_eq!(
        bed.headers("traceparent"),
        [traceparent(&span.span_context)]
    );
}

#[test]
fn a_send_within_an_opentelemetry_span_is_its_child() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let parent = bed.tracer().start("consume");
    let context = Context::current_with_span(parent);
    {
        let _attached = context.clone().attach();
        send(&mut bed.stack(), order()).unwrap();
    }
    let parent = context.span().span_context().clone();
    assert_eq!(bed.span().parent_span_id, parent.span_id());
    assert_eq!(bed.span().span_context.trace_id(), parent.trace_id());
}

#[test]
fn the_applications_context_is_kept_and_linked() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let mut record = order();
    record.headers.append("traceparent", GIVEN).unwrap();
    record.headers.append("tracestate", "vendor=1").unwrap();
    let before = record.headers.clone();
    send(&mut bed.stack(), record).unwrap();

    assert_eq!(
        bed.engine.stored()[0].parts.headers,
        before,
        "as it was, byte by byte"
    );
    let span = bed.span();
    assert_eq!(span.span_kind, SpanKind::Client);
    let [link] = &*span.links.links else {
        panic!("one link: {:?}", span.links)
    };
    assert_eq!(traceparent(&link.span_context), GIVEN);
    assert!(link.span_context.is_remote());
    assert_eq!(link.span_context.trace_state().header(), "vendor=1");
    assert_ne!(
        span.span_context.trace_id(),
        link.span_context.trace_id(),
        "a link is no parent"
    );
}

#[test]
fn of_two_contexts_the_last_one_is_left() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let mut record = order();
    let first = GIVEN.replace("0af7", "1af7");
    record.headers.append("traceparent", first).unwrap();
    record.headers.append("tracestate", "a=1").unwrap();
    record.headers.append("traceparent", GIVEN).unwrap();
    record.headers.append("tracestate", "b=2").unwrap();
    send(&mut bed.stack(), record).unwrap();
    assert_eq!(bed.headers("traceparent"), [GIVEN]);
    assert_eq!(bed.headers("tracestate"), ["b=2"]);
    let link = &bed.span().links.links[0];
    assert_eq!(traceparent(&link.span_context), GIVEN);
    assert_eq!(link.span_context.trace_state().header(), "b=2");
}

#[test]
fn an_invalid_context_is_replaced_with_its_state() {
    for invalid in ["", "rubbish", &GIVEN[..54], &GIVEN.replace("00-", "ff-")] {
        let bed = Bed::new(Sampler::AlwaysOn);
        let mut record = order();
        record.headers.append("traceparent", GIVEN).unwrap();
        record.headers.append("tracestate", "stale=1").unwrap();
        record.headers.append("traceparent", invalid).unwrap();
        record.headers.append("mine", "stays").unwrap();
        send(&mut bed.stack(), record).unwrap();
        let span = bed.span();
        assert_eq!(
            bed.headers("traceparent"),
            [traceparent(&span.span_context)]
        );
        assert!(bed.headers("tracestate").is_empty());
        assert_eq!(bed.headers("mine"), ["stays"]);
        assert_eq!(span.span_kind, SpanKind::Producer);
        assert!(span.links.links.is_empty());
    }
}

#[test]
fn the_parents_state_goes_on() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let state = TraceState::from_key_value([("a", "1"), ("b", "2")]).unwrap();
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        state,
    );
    let mut record = order();
    record.headers.append("tracestate", "stale=1").unwrap();
    {
        let _attached = Context::new().with_remote_span_context(remote).attach();
        send(&mut bed.stack(), record).unwrap();
    }
    assert_eq!(bed.headers("tracestate"), ["a=1,b=2"]);
    assert_eq!(bed.span().parent_span_id, SpanId::from(8));
}

#[test]
fn unsampled_records_say_so() {
    let bed = Bed::new(Sampler::AlwaysOff);
    send(&mut bed.stack(), order()).unwrap();
    let [text] = &*bed.headers("traceparent") else {
        panic!("one header")
    };
    let (ids, flags) = text.rsplit_once('-').unwrap();
    assert_eq!(flags, "00");
    assert_eq!(ids.len(), 52);
    assert!(!ids.contains(&"0".repeat(16)), "{ids}");
    assert!(bed.spans.get_finished_spans().unwrap().is_empty());

    // As a child it stays in its trace.
    let bed = Bed::new(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::default(),
        true,
        TraceState::default(),
    );
    {
        let _attached = Context::new().with_remote_span_context(remote).attach();
        send(&mut bed.stack(), order()).unwrap();
    }
    let [text] = &*bed.headers("traceparent") else {
        panic!("one header")
    };
    assert!(text.starts_with(&format!("00-{:032x}-", 7)), "{text}");
    assert!(text.ends_with("-00"), "{text}");
}

#[test]
fn below_an_unsampled_span_its_context_goes_on() {
    let off = Bed::new(Sampler::AlwaysOff);
    let on = Bed::new(Sampler::AlwaysOn);
    let context = Context::current_with_span(off.tracer().start("request"));
    let parent = context.span().span_context().clone();
    let _attached = context.attach();

    send(&mut on.stack(), order()).unwrap();
    assert_eq!(on.headers("traceparent"), [traceparent(&parent)]);
    assert!(on.spans.get_finished_spans().unwrap().is_empty());

    // A sampler that wants the child gets it, if told so.
    let asking = Bed::new(Sampler::AlwaysOn);
    let trace = Trace::new(asking.tracer()).always_ask_sampler();
    let mut stack = InterceptorLayer::new(trace).layer(asking.engine.clone());
    send(&mut stack, order()).unwrap();
    assert_eq!(asking.span().parent_span_id, parent.span_id());

    // What the application put on the record stays here too.
    let kept = Bed::new(Sampler::AlwaysOn);
    let mut record = order();
    record.headers.append("traceparent", GIVEN).unwrap();
    send(&mut kept.stack(), record).unwrap();
    assert_eq!(kept.headers("traceparent"), [GIVEN]);
}

/// Has processors of this process see every span, and nobody else.
#[derive(Clone, Debug)]
struct RecordsOnly;

impl ShouldSample for RecordsOnly {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        SamplingResult {
            decision: SamplingDecision::RecordOnly,
            attributes: Vec::new(),
            trace_state: TraceState::default(),
        }
    }
}

#[test]
fn below_a_span_that_is_recorded_but_not_sampled_a_send_has_its_own() {
    let off = Bed::new(Sampler::AlwaysOff);
    let only = SdkTracerProvider::builder()
        .with_sampler(RecordsOnly)
        .build()
        .tracer("test");
    let quiet = Context::current_with_span(off.tracer().start("quiet"));
    let other = Context::current_with_span(off.tracer().start("quiet too"));
    let recorded = Context::current_with_span(only.start("recorded"));
    // The context that a record carries, if it is sent below this one.
    let mut stack = InterceptorLayer::new(Trace::new(only)).layer(off.engine.clone());
    let mut below = |context: &Context| {
        let _attached = context.clone().attach();
        send(&mut stack, order()).unwrap();
        let stored = off.engine.stored();
        let headers = &stored.last().unwrap().parts.headers;
        headers.get_str("traceparent").unwrap().to_owned()
    };
    let own = |context: &Context| traceparent(context.span().span_context());

    // In turns, since a thread remembers the last span that was quiet, and its header.
    for _ in 0..2 {
        for quiet in [&quiet, &quiet, &other] {
            assert_eq!(below(quiet), own(quiet));
        }
        let carried = below(&recorded);
        assert_ne!(carried, own(&recorded));
        assert_eq!(carried[..35], own(&recorded)[..35], "the same trace");
    }
    // What has ended does not record any more, and never will.
    recorded.span().end();
    for _ in 0..2 {
        assert_eq!(below(&recorded), own(&recorded));
    }
}

#[test]
fn without_a_context_the_headers_are_left_alone() {
    let bed = Bed::new(Sampler::AlwaysOn);
    let mut record = order();
    record.headers.append("traceparent", "rubbish").unwrap();
    {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        send(&mut bed.stack(), record).unwrap();
    }
    assert_eq!(bed.headers("traceparent"), ["rubbish"]);
    assert!(bed.spans.get_finished_spans().unwrap().is_empty());
}

#[test]
fn an_error_is_on_the_span_and_shows_no_payload() {
    let bed = Bed::new(Sampler::AlwaysOn);
    bed.engine.script(Answer::fail(Failure::new(Code::Broker {
        number: 19,
        name: "NOT_ENOUGH_REPLICAS".into(),
    })));
    let record = Record::new("orders").value("secret").partition(2);
    send(&mut bed.stack(), record).unwrap_err();
    let span = bed.span();
    assert_eq!(
        attribute(&span, "error.type"),
        Some(&Value::from("NOT_ENOUGH_REPLICAS"))
    );
    assert_eq!(
        attribute(&span, "messaging.destination.partition.id"),
        Some(&Value::from("2"))
    );
    let Status::Error { description } = &span.status else {
        panic!("{:?}", span.status)
    };
    assert!(description.contains("NOT_ENOUGH_REPLICAS (19)"));
    assert!(!format!("{span:?}").contains("secret"));
}

#[test]
fn a_resent_record_links_to_its_first_send() {
    let bed = Bed::new(Sampler::AlwaysOn);
    bed.engine
        .script(Answer::fail(Failure::new(Code::TimedOut)));
    let mut stack = bed.stack();
    let failed = send(&mut stack, order()).unwrap_err();
    let first = bed.span();
    bed.spans.reset();
    send(&mut stack, failed.into_record().unwrap()).unwrap();
    let second = bed.span();
    assert_eq!(
        bed.headers("traceparent"),
        [traceparent(&first.span_context)]
    );
    assert_eq!(
        second.links.links[0].span_context.span_id(),
        first.span_context.span_id()
    );
}

#[test]
fn the_span_ends_at_the_acknowledgement_though_nobody_waits() {
    let bed = Bed::new(Sampler::AlwaysOn);
    bed.engine
        .script(Answer::deliver().after(Duration::from_secs(3)));
    drop(bed.stack().call(order()));
    assert!(
        bed.spans.get_finished_spans().unwrap().is_empty(),
        "not before"
    );
    bed.engine.advance(Duration::from_secs(3));
    let span = bed.span();
    let took = span.end_time.duration_since(span.start_time).unwrap();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert_eq!(
        attribute(&span, "messaging.kafka.offset"),
        Some(&Value::I64(0))
    );
}

#[test]
fn a_record_that_never_reached_the_engine_ends_its_span() {
    let bed = Bed::new(Sampler::AlwaysOn);
    bed.engine.close();
    let failed = send(&mut bed.stack(), order());
    // Refused in poll_ready or in call: either way nothing is left open.
    failed.unwrap_err();
    let refused = bed.spans.get_finished_spans().unwrap();
    assert!(refused.len() <= 1);

    struct Never;
    impl franking_core::Interceptor for Never {
        type Token = ();
        fn on_send(&self, _: &mut franking_core::Parts) -> Result<(), Failure> {
            Err(Failure::new(Code::Refused))
        }
    }
    let bed = Bed::new(Sampler::AlwaysOn);
    let fused = (Trace::new(bed.tracer()), Never);
    let mut stack = InterceptorLayer::new(fused).layer(bed.engine.clone());
    send(&mut stack, order()).unwrap_err();
    let error = bed.span();
    assert_eq!(
        attribute(&error, "error.type"),
        Some(&Value::from("REFUSED"))
    );
}

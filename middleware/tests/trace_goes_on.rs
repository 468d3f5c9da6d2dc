//! The trace of records that go on, with W3C's headers and others, and what of baggage goes with them.
#![cfg(feature = "trace")]

use franking_core::{
    Code, ConsumerRecord, Failure, InterceptorLayer, Parts, Record,
    testing::{Answer, Scripted, send},
};
use franking_middleware::trace::{HeaderExtractor, Trace};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    propagation::TextMapPropagator,
    trace::{
        SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider, noop::NoopTracerProvider,
    },
};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracer, SdkTracerProvider, SpanData,
};
use tower_layer::Layer;

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/b3.rs"]
mod b3;

const CONSUMED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

struct Bed {
    provider: SdkTracerProvider,
    spans: InMemorySpanExporter,
}

impl Bed {
    fn new() -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_simple_exporter(spans.clone())
            .build();
        Self { provider, spans }
    }

    fn tracer(&self) -> SdkTracer {
        self.provider.tracer("test")
    }

    /// What is stored when this record is sent, and its span.
    fn send(&self, record: Record) -> (Parts, SpanData) {
        let parts = sent(Trace::new(self.tracer()), record);
        let spans = self.spans.get_finished_spans().unwrap();
        let span = spans.into_iter().find(|span| span.name == "send out");
        (parts, span.expect("a span"))
    }
}

fn sent<T>(trace: Trace<T>, record: Record) -> Parts
where
    T: Tracer<Span: Send + Sync + 'static> + Send + Sync + 'static,
{
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(trace).layer(engine.clone());
    send(&mut stack, record).unwrap();
    engine.stored()[0].parts.clone()
}

type Pairs<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

fn consumed<'a>(headers: &[(&'a str, &'a str)]) -> ConsumerRecord<'a, Pairs<'a>> {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, Some(value.as_bytes())));
    ConsumerRecord::new("in", 0, 1, headers.collect())
}

fn forwarded(headers: &[(&str, &str)]) -> Record {
    Record::new("out").forward(consumed(headers))
}

fn derived(headers: &[(&str, &str)]) -> Record {
    Record::new("out").derive(consumed(headers))
}

fn traceparent(context: &SpanContext) -> String {
    let flags = context.trace_flags().to_u8();
    format!(
        "00-{}-{}-{flags:02x}",
        context.trace_id(),
        context.span_id()
    )
}

fn stamped(parts: &Parts) -> &str {
    let all = parts
        .headers
        .iter()
        .filter(|(name, _)| *name == "traceparent");
    assert_eq!(all.count(), 1);
    parts.headers.get_str("traceparent").unwrap()
}

#[test]
fn without_a_current_span_it_is_a_child_of_the_consumed_context() {
    let headers = [("traceparent", CONSUMED), ("tracestate", "vendor=1")];
    for record in [forwarded(&headers), derived(&headers)] {
        let (parts, span) = Bed::new().send(record);
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        assert_eq!(span.parent_span_id.to_string(), SPAN);
        assert_eq!(span.span_kind, SpanKind::Producer);
        assert!(span.links.links.is_empty());
        assert_eq!(stamped(&parts), traceparent(&span.span_context));
        assert_eq!(parts.headers.get_str("tracestate"), Some("vendor=1"));
    }
}

/// As a consumer that spans its work with the consumed context as its parent.
#[test]
fn within_its_own_trace_it_is_a_child_of_the_current_span() {
    for make in [forwarded, derived] {
        let bed = Bed::new();
        let remote = parse(CONSUMED);
        let parent = Context::new().with_remote_span_context(remote);
        let work = bed.tracer().start_with_context("process in", &parent);
        let context = parent.with_span(work);
        let _attached = context.clone().attach();
        let (parts, span) = bed.send(make(&[("traceparent", CONSUMED)]));
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        let work = context.span().span_context().span_id();
        assert_eq!(span.parent_span_id, work);
        assert!(span.links.links.is_empty());
        assert_eq!(stamped(&parts), traceparent(&span.span_context));
    }
}

fn parse(text: &str) -> SpanContext {
    let headers = [("traceparent", Some(text.as_bytes()))];
    let propagator = opentelemetry_sdk::propagation::TraceContextPropagator::new();
    let context = propagator.extract(&HeaderExtractor::new(headers));
    context.span().span_context().clone()
}

#[test]
fn within_another_trace_one_is_the_parent_and_the_other_a_link() {
    for (make, continues) in [(forwarded as fn(&[_]) -> Record, true), (derived, false)] {
        let bed = Bed::new();
        let context = Context::new().with_span(bed.tracer().start("loop"));
        let here = context.span().span_context().clone();
        let _attached = context.attach();
        let (parts, span) = bed.send(make(&[("traceparent", CONSUMED)]));
        let [link] = &*span.links.links else {
            panic!("{:?}", span.links)
        };
        let (parent, linked) = if continues {
            (parse(CONSUMED), here)
        } else {
            (here, parse(CONSUMED))
        };
        assert_eq!(span.parent_span_id, parent.span_id());
        assert_eq!(span.span_context.trace_id(), parent.trace_id());
        assert_eq!(link.span_context.span_id(), linked.span_id());
        assert_eq!(stamped(&parts), traceparent(&span.span_context));
    }
}

#[test]
fn a_context_that_the_application_put_on_a_derived_record_is_kept() {
    let own = CONSUMED.replace("b7ad", "c7ad");
    let mut record = derived(&[("traceparent", CONSUMED)]);
    record.headers.append("traceparent", &own).unwrap();
    let (parts, span) = Bed::new().send(record);
    assert_eq!(stamped(&parts), own);
    assert_eq!(traceparent(&span.links.links[0].span_context), own);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);
}

#[test]
fn a_forwarded_record_without_a_context_that_can_be_read_gets_one() {
    let headers = [("traceparent", "rubbish"), ("tracestate", "stale=1")];
    let (parts, span) = Bed::new().send(forwarded(&headers));
    assert_eq!(stamped(&parts), traceparent(&span.span_context));
    assert_eq!(parts.headers.get("tracestate"), None);
    assert_eq!(span.parent_span_id, SpanId::INVALID);
}

#[test]
fn what_was_not_sampled_goes_on_unsampled() {
    let unsampled = CONSUMED.replace("-01", "-00");
    let bed = Bed::new();
    let record = forwarded(&[("traceparent", &unsampled)]);
    let parts = sent(Trace::new(bed.tracer()), record);
    let text = stamped(&parts);
    assert!(text.starts_with(&format!("00-{TRACE}-")), "{text}");
    assert!(text.ends_with("-00"), "{text}");
    assert!(bed.spans.get_finished_spans().unwrap().is_empty());
}

#[test]
fn without_an_sdk_the_consumed_context_goes_on() {
    let noop = NoopTracerProvider::new();
    for make in [forwarded, derived] {
        let trace = Trace::new(noop.tracer("test"));
        let parts = sent(
            trace,
            make(&[("traceparent", CONSUMED), ("tracestate", "a=1")]),
        );
        assert_eq!(stamped(&parts), CONSUMED);
        assert_eq!(parts.headers.get_str("tracestate"), Some("a=1"));
    }
    let trace = Trace::new(noop.tracer("test"));
    assert!(sent(trace, Record::new("out")).headers.is_empty());
}

#[test]
fn sent_again_it_still_continues_the_consumed_context() {
    let bed = Bed::new();
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(Trace::new(bed.tracer())).layer(engine.clone());
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let record = forwarded(&[("traceparent", CONSUMED)]);
    let failed = send(&mut stack, record).unwrap_err();
    bed.spans.reset();
    send(&mut stack, failed.into_record().unwrap()).unwrap();
    let span = bed.spans.get_finished_spans().unwrap().remove(0);
    assert_eq!(span.parent_span_id.to_string(), SPAN);
    let parts = &engine.stored()[0].parts;
    assert_eq!(stamped(parts), traceparent(&span.span_context));
}

// === other propagators ===

#[test]
fn b3_is_written_read_kept_and_continued() {
    let bed = Bed::new();
    let trace = || Trace::new(bed.tracer()).propagator(b3::B3);
    let span = || bed.spans.get_finished_spans().unwrap().remove(0);
    let b3 = |parts: &Parts| parts.headers.get_str("b3").unwrap().to_owned();

    let first = sent(trace(), Record::new("out"));
    let context = span().span_context;
    let (trace_id, span_id) = (context.trace_id(), context.span_id());
    assert_eq!(b3(&first), format!("{trace_id}-{span_id}-1"));
    assert_eq!(first.headers.len(), 1, "and nothing of W3C's");
    let read = b3::B3.extract(&HeaderExtractor::new(&first.headers));
    assert_eq!(read.span().span_context().span_id(), span_id);

    // The consumer passes it on; a W3C context of an earlier hop stays behind.
    bed.spans.reset();
    let pairs: Pairs<'_> = first
        .headers
        .iter()
        .chain([("traceparent", Some(CONSUMED.as_bytes()))])
        .collect();
    let record = Record::new("out").forward(ConsumerRecord::new("in", 0, 1, pairs));
    let second = sent(trace(), record);
    assert_eq!(span().parent_span_id, span_id);
    assert_eq!(span().span_context.trace_id(), trace_id);
    assert_eq!(
        b3(&second),
        format!("{trace_id}-{}-1", span().span_context.span_id())
    );
    assert_eq!(second.headers.len(), 1);

    // The application's own stays.
    bed.spans.reset();
    let own = format!("{TRACE}-{SPAN}-1");
    let mut record = Record::new("out");
    record.headers.append("b3", &own).unwrap();
    assert_eq!(b3(&sent(trace(), record)), own);
    assert_eq!(
        span().links.links[0].span_context.span_id().to_string(),
        SPAN
    );
    assert_eq!(span().span_kind, SpanKind::Client);
}

#[test]
fn the_example_shows_it() {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let mut example = std::process::Command::new(target.join("examples/b3"));
    let output = example.output().expect("cargo test builds the example");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (written, goes_on) = printed.trim_end().split_once('\n').unwrap();
    let header = written.strip_prefix("b3: ").unwrap();
    let trace = goes_on.strip_prefix("goes on in trace ").unwrap();
    assert!(header.starts_with(trace) && trace.len() == 32, "{printed}");
}

#[test]
fn a_propagator_sees_no_baggage() {
    let bed = Bed::new();
    let all = opentelemetry::propagation::TextMapCompositePropagator::new(vec![
        Box::new(opentelemetry_sdk::propagation::TraceContextPropagator::new()),
        Box::new(opentelemetry_sdk::propagation::BaggagePropagator::new()),
    ]);
    let _attached = Context::new()
        .with_baggage([KeyValue::new("user", "ann")])
        .attach();
    let parts = sent(Trace::new(bed.tracer()).propagator(all), Record::new("out"));
    assert!(parts.headers.get("traceparent").is_some());
    assert_eq!(parts.headers.get("baggage"), None);
}

// === baggage ===

fn baggage(parts: &Parts) -> Option<&str> {
    parts.headers.get_str("baggage")
}

#[test]
fn baggage_stays_here_unless_it_is_named() {
    let noop = NoopTracerProvider::new();
    let trace = || Trace::new(noop.tracer("test"));
    let _attached = Context::new()
        .with_baggage([
            KeyValue::new("tenant", "a, b=c;%é"),
            KeyValue::new("user", "ann"),
        ])
        .attach();
    assert_eq!(baggage(&sent(trace(), Record::new("out"))), None);
    let consumed = [("baggage", "tenant=old,plan=gold;secret=1,user=bob")];
    assert_eq!(
        baggage(&sent(trace(), forwarded(&consumed))),
        None,
        "left behind"
    );
    assert_eq!(baggage(&sent(trace(), derived(&consumed))), None);

    let trace = || trace().baggage(["tenant", "plan", "no token", "absent"]);
    let tenant = "tenant=a%2C%20b%3Dc%3B%25%C3%A9";
    assert_eq!(baggage(&sent(trace(), Record::new("out"))), Some(tenant));
    let both = format!("{tenant},plan=gold");
    assert_eq!(baggage(&sent(trace(), forwarded(&consumed))), Some(&*both));
    assert_eq!(baggage(&sent(trace(), derived(&consumed))), Some(&*both));
    let mut own = Record::new("out");
    own.headers.append("baggage", "mine=1").unwrap();
    assert_eq!(baggage(&sent(trace(), own)), Some("mine=1"));

    // What OpenTelemetry reads is what was put in.
    let parts = sent(trace(), Record::new("out"));
    let propagator = opentelemetry_sdk::propagation::BaggagePropagator::new();
    let read = propagator.extract(&HeaderExtractor::new(&parts.headers));
    let tenant = read.baggage().get("tenant").unwrap().to_string();
    assert_eq!(tenant, "a, b=c;%é");
}

#[test]
fn baggage_has_its_limits() {
    let noop = NoopTracerProvider::new();
    let keys: Vec<_> = (0..100).map(|n| format!("k{n}")).collect();
    let trace = || Trace::new(noop.tracer("test")).baggage(keys.clone());
    let count = |parts: &Parts| baggage(parts).map_or(0, |text| text.split(',').count());

    let short: Vec<_> = keys.iter().map(|key| format!("{key}=v")).collect();
    let text = short.join(",");
    let parts = sent(trace(), forwarded(&[("baggage", &text)]));
    assert_eq!(count(&parts), 64);
    // Each is nine times as long when it is encoded: OpenTelemetry's own limit does not see that.
    let long: Vec<_> = keys[..60]
        .iter()
        .map(|key| KeyValue::new(key.clone(), "é".repeat(60)))
        .collect();
    let attached = Context::new().with_baggage(long).attach();
    let parts = sent(trace(), Record::new("out"));
    drop(attached);
    let length = baggage(&parts).unwrap().len();
    assert!((7_800..=8_192).contains(&length), "{length}");
    // What is longer than there may be is not read.
    let text = format!("k1=v,other={}", "x".repeat(9_000));
    assert_eq!(
        baggage(&sent(trace(), forwarded(&[("baggage", &text)]))),
        None
    );
    for hostile in ["k1", "=", "k1=\"", "k1=é", ",,;;=", "k1 = v ;p"] {
        let parts = sent(trace(), forwarded(&[("baggage", hostile)]));
        let expected = (hostile == "k1 = v ;p").then_some("k1=v");
        assert_eq!(baggage(&parts), expected, "{hostile}");
    }
}

#[test]
fn a_current_remote_context_is_a_current_one() {
    let bed = Bed::new();
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let _attached = Context::new().with_remote_span_context(remote).attach();
    let (_, span) = bed.send(derived(&[("traceparent", CONSUMED)]));
    assert_eq!(span.parent_span_id, SpanId::from(8));
    assert_eq!(span.links.links[0].span_context.span_id().to_string(), SPAN);
}

#[test]
fn a_state_that_w3c_does_not_allow_goes_no_further() {
    for state in ["=@", "a=1,a=2", "a", "A=1", "a=1,=2"] {
        let headers = [("traceparent", CONSUMED), ("tracestate", state)];
        let headers = headers.map(|(name, value)| (name, Some(value.as_bytes())));
        let consumed = ConsumerRecord::new("in", 0, 1, headers);
        let (parts, _) = Bed::new().send(Record::new("out").forward(consumed));
        assert!(
            parts
                .headers
                .get_str("traceparent")
                .unwrap()
                .contains(TRACE)
        );
        assert_eq!(parts.headers.get("tracestate"), None, "{state}");
    }
}

/// W3C allows empty members, and does not count them.
#[test]
fn a_member_behind_empty_ones_goes_on_too() {
    let state = format!("a=1{}b=2, ,", ",".repeat(40));
    let headers = [("traceparent", CONSUMED), ("tracestate", &*state)];
    for record in [forwarded(&headers), derived(&headers)] {
        let (parts, _) = Bed::new().send(record);
        assert_eq!(parts.headers.get_str("tracestate"), Some("a=1,b=2"));
    }
}

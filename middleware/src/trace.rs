//! Carries the trace context in the record's headers, and spans the send from the call to the acknowledgement.
//!
//! # Example
//! ```
//! use franking_core::{InterceptorLayer, Record, testing::{Scripted, send}};
//! use franking_middleware::trace::Trace;
//! use opentelemetry::trace::TracerProvider;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use tower_layer::Layer;
//!
//! let spans = InMemorySpanExporter::default();
//! let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
//!
//! let engine = Scripted::new();
//! let trace = Trace::new(provider.tracer("shop")).server("kafka-1.shop", 9092);
//! let mut stack = InterceptorLayer::new(trace).layer(engine.clone());
//! send(&mut stack, Record::new("orders").key("k-1").value("{}")).unwrap();
//!
//! let span = &spans.get_finished_spans().unwrap()[0];
//! assert_eq!(span.name, "send orders");
//! let context = &span.span_context;
//! assert_eq!(
//!     engine.stored()[0].parts.headers.get_str("traceparent"),
//!     Some(&*format!("00-{}-{}-01", context.trace_id(), context.span_id())),
//! );
//! ```
//!
//! # What it does
//! The parent is OpenTelemetry's current [`Context`]: that of an OpenTelemetry span that is attached, or of a `tracing`
//! span that is entered where the `tracing-opentelemetry` layer is installed (from 0.32 on it attaches its contexts,
//! unless it is told not to). The span is named `send {topic}` and its kind is `PRODUCER`; its context goes into
//! `traceparent`, and into `tracestate` if it has a state. It ends at the acknowledgement, with partition and offset or
//! with the error, also if the caller dropped the future. So a span is as long as its send, batching included.
//!
//! Attributes are those of the messaging conventions. They are set once the span is known to record, so a **sampler**
//! sees the name, the kind, the parent and the links, but no attributes.
//!
//! # Special cases
//! - **The record has a valid `traceparent`**: the application gave it a context of its own. Both headers stay as they
//!   are, and the send's span, now of kind `CLIENT`, links to that context. A record that comes back in an error and is
//!   sent again is such a record: the new span links to the first one, whose context the consumer will see.
//! - **An invalid one** is replaced, and a `tracestate` that came with it goes too. If a name stands there twice, the
//!   last one counts, as for Java's `lastHeader`, and is the one that is left.
//! - **Not sampled**: the record carries a context all the same, with the flags `00`, so that those behind it know.
//!   Where the current span is one of this process and is neither sampled nor recorded, no span is started and the
//!   record carries the current span's own context, as OpenTelemetry's no-op tracer does it: the SDK's samplers would
//!   drop the child anyway ([`Trace::always_ask_sampler`] for others).
//! - **No SDK, or telemetry suppressed** (`Context::enter_telemetry_suppressed_scope`, which exporters use): there is no
//!   context to write, and the headers are not touched. Without an SDK but within a remote context, that context goes on.
//! - **Order of the layers**: outermost, so that the span covers what the others do, and the headers that it writes are
//!   there for them. Outside of a retry it sees one send, however many attempts; inside it would see each attempt, of
//!   which the second links to the first.
//!
//! # What it costs
//! Measured with `benches/stack.rs` and opentelemetry_sdk 0.33.1 on a shared machine, over a layer that does nothing:
//!
//! | | ns | allocations |
//! |---|---|---|
//! | not sampled, below an unsampled span | 58 | the hook |
//! | not sampled, a root | 106 | the hook |
//! | as a root, with a tracer of [`opentelemetry::global`], which boxes each span | 108 | 1 more |
//! | sampled, without a processor | 390 | 6 more |
//!
//! Of those, 26 ns are the hook, and 10 the 55 bytes, which are formatted on the stack. Of a root, the SDK
//! takes 50 whatever the sampler says: two reference counts up and down (28), ids, sampler, 288 bytes that move. So give
//! [`Trace::new`] the SDK's tracer where you have it. What a span processor does at the acknowledgement is done on the
//! engine's thread: use a batching one.
//!
//! # What it does not do
//! No baggage: it leaks data across trust borders. No span for what the engine does inside, nor for a batch.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
    time::{Instant, SystemTime},
};

use franking_core::{Failure, HeaderName, Headers, Interceptor, Outcome, Parts, Topic};
use opentelemetry::{
    Context, KeyValue, StringValue,
    global::{self, BoxedTracer},
    trace::{
        Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt,
        TraceFlags, TraceId, Tracer,
    },
};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
const PRINTABLE: &str = "W3C's names are printable";

/// The interceptor that traces sends: see the [module](self).
pub struct Trace<T> {
    tracer: T,
    /// The attributes that all spans have.
    common: Vec<KeyValue>,
    keys: bool,
    always_ask: bool,
    traceparent: HeaderName,
    tracestate: HeaderName,
}

impl<T> Trace<T> {
    /// Traces with this tracer. Its scope should name the application's library or `franking`.
    pub fn new(tracer: T) -> Self {
        let name = |name| HeaderName::new(name).expect(PRINTABLE);
        Self {
            tracer,
            common: vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.operation.type", "send"),
            ],
            keys: true,
            always_ask: false,
            traceparent: name(PARENT),
            tracestate: name(STATE),
        }
    }

    /// Puts the producer's `client.id` on the spans, as `messaging.client.id`.
    pub fn client_id(self, id: impl Into<StringValue>) -> Self {
        self.with("messaging.client.id", id.into())
    }

    /// Puts the cluster's address on the spans, as `server.address` and `server.port`: mostly the first bootstrap
    /// server.
    pub fn server(self, address: impl Into<StringValue>, port: u16) -> Self {
        self.with("server.address", address.into())
            .with("server.port", i64::from(port))
    }

    /// Keeps the records' keys out of the spans: they can be confidential. Otherwise a key that is text is in
    /// `messaging.kafka.message.key`.
    pub fn without_keys(mut self) -> Self {
        self.keys = false;
        self
    }

    /// Starts a span for each record also where the current span is one of this process that is neither sampled nor
    /// recorded: for samplers of your own that may sample the child of such a span. The SDK's never do.
    pub fn always_ask_sampler(mut self) -> Self {
        self.always_ask = true;
        self
    }

    fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.common.push(KeyValue::new(key, value));
        self
    }
}

impl Trace<BoxedTracer> {
    /// Traces with the global tracer provider as it is now: install yours before.
    pub fn global() -> Self {
        Self::new(global::tracer("franking"))
    }
}

impl<T> fmt::Debug for Trace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

impl<T> Interceptor for Trace<T>
where
    T: Tracer<Span: Send + Sync + 'static> + Send + Sync + 'static,
{
    type Token = Open<T::Span>;

    fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure> {
        let found = Found::in_headers(&mut record.headers);
        // Within the borrow of the current context: a clone of it would count references up and down.
        Context::map_current(|current| {
            if !self.always_ask && is_decided(current) {
                self.stamp(&mut record.headers, current.span().span_context(), &found);
                return Ok(Open(None));
            }
            let mut builder = SpanBuilder {
                name: span_name(&record.topic),
                span_kind: Some(SpanKind::Producer),
                ..SpanBuilder::default()
            };
            if let Found::Context(context) = &found {
                builder.span_kind = Some(SpanKind::Client);
                // At the start, though it allocates: samplers may look at links.
                builder.links = Some(vec![Link::with_context(context.clone())]);
            }
            let span = self.tracer.build_with_context(builder, current);
            self.stamp(&mut record.headers, span.span_context(), &found);
            Ok(Open(
                span.is_recording()
                    .then(|| Box::new(self.describe(span, record))),
            ))
        })
    }

    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        let Some(mut open) = token.0 else { return };
        let span = &mut open.span;
        let partition = match outcome.result {
            Ok(placed) => {
                if let Some(offset) = placed.offset {
                    span.set_attribute(KeyValue::new("messaging.kafka.offset", offset));
                }
                Some(placed.partition)
            }
            Err(failure) => {
                span.set_attribute(KeyValue::new(
                    "error.type",
                    failure.code().name().to_owned(),
                ));
                // It never shows a payload.
                span.set_status(Status::error(failure.to_string()));
                outcome.record.partition
            }
        };
        if let Some(partition) = partition {
            span.set_attribute(KeyValue::new(
                "messaging.destination.partition.id",
                partition.to_string(),
            ));
        }
        // The acknowledgement's time was read once for the batch.
        let took = outcome.at.saturating_duration_since(open.started);
        span.end_with_timestamp(open.started_wall + took);
    }
}

/// Whether this process decided already that nothing of this trace is recorded here.
fn is_decided(current: &Context) -> bool {
    let span = current.span();
    let context = span.span_context();
    context.is_valid()
        && !context.is_remote()
        && !context.is_sampled()
        && !current.is_telemetry_suppressed()
        // Unsampled and recorded all the same, for processors of this process. It takes a lock, so it comes last.
        && !span.is_recording()
}

impl<T> Trace<T> {
    fn stamp(&self, headers: &mut Headers, context: &SpanContext, found: &Found) {
        if matches!(found, Found::Context(_)) || !context.is_valid() {
            return;
        }
        headers.stamp(&self.traceparent, &encode(context));
        let state = context.trace_state();
        if state.into_iter().next().is_some() {
            headers.stamp(&self.tracestate, state.header().as_bytes());
        } else if matches!(found, Found::StrayState) {
            headers.remove(STATE);
        }
    }

    /// Gives a span that records its attributes.
    fn describe<S: Span>(&self, mut span: S, record: &Parts) -> Recording<S> {
        span.set_attributes(self.common.iter().cloned());
        let topic: StringValue = match span_name(&record.topic) {
            Cow::Borrowed(name) => name[PREFIX.len()..].into(),
            Cow::Owned(name) => name[PREFIX.len()..].to_owned().into(),
        };
        span.set_attribute(KeyValue::new("messaging.destination.name", topic));
        match &record.value {
            Some(value) => span.set_attribute(KeyValue::new(
                "messaging.message.body.size",
                value.len() as i64,
            )),
            None => span.set_attribute(KeyValue::new("messaging.kafka.message.tombstone", true)),
        }
        if let Some(key) = record.key.as_deref().filter(|_| self.keys)
            && let Ok(text) = std::str::from_utf8(key)
            && !text.chars().any(char::is_control)
        {
            span.set_attribute(KeyValue::new(
                "messaging.kafka.message.key",
                text.to_owned(),
            ));
        }
        Recording {
            span,
            started: Instant::now(),
            started_wall: SystemTime::now(),
        }
    }
}

/// The span of a send until its acknowledgement; nothing if it does not record.
pub struct Open<S>(Option<Box<Recording<S>>>);

struct Recording<S> {
    span: S,
    started: Instant,
    started_wall: SystemTime,
}

impl<S> fmt::Debug for Open<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.0.is_some()).finish()
    }
}

// === the context that the application put on the record ===

/// What a record's headers say before the layer writes its own.
enum Found {
    Nothing,
    /// A `tracestate` that belongs to no valid `traceparent`.
    StrayState,
    Context(SpanContext),
}

impl Found {
    /// Looks, and leaves one instance of each header of a valid context.
    fn in_headers(headers: &mut Headers) -> Self {
        if headers.is_empty() {
            return Self::Nothing;
        }
        let (mut parent, mut parents) = (None, 0);
        let (mut state, mut states) = (None, 0);
        for (name, value) in &*headers {
            match name {
                PARENT => (parent, parents) = (value, parents + 1),
                STATE => (state, states) = (value, states + 1),
                _ => {}
            }
        }
        let Some((trace_id, span_id, flags)) = parent.and_then(decode) else {
            return if states > 0 {
                Self::StrayState
            } else {
                Self::Nothing
            };
        };
        let context = SpanContext::new(
            trace_id,
            span_id,
            flags,
            true,
            // What does not parse is not ours to mend: the link just goes without it.
            state
                .and_then(|state| std::str::from_utf8(state).ok()?.parse().ok())
                .unwrap_or_default(),
        );
        let parent = parent.filter(|_| parents > 1).map(<[u8]>::to_vec);
        let state = state.filter(|_| states > 1).map(<[u8]>::to_vec);
        for (name, last) in [(PARENT, parent), (STATE, state)] {
            if last.is_some() {
                headers.set(name, last).expect(PRINTABLE);
            }
        }
        Self::Context(context)
    }
}

// === W3C's traceparent ===

/// `00-{trace id}-{span id}-{flags}`.
fn encode(context: &SpanContext) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    digits(&mut text[3..35], context.trace_id().to_bytes());
    digits(&mut text[36..52], context.span_id().to_bytes());
    // The other flags are not of this version, so they must be 0.
    text[54] += u8::from(context.is_sampled());
    text
}

fn digits<const N: usize>(text: &mut [u8], bytes: [u8; N]) {
    const PAIRS: [[u8; 2]; 256] = {
        let digits = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
            byte += 1;
        }
        pairs
    };
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// What a valid `traceparent` says. Of a version to come, the fields that are known are read, as W3C asks.
fn decode(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, more) = text.split_at_checked(55)?;
    if [known[2], known[35], known[52]] != [b'-'; 3] {
        return None;
    }
    let version = number(&known[..2])?;
    if version == 0xff
        || (version == 0 && !more.is_empty())
        || more.first().is_some_and(|b| *b != b'-')
    {
        return None;
    }
    let trace_id = TraceId::from(number(&known[3..35])?);
    let span_id = SpanId::from(number(&known[36..52])? as u64);
    let flags = TraceFlags::new(number(&known[53..])? as u8);
    (trace_id != TraceId::INVALID && span_id != SpanId::INVALID)
        .then_some((trace_id, span_id, flags))
}

/// Lower-case digits only, as W3C has it.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

// === the spans' names ===

const PREFIX: &str = "send ";

/// A span's name has to be `'static` or allocated: so the names of this many topics are made once and stay for the life
/// of the process. Those of further topics are made for each span.
const MOST_NAMES: usize = 10_000;

/// How many names a thread finds again without a lock.
const AT_HAND: usize = 16;

static NAMES: LazyLock<RwLock<HashMap<&'static str, &'static str>>> =
    LazyLock::new(RwLock::default);

thread_local! {
    static LAST: [Cell<&'static str>; AT_HAND] = const { [const { Cell::new(PREFIX) }; AT_HAND] };
}

/// `send {topic}`.
fn span_name(topic: &Topic) -> Cow<'static, str> {
    let bytes = topic.as_bytes();
    // Names of topics differ in their ends and lengths, if at all.
    let slot = bytes
        .last()
        .map_or(0, |last| usize::from(*last) ^ bytes.len())
        % AT_HAND;
    let last = LAST.try_with(|last| last[slot].get()).unwrap_or(PREFIX);
    if last.as_bytes()[PREFIX.len()..] == *bytes {
        return Cow::Borrowed(last);
    }
    let name = made_name(topic);
    if let Cow::Borrowed(name) = name {
        // Fails while the thread ends: then the next one looks again.
        let _ = LAST.try_with(|last| last[slot].set(name));
    }
    name
}

fn made_name(topic: &str) -> Cow<'static, str> {
    // The map is whole whenever the lock is free.
    if let Some(name) = NAMES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(topic)
    {
        return Cow::Borrowed(name);
    }
    let name = format!("{PREFIX}{topic}");
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(topic) {
        return Cow::Borrowed(name);
    }
    if names.len() >= MOST_NAMES {
        return Cow::Owned(name);
    }
    let name: &'static str = name.leak();
    names.insert(&name[PREFIX.len()..], name);
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TraceState;
    use proptest::prelude::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_what_w3c_calls_valid() {
        let valid = [
            VALID.to_owned(),
            VALID.replacen("00", "cc", 1),
            VALID.replacen("00", "01", 1) + "-what-comes-later",
        ];
        for text in valid {
            let (trace_id, span_id, flags) = decode(text.as_bytes()).expect(&text);
            assert_eq!(trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(span_id.to_string(), "b7ad6b7169203331");
            assert!(flags.is_sampled());
        }
        let invalid = [
            String::new(),
            VALID[..54].to_owned(),
            VALID.to_uppercase(),
            VALID.replace('-', "_"),
            VALID.replacen("00", "ff", 1),
            VALID.to_owned() + "-more",
            VALID.replacen("00", "01", 1) + "more",
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace("b7ad", "g7ad"),
        ];
        for text in invalid {
            assert!(decode(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_name_of_a_topic_is_made_once() {
        let first = span_name(&Topic::from("orders"));
        assert_eq!(first, "send orders");
        // Another slot's worth of topics in between.
        for n in 0..100 {
            assert_eq!(
                span_name(&Topic::from(format!("t{n}"))),
                format!("send t{n}")
            );
        }
        let again = span_name(&Topic::from(String::from("orders")));
        assert_eq!(first.as_ptr(), again.as_ptr());
        assert_eq!(span_name(&Topic::from("")), "send ");
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled in any::<bool>()) {
            let context = SpanContext::new(
                TraceId::from(trace),
                SpanId::from(span),
                TraceFlags::default().with_sampled(sampled),
                false,
                TraceState::default(),
            );
            let text = encode(&context);
            let expected = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
            let read = (context.trace_id(), context.span_id(), context.trace_flags());
            prop_assert_eq!(decode(&text), Some(read));
        }
    }
}

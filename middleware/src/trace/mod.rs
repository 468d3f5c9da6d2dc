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
//! Attributes are those of the messaging conventions 1.44, with the error's name as `error.type`, and how often the
//! record went to the engine, if more than once, as `franking.attempts`. They are set once the span is known to record,
//! so a **sampler** sees the name, the kind and the parent, but no attributes, and links only if told so
//! ([`Trace::always_ask_sampler`]).
//!
//! Keys ([unless asked for](Trace::with_keys)), values and headers are never in spans, and of topics the first 200 names
//! ([`Trace::topics`]): spans of others are called `send`, to `_other`.
//!
//! # Records that go on
//! A record that [forwards](franking_core::Record::forward) a consumed one, or is [derived](franking_core::Record::derive)
//! from it, continues its trace with a span of its own, whose context takes the place of the consumed one:
//!
//! | current span | forwarded | derived |
//! |---|---|---|
//! | none | child of the consumed context | the same |
//! | of the consumed record's trace | child of the current span | the same |
//! | of another trace | child of the consumed context, linked to the current span | child of the current span, linked to the consumed context |
//!
//! # Special cases
//! - **A new record has a valid `traceparent`**: the application gave it a context of its own. Both headers stay as they
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
//! Measured with `benches/stack` and opentelemetry_sdk 0.33.1 on a shared machine, over a layer that does nothing:
//!
//! | | ns | allocations |
//! |---|---|---|
//! | not sampled, below an unsampled span | 20 | none |
//! | not sampled, a root | 80 | none |
//! | as a root, with a tracer of [`opentelemetry::global`], which boxes each span | 94 | 1 |
//! | sampled, without a processor | 386 | 6 |
//!
//! Of those, 5 ns are for the token; the 55 bytes are written where they stay; below an unsampled span
//! their text is made once a thread, and copied. Of a root, the SDK
//! takes 50 whatever the sampler says: two reference counts up and down (28), ids, sampler, 288 bytes that move. So give
//! [`Trace::new`] the SDK's tracer where you have it. What a span processor does at the acknowledgement is done on the
//! engine's thread: use a batching one.
//!
//! # Other headers than W3C's
//! [`Trace::propagator`] takes any of OpenTelemetry's, `examples/b3.rs` shows B3. Consumers read with the same one, through
//! [`HeaderExtractor`]. It allocates as it does.
//!
//! # Baggage
//! It leaks data across trust borders, so it stays here, and that of a consumed record is left behind. Keys that
//! [`Trace::baggage`] names go out, without their properties: at most 64 in 8,192 bytes, what does not fit is left out.
//! A `baggage` header that the application put on a new record stays as it is.
//!
//! # What it does not do
//! No span for what the engine does inside, nor for a batch.

mod baggage;
mod carrier;
mod decided;
mod names;
mod span;
mod w3c;

use std::{borrow::Cow, fmt};

use franking_core::{Failure, History, Interceptor, Outcome, Parts};
use opentelemetry::{
    Context, InstrumentationScope, KeyValue, StringValue,
    global::{self, BoxedTracer},
    propagation::TextMapPropagator,
    trace::{Link, Span, SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer},
};

use self::{
    baggage::Baggage, carrier::Carrier, decided::if_decided, span::Recording, w3c::TraceParent,
};
pub use self::{
    carrier::{HeaderExtractor, HeaderInjector},
    span::Open,
};

/// How many topics are told apart, if nothing else is said.
const TOPICS: usize = 200;

/// The interceptor that traces sends: see the [module](self).
pub struct Trace<T> {
    tracer: T,
    /// The attributes that all spans have.
    common: Vec<KeyValue>,
    carrier: Carrier,
    baggage: Baggage,
    keys: bool,
    topics: usize,
    always_ask: bool,
}

impl<T> Trace<T> {
    /// Traces with this tracer. Its scope should name the application's library or `franking`.
    pub fn new(tracer: T) -> Self {
        Self {
            tracer,
            common: vec![
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.operation.type", "send"),
            ],
            carrier: Carrier::w3c(),
            baggage: Baggage::default(),
            keys: false,
            topics: TOPICS,
            always_ask: false,
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

    /// Puts the records' keys on the spans, as `messaging.kafka.message.key`, where they are text. They can be
    /// confidential.
    pub fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// How many topics' names may be in spans; 200 by default. Names are remembered for the life of the process, and
    /// counted for all its layers together.
    pub fn topics(mut self, most: usize) -> Self {
        self.topics = most;
        self
    }

    /// Reads and writes contexts with this propagator in place of W3C's headers: B3, Jaeger, or several at once
    /// (OpenTelemetry's `TextMapCompositePropagator`). Baggage is not its business: it sees the span's context only.
    pub fn propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        self.carrier = Carrier::Other(Box::new(propagator));
        self
    }

    /// Lets the baggage of these keys out, in the header `baggage`: that of the current context, and that of a consumed
    /// record that goes on. A key that is none as W3C has it (a token of HTTP) never goes out.
    pub fn baggage<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.baggage.allow(keys.into_iter().map(Into::into));
        self
    }

    /// For samplers of your own: starts a span for each record also where the current span is one of this process that
    /// is neither sampled nor recorded, and gives the sampler the links, which takes an allocation. The SDK's never
    /// sample such a child, and look at no links.
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
        let scope = InstrumentationScope::builder("franking")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
            .build();
        Self::new(global::tracer_with_scope(scope))
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
        // Within the borrow of the current context: a clone of it would count references up and down.
        Context::map_current(|current| {
            let given = self.given(record);
            let open = self.begin(record, current, &given);
            let history = record.history.as_deref();
            self.baggage.write(&mut record.headers, current, history);
            Ok(Open(open))
        })
    }

    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        if let Some(recording) = token.0 {
            recording.end(outcome);
        }
    }
}

/// The context that came with a record.
enum Given {
    Nothing,
    /// The application put it on a new record: it stays.
    Own(SpanContext),
    /// That of the consumed record: it goes on in a span of ours.
    Consumed(SpanContext),
}

impl<T: Tracer> Trace<T> {
    fn given(&self, record: &mut Parts) -> Given {
        let forwarded = record.history.as_deref().is_some_and(History::is_forwarded);
        if !forwarded && let Some(own) = self.carrier.settle(&mut record.headers) {
            return Given::Own(own);
        }
        let history = record.history.as_deref();
        match history.and_then(|history| self.carrier.read(history.headers())) {
            Some(consumed) => Given::Consumed(consumed),
            None => Given::Nothing,
        }
    }

    /// Starts the span, and writes its context unless the application's own stays. Gives the span if it records.
    fn begin(
        &self,
        record: &mut Parts,
        current: &Context,
        given: &Given,
    ) -> Option<Box<Recording<T::Span>>> {
        let active = current.span();
        let here = active.span_context();
        let forwarded = record.history.as_deref().is_some_and(History::is_forwarded);
        // A parent other than the current span, and a link: the table in the module's docs.
        let (parent, link) = match given {
            Given::Nothing => (None, None),
            Given::Own(own) => (None, Some(own)),
            Given::Consumed(consumed) if !here.is_valid() => (Some(consumed), None),
            Given::Consumed(consumed) if here.trace_id() == consumed.trace_id() => (None, None),
            Given::Consumed(consumed) if forwarded => (Some(consumed), Some(here)),
            Given::Consumed(consumed) => (None, Some(consumed)),
        };
        let write = |record: &mut Parts, context: &SpanContext, known: Option<&TraceParent>| {
            if context.is_valid() && !matches!(given, Given::Own(_)) {
                if forwarded {
                    self.carrier.leave_behind(&mut record.headers);
                }
                self.carrier.write(&mut record.headers, context, known);
            }
        };
        if parent.is_none()
            && !self.always_ask
            && if_decided(current, |known| write(record, here, Some(known))).is_some()
        {
            return None;
        }

        // With its state, which is read only where somebody sees it.
        let linked = |record: &Parts| match given {
            Given::Own(own) => {
                let whole = self.carrier.read(&record.headers);
                Some(whole.unwrap_or_else(|| own.clone()))
            }
            _ => link.cloned(),
        };
        let name = names::span_name(&record.topic, self.topics);
        let mut builder = SpanBuilder {
            name: Cow::Borrowed(name),
            span_kind: Some(match given {
                Given::Own(_) => SpanKind::Client,
                _ => SpanKind::Producer,
            }),
            ..SpanBuilder::default()
        };
        if self.always_ask {
            builder.links = linked(record).map(|context| vec![Link::with_context(context)]);
        }
        let mut span = match parent {
            None => self.tracer.build_with_context(builder, current),
            Some(parent) => {
                let parent = current.with_remote_span_context(parent.clone());
                self.tracer.build_with_context(builder, &parent)
            }
        };
        if !span.is_recording() {
            write(record, span.span_context(), None);
            return None;
        }
        if !self.always_ask
            && let Some(context) = linked(record)
        {
            span.add_link(context, Vec::new());
        }
        write(record, span.span_context(), None);
        let destination = match name {
            names::OTHER => "_other",
            _ => &*record.topic,
        };
        span.set_attribute(KeyValue::new(
            "messaging.destination.name",
            destination.to_owned(),
        ));
        let recording = Recording::begin(span, record, &self.common, self.keys);
        Some(Box::new(recording))
    }
}

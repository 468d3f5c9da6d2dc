//! B3 in place of W3C's headers: any propagator of OpenTelemetry's will do, here one that is written in a few lines.
//!
//! `cargo run -p franking-middleware --example b3`

use std::sync::LazyLock;

use franking_core::{
    InterceptorLayer, Record,
    testing::{Scripted, send},
};
use franking_middleware::trace::{HeaderExtractor, Trace};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TracerProvider},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower_layer::Layer;

/// Zipkin's single header: `b3: {trace id}-{span id}-{sampled}`.
#[derive(Debug)]
pub struct B3;

static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| ["b3".to_owned()]);

impl TextMapPropagator for B3 {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let context = span.span_context();
        let sampled = u8::from(context.is_sampled());
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        injector.set("b3", format!("{trace_id}-{span_id}-{sampled}"));
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        match extractor.get("b3").and_then(parse) {
            Some(remote) => context.with_remote_span_context(remote),
            None => context.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&*FIELDS)
    }
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let trace_id = TraceId::from_hex(parts.next()?).ok()?;
    let span_id = SpanId::from_hex(parts.next()?).ok()?;
    let sampled = matches!(parts.next(), Some("1" | "d"));
    let flags = TraceFlags::default().with_sampled(sampled);
    let context = SpanContext::new(trace_id, span_id, flags, true, Default::default());
    context.is_valid().then_some(context)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = SdkTracerProvider::builder().build();
    let trace = Trace::new(provider.tracer("shop")).propagator(B3);
    let engine = Scripted::new();
    let mut stack = InterceptorLayer::new(trace).layer(engine.clone());
    send(&mut stack, Record::new("orders").value("{}"))?;

    // The consumer reads with the same propagator, whatever its client is.
    let stored = engine.stored();
    let headers = &stored[0].parts.headers;
    let context = B3.extract(&HeaderExtractor::new(headers));
    println!("b3: {}", headers.get_str("b3").unwrap_or("nothing"));
    println!(
        "goes on in trace {}",
        context.span().span_context().trace_id()
    );
    Ok(())
}

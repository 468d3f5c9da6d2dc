//! Of topics without end, few names are in spans. A process of its own: the names are the process's.
#![cfg(feature = "trace")]

use franking_core::{
    InterceptorLayer, Record,
    testing::{Scripted, send},
};
use franking_middleware::trace::Trace;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tower_layer::Layer;

#[test]
fn two_hundred_topics_have_names() {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let stack = |trace: Trace<_>| InterceptorLayer::new(trace).layer(Scripted::new());
    let trace = || Trace::new(provider.tracer("test"));
    let mut few = stack(trace());
    for n in 0..300 {
        let reply = format!("reply-{n}");
        send(&mut few, Record::new(reply)).unwrap();
    }
    let all = spans.get_finished_spans().unwrap();
    assert_eq!(all.len(), 300);
    let text = |n: usize| format!("{:?}", all[n]);
    let named = all
        .iter()
        .filter(|span| span.name.starts_with("send reply-"));
    assert_eq!(named.count(), 200);
    assert!(text(199).contains("reply-199"));
    assert_eq!(all[200].name, "send");
    assert!(text(200).contains("_other") && !text(200).contains("reply-200"));

    spans.reset();
    let mut more = stack(trace().topics(1_000));
    send(&mut more, Record::new("reply-250")).unwrap();
    assert_eq!(
        spans.get_finished_spans().unwrap()[0].name,
        "send reply-250"
    );
}

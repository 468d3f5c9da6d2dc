//! 20 lines that name no layer: one of them puts the whole stack on, and whoever consumes the records goes on in their
//! trace.
//!
//! `scripts/kafka start`; a file `producer.properties` with `bootstrap.servers`, `key.serializer=string` and
//! `value.serializer=string`; an OTLP collector at `http://localhost:4318`; then
//! `OTEL_SERVICE_NAME=greeter cargo run --example continued_trace`

use franking::{DefaultStack, Producer, ProducerRecord, config::Properties};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let spans = SdkTracerProvider::builder().with_batch_exporter(exporter);
    let spans = spans.build();
    opentelemetry::global::set_tracer_provider(spans.clone());
    let settings = std::fs::read_to_string("producer.properties")?;
    let producer = Producer::<String, String>::builder()
        .properties(Properties::parse(&settings)?)
        .layer(DefaultStack::from_env()?)
        .build()?;
    for name in ["Ann", "Bob", "Cid"] {
        let greeting = ProducerRecord::new("greetings.traced");
        producer.send(greeting.value(name.into())).await?;
    }
    Ok(spans.shutdown()?)
}

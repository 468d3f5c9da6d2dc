//! Spans and metrics to an OTLP collector, and the same metrics to Prometheus, which scrapes them here.
//!
//! `scripts/kafka start`, then `OTEL_SERVICE_NAME=kettle cargo run --example telemetry -- BOOTSTRAP`. The collector is at
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, or `http://localhost:4318`. It sends until its input ends (Ctrl-D).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use franking::{DefaultStack, Producer, ProducerRecord, middleware::origin::Origin};
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::SdkTracerProvider,
};
use prometheus::{Registry, TextEncoder};

type Error = Box<dyn std::error::Error>;

/// Two readers of the same instruments.
fn meters(registry: &Registry) -> Result<SdkMeterProvider, Error> {
    let otlp = MetricExporter::builder().with_http().build()?;
    let prometheus = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .build()?;
    Ok(SdkMeterProvider::builder()
        .with_reader(
            PeriodicReader::builder(otlp)
                .with_interval(Duration::from_secs(1))
                .build(),
        )
        .with_reader(prometheus)
        .build())
}

/// Answers scrapes, one after the other; a service has its own HTTP server for that.
fn serve(registry: Registry) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("metrics: http://{}/metrics", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let asked = BufReader::new(&stream).lines().map_while(Result::ok);
            // Up to the empty line.
            asked.take_while(|line| !line.is_empty()).for_each(drop);
            let text = TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap_or_default();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n\r\n";
            // Who hung up gets nothing.
            let _ = (&stream).write_all(format!("{head}{text}").as_bytes());
        }
    });
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    // Before the producer, which takes what is installed.
    let spans = SdkTracerProvider::builder()
        .with_batch_exporter(SpanExporter::builder().with_http().build()?)
        .build();
    global::set_tracer_provider(spans.clone());
    let registry = Registry::new();
    let meters = meters(&registry)?;
    global::set_meter_provider(meters.clone());
    serve(registry)?;

    let producer = Producer::builder()
        .property("bootstrap.servers", &bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "f64")
        // For the fill of batches and the time in the queue.
        .property("statistics.interval.ms", "500")
        .layer(DefaultStack::new(Origin::from_env()?))
        .build()?;
    let mut input = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut every = tokio::time::interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            _ = &mut input => break,
            _ = every.tick() => {
                let record = ProducerRecord::new("kettle.temperature").key("kettle-1".to_owned()).value(97.5);
                producer.send_and_forget(record).await?;
            }
        }
    }

    println!("{}", producer.close(Duration::from_secs(10)).await);
    spans.shutdown()?;
    meters.shutdown()?;
    Ok(())
}

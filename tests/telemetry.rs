//! Telemetry end to end, against a real Kafka: what a collector decodes from OTLP, what Prometheus scrapes, and a consumer
//! that goes on in the trace. The programs are examples, in processes of their own.
//!
//! `cargo test` builds them with the tests; for this test alone, `cargo build --examples` first.

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use franking::DefaultStack;
use franking::provenance::Provenance;
use opentelemetry::trace::{Span as _, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use support::otlp::{Collector, attribute, hex};
use support::{eventually, kafka, read, topic_name};

fn example(name: &str, collector: &Collector) -> Command {
    let test = std::env::current_exe().unwrap();
    let target: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().into();
    let mut command = Command::new(target.join("examples").join(name));
    command
        .arg(kafka())
        .env("OTEL_SERVICE_NAME", name)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("OTEL_RESOURCE_ATTRIBUTES");
    command
}

/// A program of 20 lines that names no layer.
#[test]
fn a_consumer_continues_the_trace_of_a_program_that_names_no_layer() {
    let source = include_str!("../examples/continued_trace.rs");
    let lines = source.lines();
    let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with("//"));
    assert_eq!(lines.count(), 20);
    for described in DefaultStack::describe() {
        let layer = described.layer;
        assert!(!source.contains(&format!("middleware::{layer}")), "{layer}");
    }

    let collector = Collector::start();
    let folder = std::env::temp_dir().join(topic_name("continued_trace"));
    std::fs::create_dir(&folder).unwrap();
    let settings = format!(
        "bootstrap.servers={}\nkey.serializer=string\nvalue.serializer=string\n",
        kafka()
    );
    std::fs::write(folder.join("producer.properties"), settings).unwrap();
    let mut program = example("continued_trace", &collector);
    let output = program.current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{output:?}");
    let sent = collector.spans();
    assert_eq!(sent.len(), 3, "it waited for its exporter");

    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let stored = read(kafka(), "greetings.traced");
    for record in stored.iter().rev().take(3) {
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| (name, value.as_deref()));
        let context = Provenance::read(headers).trace.unwrap().context();
        let remote = context.span().span_context().clone();
        let is_this = |span: &&_| -> bool {
            let span: &opentelemetry_proto::tonic::trace::v1::Span = span;
            hex(&span.span_id) == remote.span_id().to_string()
        };
        let producer = sent.iter().find(is_this).expect("its producer's span");
        assert_eq!(producer.name, "send greetings.traced");

        let tracer = provider.tracer("consumer");
        tracer.start_with_context("process", &context).end();
        let process = spans.get_finished_spans().unwrap().pop().unwrap();
        assert_eq!(process.parent_span_id.to_string(), hex(&producer.span_id));
        assert_eq!(
            process.span_context.trace_id().to_string(),
            hex(&producer.trace_id)
        );
        assert!(process.span_context.is_sampled());
    }
}

#[test]
fn metrics_arrive_by_otlp_and_can_be_scraped() {
    let collector = Collector::start();
    let mut program = example("telemetry", &collector)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    let address = line.strip_prefix("metrics: http://").unwrap();
    let address = address.trim_end().strip_suffix("/metrics").unwrap();

    // Prometheus, while the program lives.
    let mut scraped = HashMap::new();
    let whole = eventually(|| {
        scraped = samples(&scrape(address));
        let sent = "messaging_client_sent_messages_total";
        value(&scraped, sent).is_some_and(|sent| sent >= 20.0)
            && value(&scraped, "franking_librdkafka_batch_records").is_some_and(|n| n >= 1.0)
    });
    assert!(whole, "{scraped:?}");
    let count = "messaging_client_operation_duration_seconds_count";
    assert!(value(&scraped, count).unwrap() >= 20.0, "{scraped:?}");
    let series = scraped.keys().find(|series| series.starts_with(count));
    for label in [
        r#"messaging_destination_name="kettle.temperature""#,
        r#"messaging_system="kafka""#,
        r#"messaging_operation_name="send""#,
    ] {
        assert!(series.unwrap().contains(label), "{series:?}");
    }
    let buckets = scraped
        .keys()
        .filter(|series| series.starts_with("messaging_client_operation_duration_seconds_bucket"));
    assert_eq!(buckets.count(), 14 + 1, "the conventions' and +Inf");
    for gauge in [
        "franking_buffer_capacity_bytes",
        "franking_librdkafka_queue_duration_seconds",
        "franking_hooks_slow",
    ] {
        assert!(value(&scraped, gauge).is_some(), "{gauge}: {scraped:?}");
    }

    // OTLP, until its end.
    drop(program.stdin.take());
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert!(program.wait().unwrap().success());
    assert!(rest.contains("0 not persisted, 0 unknown"), "{rest}");
    let sent = sum(&collector.metric("messaging.client.sent.messages").unwrap());
    let metric = collector.metric("messaging.client.operation.duration");
    let metric = metric.unwrap();
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = metric.data else {
        panic!("a histogram")
    };
    let [point] = &*histogram.data_points else {
        panic!("one series")
    };
    assert_eq!(point.count, sent);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), sent);
    assert_eq!(
        point.explicit_bounds,
        [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0
        ]
    );
    let topic = attribute(&point.attributes, "messaging.destination.name");
    assert_eq!(topic.as_deref(), Some("kettle.temperature"));
    assert_eq!(attribute(&point.attributes, "error.type"), None);
    for name in [
        "franking.buffer.used",
        "franking.librdkafka.batch.records",
        "franking.librdkafka.queue.duration",
        "franking.hooks.panicked",
        "franking.hooks.slow",
    ] {
        assert!(collector.metric(name).is_some(), "{name}");
    }
    // A span for each record that was counted.
    assert_eq!(collector.spans().len() as u64, sent);
    println!(
        "{sent} records: as many durations and spans by OTLP, {} series scraped",
        scraped.len()
    );
}

fn sum(metric: &Metric) -> u64 {
    let Some(Data::Sum(sum)) = &metric.data else {
        panic!("a counter")
    };
    assert!(sum.is_monotonic);
    let values = sum.data_points.iter().map(|point| match point.value {
        Some(Value::AsInt(value)) => u64::try_from(value).unwrap(),
        ref other => panic!("{other:?}"),
    });
    values.sum()
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

/// Series with their labels, and values.
fn samples(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Of the only series of this name.
fn value(samples: &HashMap<String, f64>, name: &str) -> Option<f64> {
    let mut found = samples.iter().filter(|(series, _)| {
        let rest = series.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    });
    let (_, value) = found.next()?;
    assert!(found.next().is_none(), "{name} has several series");
    Some(*value)
}

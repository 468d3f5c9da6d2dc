//! Errors, log lines, spans and metrics of the library.

use std::error::Error;
use std::time::Duration;

use franking::config::{Problem, ProblemKind};
use franking::middleware::audit::Audit;
use franking::middleware::metrics::Metrics;
use franking::middleware::origin::Origin;
use franking::middleware::trace::Trace;
use franking::serializers::registry::SchemaError;
use franking::testing::block_on;
use franking::{Code, DefaultStack, Failure, Headers, Record, SendError};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

use crate::support::{Log, Mock, bytes_builder};
use crate::{EVIL, evil, harm_in_line};

/// Everything that an error shows of itself.
fn shown(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut shown = vec![];
    let mut next = Some(error);
    while let Some(error) = next {
        shown.extend([
            error.to_string(),
            format!("{error:?}"),
            format!("{error:#?}"),
        ]);
        next = error.source();
    }
    shown
}

fn check(what: &str, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        // `{:#?}` has lines of its own.
        for line in line.split('\n') {
            assert_eq!(harm_in_line(line), None, "{what}");
        }
    }
}

#[test]
fn errors_show_nothing_as_it_is() {
    for text in EVIL.into_iter().map(str::to_owned).chain([evil()]) {
        let failure = Failure::new(Code::Broker {
            number: -1,
            name: text.clone().into(),
        })
        .detail(text.clone())
        .advice(text.clone())
        .because(SchemaError::refused(409, text.clone()));
        let mut record = Record::new(text.clone())
            .key(text.clone())
            .value(text.clone());
        let error = SendError::giving_back(failure, record.clone(), 2);
        let text_of_error = error.to_string();
        assert!(!text_of_error.contains('\n'), "one line: {text_of_error}");
        check("a send's error", shown(&error));
        check(
            "a record",
            [format!("{record:?}"), format!("{:?}", record.topic)],
        );
        check(
            "a registry's words",
            [
                SchemaError::unreachable(text.clone()).to_string(),
                SchemaError::refused(42, text.clone()).to_string(),
                SchemaError::invalid(text.clone()).to_string(),
            ],
        );
        let problem = Problem::new(
            text.clone(),
            ProblemKind::Invalid,
            text.clone(),
            text.clone(),
        );
        check("a configuration's problem", [problem.to_string()]);
        if let Err(error) = Headers::new().append(&text, "v") {
            check("a header's name", shown(&error));
        }
        // The origin layer names the header that it refuses.
        let name: String = text.chars().filter(|char| !char.is_control()).collect();
        let origin = Origin::refusing(Origin::builder().service_name("s")).unwrap();
        record.headers.append(&format!("prov-{name}"), "v").unwrap();
        let refused = franking::Interceptor::on_send(&origin, &mut record).unwrap_err();
        check("a refusal", [refused.to_string(), format!("{refused:?}")]);
    }
}

/// With everything that librdkafka says, which names the client too.
#[test]
fn logs_spans_and_metrics_show_nothing_as_it_is() {
    let log = Log::install();
    let spans = InMemorySpanExporter::default();
    let tracers = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let metrics = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(metrics.clone()).build())
        .build();
    let mock = Mock::with_topic("sound", 1);
    let audit = std::sync::Arc::new(Audit::builder().instance_id(evil()).build());
    let stack = DefaultStack::new(Origin::builder().service_name("s").build().unwrap())
        .trace(Trace::new(tracers.tracer("test")).with_keys())
        .metrics(Metrics::new(&meters.meter("test")))
        .with_audit(std::sync::Arc::clone(&audit));
    let producer = bytes_builder(mock.bootstrap())
        .property("debug", "all")
        .property("client.id", evil().replace('\0', ""))
        .property("max.block.ms", "500")
        .property("delivery.timeout.ms", "2000")
        .property("request.timeout.ms", "1000")
        .property("linger.ms", "0")
        .layer(stack)
        .build()
        .unwrap();
    for text in EVIL {
        let record = Record::new(text.to_owned())
            .key(text.to_owned())
            .value(text.to_owned());
        let sent =
            block_on(producer.send_record(record), Duration::from_secs(10)).expect("in time");
        check("a send to such a topic", shown(&sent.unwrap_err()));
    }
    let record = Record::new("sound").key(evil()).value(evil());
    block_on(producer.send_record(record), Duration::from_secs(10))
        .unwrap()
        .unwrap();
    audit.report();
    block_on(
        producer.close(Duration::from_secs(5)),
        Duration::from_secs(10),
    )
    .unwrap();

    let entries = log.entries();
    assert!(
        entries
            .iter()
            .any(|entry| entry.starts_with("franking::librdkafka"))
    );
    assert!(
        entries
            .iter()
            .any(|entry| entry.starts_with("franking::audit"))
    );
    let named = entries
        .iter()
        .filter(|entry| entry.starts_with("franking::librdkafka") && entry.contains("[31mred"))
        .count();
    assert!(named > 0, "librdkafka named such a client");
    for entry in &entries {
        assert_eq!(harm_in_line(entry), None, "a log line");
    }
    let spans = spans.get_finished_spans().unwrap();
    assert_eq!(spans.len(), EVIL.len() + 1);
    for span in &spans {
        check(
            "a span",
            [span.name.to_string(), format!("{:?}", span.status)],
        );
        let attributes = span.attributes.iter();
        check(
            "a span",
            attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value)),
        );
        assert!(
            ["send sound", "send"].contains(&&*span.name),
            "{}",
            span.name
        );
    }
    meters.force_flush().unwrap();
    let exported = format!("{:?}", metrics.get_finished_metrics().unwrap());
    assert!(exported.contains("_other") && exported.contains("sound"));
    // Debug escapes: what is escaped was there.
    assert!(
        !exported.contains("[31mred") && !exported.contains("\\u{"),
        "{exported}"
    );
    println!(
        "{} log lines, {} spans, none with anything hostile",
        entries.len(),
        spans.len()
    );
}

//! A double of an OpenTelemetry collector: takes OTLP over HTTP on loopback, and decodes what arrives.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Keeps the spans and metrics that it got.
pub struct Collector {
    address: String,
    arrived: Arc<Mutex<Arrived>>,
}

#[derive(Default)]
struct Arrived {
    spans: Vec<Span>,
    /// By name: the newest of each.
    metrics: HashMap<String, Metric>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let arrived = Arc::<Mutex<Arrived>>::default();
        let keeping = Arc::clone(&arrived);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, arrived) = (stream.unwrap(), Arc::clone(&keeping));
                thread::spawn(move || serve(&stream, &arrived));
            }
        });
        Self { address, arrived }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` takes.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far, in the order in which they ended.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.arrived.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.end_time_unix_nano);
        spans
    }

    /// What came of this metric last.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.arrived.lock().unwrap().metrics.get(name).cloned()
    }
}

/// The requests of one connection.
fn serve(stream: &TcpStream, arrived: &Mutex<Arrived>) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body)) = request(&mut reader) {
        let mut arrived = arrived.lock().unwrap();
        match &*path {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(&*body).unwrap();
                let resources = request.resource_spans.into_iter();
                let scopes = resources.flat_map(|resource| resource.scope_spans);
                arrived.spans.extend(scopes.flat_map(|scope| scope.spans));
            }
            "/v1/metrics" => {
                let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
                let resources = request.resource_metrics.into_iter();
                let scopes = resources.flat_map(|resource| resource.scope_metrics);
                let metrics = scopes.flat_map(|scope| scope.metrics);
                arrived
                    .metrics
                    .extend(metrics.map(|metric| (metric.name.clone(), metric)));
            }
            other => panic!("a collector has no {other}"),
        }
        // An empty message says that everything was taken.
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        let mut stream = stream;
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Path and body; `None` at the end of the connection.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// The text of this attribute, if it is there.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let AnyValue { value } = found.value.as_ref()?;
    Some(match value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        other => format!("{other:?}"),
    })
}

/// Lower-case digits, as they stand in `traceparent`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

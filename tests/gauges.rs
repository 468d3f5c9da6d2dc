//! The engine's own metrics, in a process of their own: they go to the global meter provider.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use support::{Mock, builder, record};

fn read(provider: &SdkMeterProvider, exporter: &InMemoryMetricExporter) -> BTreeMap<String, f64> {
    exporter.reset();
    provider.force_flush().unwrap();
    let mut gauges = BTreeMap::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            if let AggregatedMetrics::F64(MetricData::Gauge(gauge)) = metric.data() {
                let point = gauge.data_points().next().unwrap();
                let client = point.attributes().next().unwrap();
                assert_eq!(client.key.as_str(), "messaging.client.id");
                gauges.insert(metric.name().to_owned(), point.value());
            }
        }
    }
    gauges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_shows_its_buffer_and_librdkafkas_statistics() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(exporter.clone()).build())
        .build();
    opentelemetry::global::set_meter_provider(provider.clone());

    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap())
        .property("buffer.memory", "1000000")
        .property("statistics.interval.ms", "1000")
        .build()
        .unwrap();
    for n in 0..100 {
        producer
            .send_and_forget(record("t", n.to_string()))
            .await
            .unwrap();
    }
    let queued = read(&provider, &exporter);
    assert_eq!(queued["franking.buffer.capacity"], 1_000_000.0);
    producer.flush().await;
    // Statistics come on librdkafka's own time.
    for _ in 0..100 {
        let gauges = read(&provider, &exporter);
        assert_eq!(gauges["franking.buffer.used"], 0.0);
        assert_eq!(gauges["franking.records.outstanding"], 0.0);
        if gauges.get("franking.librdkafka.records.sent") == Some(&100.0) {
            assert_eq!(gauges["franking.librdkafka.brokers.up"], 1.0);
            assert!(gauges["franking.librdkafka.batch.records"] >= 1.0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", read(&provider, &exporter));
}

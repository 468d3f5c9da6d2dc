//! OpenTelemetry's SDK, installed as a service installs it, with exporters that export nothing: what leaves the process
//! is the collector's cost, not the record's.

use std::time::Duration;

use opentelemetry::{
    metrics::{Meter, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::BoxError;

/// How often metrics are read: several times in a run.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The providers. Shut down at the end: spans still wait in the processor's queue.
pub(super) struct Telemetry {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Tracer provider, metric reader and `tracing` subscriber. Without a ratio no trace is sampled, and each record
    /// carries a context all the same.
    pub(super) fn install(sampled: Option<f64>) -> Result<Self, BoxError> {
        let sampler = sampled.map_or(Sampler::AlwaysOff, Sampler::TraceIdRatioBased);
        let traces = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_batch_exporter(Nowhere)
            .build();
        let reader = PeriodicReader::builder(Nowhere)
            .with_interval(READ_EVERY)
            .build();
        let metrics = SdkMeterProvider::builder().with_reader(reader).build();
        tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(traces.tracer("bench")))
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_filter(LevelFilter::WARN),
            )
            .try_init()?;
        Ok(Self { traces, metrics })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.traces.tracer("franking")
    }

    pub(super) fn meter(&self) -> Meter {
        self.metrics.meter("franking")
    }

    pub(super) fn shutdown(self) -> Result<(), BoxError> {
        self.metrics.shutdown()?;
        self.traces.shutdown()?;
        Ok(())
    }
}

/// An exporter that drops what it gets.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

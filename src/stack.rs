//! The default stack: five layers around the engine, each with the reason why it stands where it stands.

use std::{fmt, sync::Arc};

use franking_core::{Intercepted, Interceptor, InterceptorLayer};
use franking_middleware::{
    audit::Audit,
    metrics::Metrics,
    origin::{Origin, OriginError},
    retry::{Retry, RetryLayer},
    trace::Trace,
};
use opentelemetry::global::BoxedTracer;
use tower_layer::Layer;

/// Trace, origin, audit, metrics and retry around an engine, in this order: [`DefaultStack::describe`] says why.
///
/// One line takes an application's producer from bare to fully stamped, audited, traced, measured and retried; without
/// that line it runs as before.
///
/// ```
/// use franking::{DefaultStack, Producer, middleware::origin::Origin};
///
/// let stack = DefaultStack::new(Origin::builder().service_namespace("shop").service_name("checkout").build()?);
/// let audit = stack.audit().clone();
/// let producer: Producer<String, String> = Producer::builder()
///     .property("bootstrap.servers", "localhost:9092")
///     .property("key.serializer", "string")
///     .property("value.serializer", "string")
///     .layer(stack)
///     .build()?;
/// assert!(audit.totals().holds());
/// # let _ = producer;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Telemetry goes to OpenTelemetry's global tracer and meter providers, as they are when the stack is made;
/// [`trace`](Self::trace) and [`metrics`](Self::metrics) take others.
pub struct DefaultStack<T = BoxedTracer> {
    trace: Arc<Trace<T>>,
    origin: Arc<Origin>,
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    retry: RetryLayer,
}

/// The four that watch, as one interceptor: one token a record.
type Observers<T> = (Arc<Trace<T>>, Arc<Origin>, Arc<Audit>, Arc<Metrics>);

/// A layer of the default stack, as [`DefaultStack::describe`] tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Described {
    /// Its name, which is its module's in [`middleware`](crate::middleware).
    pub layer: &'static str,
    /// What it does to a record.
    pub does: &'static str,
    /// Why it stands where it stands.
    pub why_here: &'static str,
}

/// Outermost first, as the tuple in `layer` below.
const LAYERS: [Described; 5] = [
    Described {
        layer: "trace",
        does: "stamps traceparent; a span from the send to the acknowledgement",
        why_here: "outermost, so that the span holds the time and the errors of everything inside it",
    },
    Described {
        layer: "origin",
        does: "stamps prov-id and prov-origin: which record this is, and who wrote it; prov-path on what goes on",
        why_here: "before any other stamp of ours, for it removes prov-* headers that the application set itself",
    },
    Described {
        layer: "audit",
        does: "stamps prov-seq; balances attempts against outcomes per topic and time",
        why_here: "outside retry, so that a record counts once, with its final outcome",
    },
    Described {
        layer: "metrics",
        does: "measures how long sends take and counts what was sent",
        why_here: "inside the stamps, so that it measures what the engine got; outside retry, so that it counts once",
    },
    Described {
        layer: "retry",
        does: "sends again what failed for the moment and is surely not in the topic",
        why_here: "next to the engine: a resend keeps its stamps, and the layers outside see the final outcome",
    },
];

impl DefaultStack {
    /// The stack for a service of this origin.
    pub fn new(origin: Origin) -> Self {
        let mut audit = Audit::builder()
            .instance_id(origin.instance_id())
            .names(origin.names().clone());
        if origin.keeps_present() {
            audit = audit.instance_on_all();
        }
        Self {
            trace: Arc::new(Trace::global()),
            origin: Arc::new(origin),
            audit: Arc::new(audit.build()),
            metrics: Arc::new(Metrics::global()),
            retry: RetryLayer::new(),
        }
    }

    /// The stack for the service that `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` name.
    ///
    /// # Errors
    /// As [`Origin::from_env`].
    pub fn from_env() -> Result<Self, OriginError> {
        Ok(Self::new(Origin::from_env()?))
    }

    /// What stands in it, outermost first, and why: what `franking stack` prints.
    pub fn describe() -> [Described; 5] {
        LAYERS
    }
}

impl<T> DefaultStack<T> {
    /// Traces with this tracer.
    pub fn trace<U>(self, trace: Trace<U>) -> DefaultStack<U> {
        DefaultStack {
            trace: Arc::new(trace),
            origin: self.origin,
            audit: self.audit,
            metrics: self.metrics,
            retry: self.retry,
        }
    }

    /// Measures with these instruments.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Arc::new(metrics);
        self
    }

    /// Retries with these limits.
    pub fn retry(mut self, retry: RetryLayer) -> Self {
        self.retry = retry;
        self
    }

    /// Audits with this audit, which other producers may share. For forwarded records it has to know whose instance it
    /// numbers for: [`AuditBuilder::instance_id`](franking_middleware::audit::AuditBuilder::instance_id).
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.audit = audit;
        self
    }

    /// The audit, to look at the balance and to report it.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// The origin, to see the instance's id and how many reserved headers were removed.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }
}

impl<T, S> Layer<S> for DefaultStack<T>
where
    Observers<T>: Interceptor,
    RetryLayer: Layer<S, Service = Retry<S>>,
{
    type Service = Intercepted<Observers<T>, Retry<S>>;

    // Each line's reason is in `LAYERS`, where `franking stack` finds it too.
    fn layer(&self, engine: S) -> Self::Service {
        let observers = (
            Arc::clone(&self.trace),
            Arc::clone(&self.origin),
            Arc::clone(&self.audit),
            Arc::clone(&self.metrics),
        );
        InterceptorLayer::from(observers).layer(self.retry.layer(engine))
    }
}

impl<T> fmt::Debug for DefaultStack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(LAYERS.map(|layer| layer.layer))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_in_the_order_of_the_stack() {
        type Service = <DefaultStack as Layer<franking_core::testing::Scripted>>::Service;
        let stack = std::any::type_name::<Service>();
        let places = LAYERS.map(|described| {
            let module = format!("franking_middleware::{}::", described.layer);
            stack
                .find(&module)
                .unwrap_or_else(|| panic!("{module} in {stack}"))
        });
        assert!(places.is_sorted(), "{stack}");
    }
}

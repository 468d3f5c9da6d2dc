//! How a trace context lies in headers: as W3C has it, or as a propagator of OpenTelemetry's does it.

use franking_core::{HeaderName, Headers};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt, TraceState},
};

use super::w3c::{self, TraceParent};
use crate::{
    provenance::context::sound,
    reserved::{Action, Reason, count, is_alike},
};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
const PRINTABLE: &str = "W3C's names are printable";

/// Reads and writes contexts.
pub(super) enum Carrier {
    /// By our own hands: 55 bytes without an allocation.
    W3c {
        parent: HeaderName,
        state: HeaderName,
    },
    Other(Box<dyn TextMapPropagator + Send + Sync>),
}

impl Carrier {
    pub(super) fn w3c() -> Self {
        let name = |name| HeaderName::new(name).expect(PRINTABLE);
        Self::W3c {
            parent: name(PARENT),
            state: name(STATE),
        }
    }

    /// The context that the headers hold, if it is a valid one, with its state.
    pub(super) fn read(&self, headers: &Headers) -> Option<SpanContext> {
        match self {
            Self::W3c { .. } => {
                let (trace_id, span_id, flags) = w3c::decode(headers.get(PARENT)??)?;
                // What W3C does not allow is not ours to mend: the context just goes without it.
                let state = headers.get_str(STATE).and_then(sound);
                let state = state.and_then(|members| TraceState::from_key_value(members).ok());
                let state = state.unwrap_or_default();
                Some(SpanContext::new(trace_id, span_id, flags, true, state))
            }
            Self::Other(propagator) => {
                let headers = HeaderExtractor::new(headers);
                let context = propagator.extract_with_context(&Context::new(), &headers);
                let context = context.span().span_context().clone();
                context.is_valid().then_some(context)
            }
        }
    }

    /// As [`read`](Self::read), for a context that stays as it is: leaves one instance of each header. Without its state,
    /// which would take an allocation.
    pub(super) fn settle(&self, headers: &mut Headers) -> Option<SpanContext> {
        if headers.is_empty() {
            return None;
        }
        let Self::W3c { .. } = self else {
            return self.read(headers);
        };
        let (trace_id, span_id, flags) = w3c::decode(headers.get(PARENT)??)?;
        remove_variants(headers);
        for name in [PARENT, STATE] {
            leave_last(headers, name);
        }
        let state = TraceState::default();
        Some(SpanContext::new(trace_id, span_id, flags, true, state))
    }

    /// Writes a valid context in place of whatever is there; `known` is its `traceparent`, if that was made before.
    pub(super) fn write(
        &self,
        headers: &mut Headers,
        context: &SpanContext,
        known: Option<&TraceParent>,
    ) {
        match self {
            Self::W3c { parent, state } => {
                remove_variants(headers);
                match known {
                    Some(text) => headers.stamp(parent, text),
                    None => headers.stamp_with(parent, w3c::LEN, |text| w3c::encode(context, text)),
                }
                let members = context.trace_state();
                if members.into_iter().next().is_some() {
                    headers.stamp(state, members.header().as_bytes());
                } else {
                    headers.remove(STATE);
                }
            }
            Self::Other(propagator) => {
                // Propagators read regardless of case.
                headers
                    .remove_where(|name, _| propagator.fields().any(|field| is_alike(name, field)));
                // A context of its own: the current one's baggage is not the propagator's to write.
                let context = Context::new().with_remote_span_context(context.clone());
                propagator.inject_context(&context, &mut HeaderInjector(headers));
            }
        }
    }

    /// Removes a consumed record's context, of W3C's names also where another propagator writes: it would be one that
    /// stayed behind.
    pub(super) fn leave_behind(&self, headers: &mut Headers) {
        if let Self::Other(_) = self {
            headers
                .remove_where(|name, _| [PARENT, STATE].into_iter().any(|w3c| is_alike(name, w3c)));
        }
    }
}

/// Removes what a consumer that trims names or ignores case may take for the context that is on the record.
fn remove_variants(headers: &mut Headers) {
    if !headers.may_begin_with(b't') {
        return;
    }
    let removed = headers.remove_where(|name, _| {
        [PARENT, STATE]
            .into_iter()
            .any(|ours| name != ours && is_alike(name, ours))
    });
    count(Action::Removed, Reason::Variant, removed as u64);
}

fn leave_last(headers: &mut Headers, name: &str) {
    let times = headers.iter().filter(|(known, _)| *known == name).count();
    if times > 1
        && let Some(last) = headers.get(name)
    {
        let last = last.map(<[u8]>::to_vec);
        headers.set(name, last).expect(PRINTABLE);
    }
}

/// A record's headers as a propagator of OpenTelemetry's writes them. A name stands there once, and one that Kafka does
/// not take is left out.
#[derive(Debug)]
pub struct HeaderInjector<'h>(pub &'h mut Headers);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        // There is nobody to tell; a propagator's names are constants.
        let _ = self.0.set(key, value);
    }
}

/// A record's headers as a propagator of OpenTelemetry's reads them: what a consumer continues a trace with.
///
/// Of a name the last value counts, as for Java's `lastHeader`; null and what is not UTF-8 is not there. Case does not
/// count, for propagators come from HTTP.
///
/// ```
/// use franking_middleware::trace::HeaderExtractor;
/// use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
///
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let headers = [("traceparent", Some(parent.as_bytes()))];
/// let context = TraceContextPropagator::new().extract(&HeaderExtractor::new(headers));
/// assert_eq!(context.span().span_context().span_id().to_string(), "b7ad6b7169203331");
/// ```
#[derive(Clone, Debug)]
pub struct HeaderExtractor<'h>(Vec<(&'h str, &'h str)>);

impl<'h> HeaderExtractor<'h> {
    /// Of names and values in their order.
    pub fn new<N>(headers: impl IntoIterator<Item = (&'h N, Option<&'h [u8]>)>) -> Self
    where
        N: AsRef<[u8]> + ?Sized + 'h,
    {
        let text = |bytes: &'h [u8]| std::str::from_utf8(bytes).ok();
        let pairs = headers
            .into_iter()
            .filter_map(|(name, value)| Some((text(name.as_ref())?, text(value?)?)));
        Self(pairs.collect())
    }
}

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

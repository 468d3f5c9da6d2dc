//! Whether it is decided already that nothing is recorded here.

use std::cell::Cell;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, SpanRef, TraceContextExt, TraceId},
};

thread_local! {
    /// The span that was asked last and does not record.
    static QUIET: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Whether this process decided already that nothing of this trace is recorded here.
pub(super) fn is_decided(current: &Context) -> bool {
    let span = current.span();
    let context = span.span_context();
    context.is_valid()
        && !context.is_remote()
        && !context.is_sampled()
        && !current.is_telemetry_suppressed()
        // Unsampled and recorded all the same, for processors of this process.
        && is_quiet(&span, context)
}

/// Whether the span does not record. To ask takes its lock, which is 14 ns, and more where threads send below one span: so
/// it is asked once, for what does not record never will.
fn is_quiet(span: &SpanRef<'_>, context: &SpanContext) -> bool {
    let ids = (context.trace_id(), context.span_id());
    if QUIET.get() == Some(ids) {
        return true;
    }
    let quiet = !span.is_recording();
    if quiet {
        QUIET.set(Some(ids));
    }
    quiet
}

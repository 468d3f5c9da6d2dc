//! Whether it is decided already that nothing is recorded here.

use std::cell::RefCell;

use opentelemetry::{
    Context,
    trace::{SpanId, TraceContextExt, TraceFlags, TraceId},
};

use super::w3c::{self, TraceParent};

thread_local! {
    static QUIET: RefCell<Option<Quiet>> = const { RefCell::new(None) };
}

/// The span that was asked last and does not record.
///
/// To ask takes its lock, which is 14 ns, and more where threads send below one span: so it is asked once, since a span that
/// does not record never will. And its `traceparent` is the same for each record: to write it anew takes 9 ns.
struct Quiet {
    ids: (TraceId, SpanId, TraceFlags),
    traceparent: TraceParent,
}

/// Calls this with the current span's `traceparent`, if this process decided already that nothing of its trace is recorded here.
pub(super) fn if_decided<T>(current: &Context, then: impl FnOnce(&TraceParent) -> T) -> Option<T> {
    let span = current.span();
    let context = span.span_context();
    let unsampled = context.is_valid()
        && !context.is_remote()
        && !context.is_sampled()
        && !current.is_telemetry_suppressed();
    if !unsampled {
        return None;
    }
    let ids = (context.trace_id(), context.span_id(), context.trace_flags());
    QUIET.with(|last| {
        if let Some(quiet) = &*last.borrow()
            && quiet.ids == ids
        {
            return Some(then(&quiet.traceparent));
        }
        // Unsampled, a span may record all the same, for processors of this process.
        if span.is_recording() {
            return None;
        }
        let mut traceparent = [0; w3c::LEN];
        w3c::encode(context, &mut traceparent);
        let done = then(&traceparent);
        // It is borrowed if a propagator, which is somebody else's code, sends from within a send.
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = Some(Quiet { ids, traceparent });
        }
        Some(done)
    })
}

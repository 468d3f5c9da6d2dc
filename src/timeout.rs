//! Time-outs, where there is a timer.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// A time-out; `None` where there is no timer. tokio panics where there is no runtime, or one without time, and has no
/// question for that.
pub(crate) fn within<F: Future>(time: Duration, future: F) -> Option<tokio::time::Timeout<F>> {
    catch_unwind(AssertUnwindSafe(|| tokio::time::timeout(time, future))).ok()
}

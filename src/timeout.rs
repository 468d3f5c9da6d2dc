//! Time-outs, where there is a timer.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Timeout, timeout},
};

/// A time-out; `None` where there is no timer: outside a tokio runtime, or in one without time, where tokio panics and has
/// no question for it.
pub(crate) fn within<F: Future>(time: Duration, future: F) -> Option<Timeout<F>> {
    Handle::try_current().ok()?;
    catch_unwind(AssertUnwindSafe(|| timeout(time, future))).ok()
}

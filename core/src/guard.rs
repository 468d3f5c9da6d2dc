//! Somebody else's code, and its panics.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

static PANICKED: AtomicU64 = AtomicU64::new(0);

/// How many hooks, callbacks, recoverers and interceptors of this process panicked. Each panic was caught and harmed no
/// other record; a number above 0 is a defect in one of them.
pub fn hooks_panicked() -> u64 {
    PANICKED.load(Ordering::Relaxed)
}

/// Runs somebody else's code so that its panic stays its own.
// Inline, so that what the code takes need not be put together in memory first: 10 ns of a stack's 200.
#[inline(always)]
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            panicked(payload);
            None
        }
    }
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>) {
    PANICKED.fetch_add(1, Ordering::Relaxed);
    // What was thrown may panic when it is dropped, and what is thrown then as well.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}

//! How an engine is closed, flushed and left.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Closed, closed},
    worker::Shared,
};

/// What every handle holds: when the last one goes, the engine ends by itself.
pub(super) struct Lifeline(Arc<Shared>);

impl Lifeline {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Takes no more records, and tells the thread to wind up by the deadline.
    pub(super) fn close(&self, deadline: Instant) -> impl Future<Output = Closed> + Send + use<> {
        let shared = Arc::clone(&self.0);
        let before = shared.room.totals();
        shared.room.refuse(closed());
        shared.pace.go();
        {
            let mut ending = shared.ending();
            let (earliest, before) = ending.closing.unwrap_or((deadline, before));
            ending.closing = Some((earliest.min(deadline), before));
        }
        shared.wake_worker();
        poll_fn(move |cx| {
            let mut ending = shared.ending();
            match ending.done {
                Some(done) => Poll::Ready(done),
                None => {
                    if !ending
                        .waiting
                        .iter()
                        .any(|waker| waker.will_wake(cx.waker()))
                    {
                        ending.waiting.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Lifeline {
    /// Only leaves word: this may be the engine's own thread, or a runtime's.
    fn drop(&mut self) {
        self.0.ending().deserted = true;
        self.0.wake_worker();
    }
}

/// While one is held, librdkafka sends without lingering.
///
/// `rd_kafka_flush` blocks its caller, so it is called on a thread of its own, in slices short enough that a closing
/// engine does not wait for it.
pub(super) struct Hurry(Arc<AtomicBool>);

impl Hurry {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let hurry = Self(Arc::clone(&done));
        let shared = Arc::clone(shared);
        // Without the thread the records still go, after `linger.ms`.
        let _ = thread::Builder::new()
            .name("franking-flush".into())
            .spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match &*shared.client() {
                        Some(client) => client.flush(Duration::from_millis(5)),
                        None => return,
                    };
                    thread::sleep(Duration::from_millis(1));
                }
            });
        hurry
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! Waiting for a future without a runtime.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{Produce, Record, SendResult};

/// Sends one record through a stack and waits for its outcome, however long that takes: for tests without a runtime.
///
/// # Errors
/// As the stack's.
pub fn send<S: Produce>(stack: &mut S, record: Record) -> SendResult {
    let sent = async {
        poll_fn(|cx| stack.poll_ready(cx)).await?;
        stack.call(record).await
    };
    run(sent, None).expect("a wait without a deadline ends with an output")
}

/// Polls a future on this thread until it is ready, or the time is over: then `None`.
pub fn block_on<F: Future>(future: F, within: Duration) -> Option<F::Output> {
    run(future, Some(Instant::now() + within))
}

fn run<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        match deadline {
            Some(deadline) => {
                thread::park_timeout(deadline.checked_duration_since(Instant::now())?);
            }
            None => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

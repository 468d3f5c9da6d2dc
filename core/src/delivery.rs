//! The caller's end of a send: the one concrete future of the stack.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    RecordMetadata, SendError,
    guard::guarded,
    sync::{Mutex, MutexGuard},
};

/// What a send resolves to.
pub type SendResult = Result<RecordMetadata, SendError>;

/// The future of a send: it resolves when the record's final outcome is known.
///
/// Dropping it cancels nothing: the record, its hooks and its retries go on. It needs no runtime, and costs no
/// allocation of its own: many share one.
pub struct Delivery(Repr);

enum Repr {
    Ready(Option<SendResult>),
    Slot(SlotRef),
    Boxed(Pin<Box<dyn Future<Output = SendResult> + Send>>),
    Detached,
}

impl Delivery {
    /// One whose outcome is known.
    pub fn ready(result: SendResult) -> Self {
        Self(Repr::Ready(Some(result)))
    }

    /// Any other future of a send, boxed: what an adapter around a foreign tower layer answers.
    pub fn boxed(future: impl Future<Output = SendResult> + Send + 'static) -> Self {
        Self(Repr::Boxed(Box::pin(future)))
    }

    pub(crate) fn detached() -> Self {
        Self(Repr::Detached)
    }

    /// Whether the engine may never have had the record: it was answered already, or that cannot be told without polling.
    pub fn may_be_refused(&self) -> bool {
        match &self.0 {
            Repr::Ready(_) | Repr::Boxed(_) => true,
            Repr::Slot(slot) => matches!(*slot.lock(), State::Done(Err(_))),
            Repr::Detached => false,
        }
    }

    /// Calls back with the outcome instead of being awaited: on the engine's thread when the acknowledgement comes, or
    /// at once, here, if it came already. One allocation. A panic in the callback is caught and counted.
    ///
    /// # Errors
    /// Gives future and callback back if the future is a [`boxed`](Self::boxed) one: that has to be polled by somebody.
    pub fn on_complete<F>(mut self, callback: F) -> Result<(), (Self, F)>
    where
        F: FnOnce(SendResult) + Send + 'static,
    {
        match &mut self.0 {
            Repr::Ready(result) => {
                if let Some(result) = result.take() {
                    guarded(|| callback(result));
                }
                Ok(())
            }
            Repr::Slot(slot) => {
                slot.call_back(Box::new(callback));
                // The slot is the callback's now: nothing to abandon.
                self.0 = Repr::Detached;
                Ok(())
            }
            Repr::Boxed(_) => Err((self, callback)),
            Repr::Detached => Ok(()),
        }
    }
}

impl Future for Delivery {
    type Output = SendResult;

    /// # Panics
    /// Polled again after it resolved, as futures may.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendResult> {
        match &mut self.0 {
            Repr::Ready(result) => Poll::Ready(
                result
                    .take()
                    .expect("a Delivery was polled after it resolved"),
            ),
            Repr::Slot(slot) => {
                let result = std::task::ready!(slot.poll(cx));
                self.0 = Repr::Ready(None);
                Poll::Ready(result)
            }
            Repr::Boxed(future) => future.as_mut().poll(cx),
            Repr::Detached => Poll::Pending,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Repr::Slot(slot) = &self.0 {
            slot.abandon();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}

/// Where promises and deliveries of one service handle come from: completion slots in shared chunks, so that a record
/// costs a fraction of an allocation.
#[derive(Default)]
pub struct Slots {
    chunk: Option<Arc<[Slot]>>,
    next: usize,
}

/// So many come in one allocation after `used`. A short-lived handle makes a small lot; it grows with use.
fn next_lot(used: usize) -> usize {
    const LARGEST: usize = 64;
    (used * 4).clamp(1, LARGEST)
}

impl Slots {
    pub(crate) fn pair(&mut self) -> (Promise, Delivery) {
        let chunk = match &self.chunk {
            Some(chunk) if self.next < chunk.len() => chunk,
            used => {
                let size = next_lot(used.as_ref().map_or(0, |chunk| chunk.len()));
                self.next = 0;
                self.chunk
                    .insert((0..size).map(|_| Slot::default()).collect())
            }
        };
        let index = self.next;
        self.next += 1;
        let slot = SlotRef {
            chunk: Arc::clone(chunk),
            index,
        };
        let promise = Promise(SlotRef {
            chunk: Arc::clone(chunk),
            index,
        });
        (promise, Delivery(Repr::Slot(slot)))
    }
}

/// A clone of a handle starts with slots of its own.
impl Clone for Slots {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slots")
    }
}

/// The engine's end of a [`Delivery`].
pub(crate) struct Promise(SlotRef);

impl Promise {
    pub(crate) fn slot(&self) -> &Slot {
        &self.0.chunk[self.0.index]
    }

    /// Whether nobody listens any more, so that the answer need not be made.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(*self.0.lock(), State::Abandoned)
    }

    pub(crate) fn resolve(self, result: SendResult) {
        let mut state = self.0.lock();
        if matches!(*state, State::Abandoned) {
            // The lock goes first, then what nobody wants.
            return;
        }
        match mem::replace(&mut *state, State::Abandoned) {
            State::Waiting(waker) => {
                *state = State::Done(result);
                drop(state);
                guarded(|| waker.wake());
            }
            State::Callback(callback) => {
                drop(state);
                guarded(|| callback(result));
            }
            State::Pending | State::Done(_) | State::Abandoned => *state = State::Done(result),
        }
    }
}

type Callback = Box<dyn FnOnce(SendResult) + Send>;

#[derive(Default)]
enum State {
    #[default]
    Pending,
    Waiting(Waker),
    Callback(Callback),
    Done(SendResult),
    Abandoned,
}

#[derive(Default)]
pub(crate) struct Slot(Mutex<State>);

struct SlotRef {
    chunk: Arc<[Slot]>,
    index: usize,
}

impl SlotRef {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.chunk[self.index]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<SendResult> {
        let mut state = self.lock();
        match &mut *state {
            State::Done(_) => match mem::replace(&mut *state, State::Abandoned) {
                State::Done(result) => Poll::Ready(result),
                _ => Poll::Pending,
            },
            State::Waiting(waker) if waker.will_wake(cx.waker()) => Poll::Pending,
            _ => {
                let old = mem::replace(&mut *state, State::Waiting(cx.waker().clone()));
                drop(state);
                // Outside of the lock: the last of a waker may drop its task.
                drop(old);
                Poll::Pending
            }
        }
    }

    fn abandon(&self) {
        let old = mem::replace(&mut *self.lock(), State::Abandoned);
        // Outside of the lock: it may hold a record or a waker.
        drop(old);
    }

    fn call_back(&self, callback: Callback) {
        let mut state = self.lock();
        match mem::replace(&mut *state, State::Abandoned) {
            State::Done(result) => {
                drop(state);
                guarded(|| callback(result));
            }
            _ => {
                *state = State::Callback(callback);
                // Before what was there, a waker perhaps, is dropped.
                drop(state);
            }
        }
    }
}

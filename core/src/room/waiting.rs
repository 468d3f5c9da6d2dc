//! Who waits for the room to empty, or to close.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::Room;
use crate::guard::guarded;

/// Wakers by key, so that a dropped future can take its own away.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) next: u64,
    pub(super) flushes: HashMap<u64, Waker>,
    pub(super) closings: HashMap<u64, Waker>,
}

impl Listeners {
    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// See [`Room::flushed`].
#[must_use = "a flush does nothing unless it is awaited"]
pub struct Flushed {
    pub(super) room: Arc<Room>,
    pub(super) generation: u64,
    pub(super) key: Option<u64>,
}

impl Future for Flushed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.room.lock();
        if state.ledger.is_settled(this.generation) {
            return Poll::Ready(());
        }
        let key = *this.key.get_or_insert_with(|| state.listeners.key());
        let old = state.listeners.flushes.insert(key, cx.waker().clone());
        // Outside of the lock: the last of a waker may drop its task.
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.room.lock().listeners.flushes.remove(&key);
            drop(waker);
        }
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flushed")
    }
}

/// Resolves when a recoverer shall give up the records it holds: the producer's time to close is over. See
/// [`Failed::closing`](crate::Failed::closing).
pub struct Closing {
    pub(super) room: Option<Arc<Room>>,
    pub(super) key: Option<u64>,
}

impl Closing {
    /// For a record that holds no room anywhere.
    pub(crate) fn never() -> Self {
        Self {
            room: None,
            key: None,
        }
    }
}

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(room) = &this.room else {
            return Poll::Pending;
        };
        let mut state = room.lock();
        if state.gate.abandoned {
            return Poll::Ready(());
        }
        let key = *this.key.get_or_insert_with(|| state.listeners.key());
        let old = state.listeners.closings.insert(key, cx.waker().clone());
        // Outside of the lock: the last of a waker may drop its task.
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let (Some(room), Some(key)) = (&self.room, self.key) {
            let waker = room.lock().listeners.closings.remove(&key);
            drop(waker);
        }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

/// Wakes somebody, whose panic shall keep nobody else asleep.
pub(super) fn wake(waker: Waker) {
    guarded(|| waker.wake());
}

pub(super) fn wake_all(wakers: HashMap<u64, Waker>) {
    wakers.into_values().for_each(wake);
}

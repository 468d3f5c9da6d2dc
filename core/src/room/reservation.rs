//! A handle's way into the room.

use std::{
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use super::{Fate, Permit, Room, waiting::wake};
use crate::{
    Failure, Flight, SendError, Shares,
    sync::{AtomicBool, Mutex},
};

/// A handle's place in the line for room, and what it holds once it is ready.
///
/// An engine polls it in `poll_ready` and admits the record with it in `call`. What it holds is given back on drop; a
/// clone holds nothing.
pub struct Reservation {
    room: Shares<Room>,
    waiter: Option<Arc<Waiter>>,
    held: usize,
    /// See [`Room::last_reservation`].
    last: bool,
}

impl Reservation {
    pub(super) fn new(room: Arc<Room>, last: bool) -> Self {
        Self {
            room: Shares::of(room),
            waiter: None,
            held: 0,
            last,
        }
    }

    /// The room it is for.
    pub fn room(&self) -> &Arc<Room> {
        self.room.all()
    }

    /// Waits for room, in the order of asking.
    ///
    /// # Errors
    /// What [`Room::refuse`] was told, at once and for good.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let mut state = self.room.all().lock();
        if let Some(failure) = state.gate.refuses(self.last) {
            let failure = failure.clone();
            drop(state);
            self.release();
            return Poll::Ready(Err(SendError::new(failure)));
        }
        if self.held > 0 {
            return Poll::Ready(Ok(()));
        }
        let quantum = self.room.all().quantum();
        if let Some(waiter) = &self.waiter {
            if waiter.granted.load(Ordering::Acquire) {
                self.held = quantum;
                drop(state);
                self.waiter = None;
                return Poll::Ready(Ok(()));
            }
            let old = {
                let mut waker = waiter.waker.lock().unwrap_or_else(PoisonError::into_inner);
                let same = waker.will_wake(cx.waker());
                (!same).then(|| std::mem::replace(&mut *waker, cx.waker().clone()))
            };
            // Outside of the lock: the last of a waker may drop its task, and that gives room back.
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        if state.waiters.is_empty() && state.used + quantum <= self.room.all().capacity {
            state.charge(quantum);
            self.held = quantum;
            return Poll::Ready(Ok(()));
        }
        let waiter = Arc::new(Waiter {
            granted: AtomicBool::new(false),
            waker: Mutex::new(cx.waker().clone()),
        });
        state.waiters.push_back(Arc::clone(&waiter));
        drop(state);
        self.waiter = Some(waiter);
        Poll::Pending
    }

    /// Accepts a record of this size: what was reserved is trued up, and the room may be overdrawn by this one record.
    /// A record that a recoverer sends again keeps the room it has.
    ///
    /// # Errors
    /// What [`Room::refuse`] was told; the record is not accepted then.
    pub fn admit(&mut self, flight: &mut Flight, bytes: usize) -> Result<(), Failure> {
        if let Some(permit) = &flight.permit {
            if Arc::ptr_eq(permit.room.all(), self.room.all()) {
                let result = {
                    let state = self.room.all().lock();
                    match &state.gate.refused {
                        Some(failure) if state.gate.abandoned => Err(failure.clone()),
                        _ => Ok(()),
                    }
                };
                self.release();
                return result;
            }
            if let Some(permit) = flight.permit.take() {
                permit.settle(Fate::Uncounted);
            }
        }
        let mut state = self.room.all().lock();
        if let Some(failure) = state.gate.refuses(self.last) {
            let failure = failure.clone();
            drop(state);
            self.release();
            return Err(failure);
        }
        let counted = state.gate.refused.is_none();
        state.used -= self.held;
        state.charge(bytes);
        let generation = state.ledger.accept();
        // A record smaller than the quantum may leave room for the next in line.
        let granted = if bytes < self.held && !state.waiters.is_empty() {
            self.room.all().grant(&mut state)
        } else {
            Vec::new()
        };
        drop(state);
        self.held = 0;
        granted.iter().for_each(|waiter| waiter.wake());
        flight.permit = Some(Permit {
            room: self.room.share(),
            bytes,
            generation,
            counted,
            settled: false,
        });
        Ok(())
    }

    /// Gives back what was reserved, or the place in the line.
    fn release(&mut self) {
        if self.held == 0 && self.waiter.is_none() {
            return;
        }
        let granted = {
            let mut state = self.room.all().lock();
            if let Some(waiter) = self.waiter.take() {
                if waiter.granted.load(Ordering::Acquire) {
                    self.held = self.room.all().quantum();
                } else {
                    state.waiters.retain(|other| !Arc::ptr_eq(other, &waiter));
                }
            }
            state.used -= std::mem::take(&mut self.held);
            self.room.all().grant(&mut state)
        };
        granted.iter().for_each(|waiter| waiter.wake());
    }
}

impl Clone for Reservation {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(self.room.all()), self.last)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

pub(super) struct Waiter {
    pub(super) granted: AtomicBool,
    pub(super) waker: Mutex<Waker>,
}

impl Waiter {
    pub(super) fn wake(&self) {
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        wake(waker);
    }
}

//! Room in the buffer: a fair semaphore of bytes, and the ledger of what is outstanding.

mod acks;
mod ledger;
mod reservation;
mod waiting;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use crate::{
    Failure,
    sync::{Mutex, MutexGuard},
};

pub use self::{
    acks::Acks,
    ledger::Totals,
    reservation::Reservation,
    waiting::{Closing, Flushed},
};
pub(crate) use self::{acks::Permit, ledger::Fate};
use self::{
    ledger::{Ledger, Returned},
    reservation::Waiter,
    waiting::{Listeners, wake_all},
};

/// What a ready handle holds before the record's size is known. Small enough that idle handles cost little, large
/// enough that most records need no more.
const QUANTUM: usize = 1024;

/// The buffer of an engine (`buffer.memory`): who may send, in the order of asking, and what is outstanding.
///
/// A handle's [`Reservation`] waits in arrival order for a quantum; the record's true size is charged when it comes, and
/// may overdraw the room by that one record. Check-then-charge with a wake-up for all overshot a buffer of 10 KB to
/// 391 KB and polled 350 times a record; this asks once and overshoots by at most a record a ready handle.
pub struct Room {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    high_water: usize,
    waiters: VecDeque<Arc<Waiter>>,
    ledger: Ledger,
    gate: Gate,
    listeners: Listeners,
}

/// Who may come in.
#[derive(Default)]
struct Gate {
    /// Why new records are refused, once they are.
    refused: Option<Failure>,
    /// Records that were accepted may not be sent again either.
    abandoned: bool,
}

impl Gate {
    /// Why this record is refused, if it is.
    fn refuses(&self, last: bool) -> Option<&Failure> {
        self.refused.as_ref().filter(|_| self.abandoned || !last)
    }
}

impl Room {
    /// Room for this many bytes.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            state: Mutex::default(),
        })
    }

    /// A handle's way in; it reserves nothing yet.
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation::new(Arc::clone(self), false)
    }

    /// A way in for what is said last, as the reports about all other records: it stays open after
    /// [`refuse`](Self::refuse), until [`abandon`](Self::abandon). What comes in then is waited for, but in no
    /// [`totals`](Self::totals): those are of the records that were there before.
    pub fn last_reservation(self: &Arc<Self>) -> Reservation {
        Reservation::new(Arc::clone(self), true)
    }

    /// Bytes in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes in use, reservations included. May exceed the capacity by one record a ready handle.
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// The most bytes that were in use at any time.
    pub fn high_water(&self) -> usize {
        self.lock().high_water
    }

    /// Records that were accepted and have no final outcome yet, those in a recoverer's hands included. A caller can be
    /// woken a moment before its record leaves this count: room is given back once a batch.
    pub fn outstanding(&self) -> usize {
        self.lock().ledger.generations.iter().sum()
    }

    /// The ends of all records so far.
    pub fn totals(&self) -> Totals {
        self.lock().ledger.totals
    }

    /// Refuses new records from now on; who waits for room is told at once. Records that were accepted may still be
    /// sent again by a recoverer. The first failure stays.
    pub fn refuse(&self, failure: Failure) {
        let waiters = {
            let mut state = self.lock();
            state.gate.refused.get_or_insert(failure);
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.wake();
        }
    }

    /// Why new records are refused, if they are.
    pub fn refused(&self) -> Option<Failure> {
        self.lock().gate.refused.clone()
    }

    /// Ends the time for sending again: recoverers that hold records are told to give up.
    pub fn abandon(&self) {
        let wakers = {
            let mut state = self.lock();
            state.gate.abandoned = true;
            std::mem::take(&mut state.listeners.closings)
        };
        wake_all(wakers);
    }

    /// Resolves when every record accepted before this call has its final outcome.
    pub fn flushed(self: &Arc<Self>) -> Flushed {
        let generation = self.lock().ledger.next_generation();
        Flushed {
            room: Arc::clone(self),
            generation,
            key: None,
        }
    }

    /// Resolves when recoverers shall give up what they hold: after [`abandon`](Self::abandon).
    pub(crate) fn closing(self: &Arc<Self>) -> Closing {
        Closing {
            room: Some(Arc::clone(self)),
            key: None,
        }
    }

    fn give_back(&self, returned: &Returned) {
        if returned.bytes == 0 && returned.records == 0 {
            return;
        }
        let (granted, flushed) = {
            let mut state = self.lock();
            state.used -= returned.bytes;
            let ended = state.ledger.settle(returned);
            let flushed = if ended && !state.listeners.flushes.is_empty() {
                std::mem::take(&mut state.listeners.flushes)
            } else {
                HashMap::new()
            };
            (self.grant(&mut state), flushed)
        };
        // Outside of the lock: a waker is somebody else's code.
        granted.iter().for_each(|waiter| waiter.wake());
        wake_all(flushed);
    }

    /// Gives free room to who waits longest.
    fn grant(&self, state: &mut State) -> Vec<Arc<Waiter>> {
        let mut granted = Vec::new();
        while !state.waiters.is_empty() && state.used + self.quantum() <= self.capacity {
            let Some(waiter) = state.waiters.pop_front() else {
                break;
            };
            state.charge(self.quantum());
            waiter.granted.store(true, Ordering::Release);
            granted.push(waiter);
        }
        granted
    }

    fn quantum(&self) -> usize {
        QUANTUM.min(self.capacity)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("capacity", &self.capacity)
            .field("used", &self.used())
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}

impl State {
    fn charge(&mut self, bytes: usize) {
        self.used += bytes;
        self.high_water = self.high_water.max(self.used);
    }
}

//! Room in the buffer: a fair semaphore of bytes, and the ledger of what is outstanding.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::{Failure, Flight, Persistence, Placed, SendError, Snapshot, View, flight::guarded};

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

/// The records that were accepted and are not settled, by the flush that waits for them.
#[derive(Default)]
struct Ledger {
    /// Outstanding records of each generation; a flush begins a new one. The last is the current one.
    generations: VecDeque<usize>,
    /// The number of the first of them.
    first: u64,
    totals: Totals,
}

/// How many records of this engine had which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Acknowledged (with `acks=0`: sent).
    pub delivered: u64,
    /// Failed, and not in the topic.
    pub not_persisted: u64,
    /// Failed, and possibly in the topic.
    pub unknown: u64,
}

impl Totals {
    /// All that ended.
    pub fn settled(&self) -> u64 {
        self.delivered + self.not_persisted + self.unknown
    }
}

impl std::ops::Sub for Totals {
    type Output = Totals;

    fn sub(self, earlier: Totals) -> Totals {
        Totals {
            delivered: self.delivered - earlier.delivered,
            not_persisted: self.not_persisted - earlier.not_persisted,
            unknown: self.unknown - earlier.unknown,
        }
    }
}

/// How a record's stay in the room ends.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Delivered,
    NotPersisted,
    Unknown,
    /// Another engine takes the record over.
    Moved,
}

impl From<Persistence> for Fate {
    fn from(persistence: Persistence) -> Self {
        match persistence {
            Persistence::NotPersisted => Fate::NotPersisted,
            Persistence::Unknown => Fate::Unknown,
        }
    }
}

struct Waiter {
    granted: AtomicBool,
    waker: Mutex<Waker>,
}

/// Wakers by key, so that a dropped future can take its own away.
#[derive(Default)]
struct Listeners {
    next: u64,
    flushes: HashMap<u64, Waker>,
    closings: HashMap<u64, Waker>,
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
        Reservation {
            room: Arc::clone(self),
            waiter: None,
            held: 0,
        }
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

impl Waiter {
    fn wake(&self) {
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        wake(waker);
    }
}

/// Wakes somebody, whose panic shall keep nobody else asleep.
fn wake(waker: Waker) {
    guarded(|| waker.wake());
}

fn wake_all(wakers: HashMap<u64, Waker>) {
    wakers.into_values().for_each(wake);
}

// === impl Ledger ===

impl Ledger {
    /// Writes a record down and says in which generation.
    fn accept(&mut self) -> u64 {
        if self.generations.is_empty() {
            self.generations.push_back(0);
        }
        if let Some(current) = self.generations.back_mut() {
            *current += 1;
        }
        self.first + self.generations.len() as u64 - 1
    }

    /// Ends the current generation and says which it was.
    fn next_generation(&mut self) -> u64 {
        if self.generations.is_empty() {
            self.generations.push_back(0);
        }
        let ended = self.first + self.generations.len() as u64 - 1;
        self.generations.push_back(0);
        self.forget_settled();
        ended
    }

    /// Strikes records off; true if a generation came to its end.
    fn settle(&mut self, returned: &Returned) -> bool {
        self.totals.delivered += returned.delivered;
        self.totals.not_persisted += returned.not_persisted;
        self.totals.unknown += returned.unknown;
        let index = (returned.generation - self.first) as usize;
        self.generations[index] -= returned.records;
        let ended = self.generations[index] == 0;
        self.forget_settled();
        ended
    }

    fn forget_settled(&mut self) {
        while self.generations.len() > 1 && self.generations[0] == 0 {
            self.generations.pop_front();
            self.first += 1;
        }
    }

    fn is_settled(&self, generation: u64) -> bool {
        self.first > generation
    }
}

/// What settled records give back.
#[derive(Default)]
struct Returned {
    generation: u64,
    bytes: usize,
    records: usize,
    delivered: u64,
    not_persisted: u64,
    unknown: u64,
}

impl Returned {
    fn add(&mut self, bytes: usize, fate: Fate) {
        self.bytes += bytes;
        self.records += 1;
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::NotPersisted => self.not_persisted += 1,
            Fate::Unknown => self.unknown += 1,
            Fate::Moved => {}
        }
    }
}

/// A record's room, from its acceptance to its final outcome.
pub(crate) struct Permit {
    room: Arc<Room>,
    bytes: usize,
    generation: u64,
    settled: bool,
}

impl Permit {
    pub(crate) fn settle(mut self, fate: Fate) {
        self.end(fate);
    }

    pub(crate) fn closing(&self) -> Closing {
        self.room.closing()
    }

    fn end(&mut self, fate: Fate) {
        self.settled = true;
        let mut returned = Returned {
            generation: self.generation,
            ..Returned::default()
        };
        returned.add(self.bytes, fate);
        self.room.give_back(&returned);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.end(Fate::Unknown);
        }
    }
}

/// A handle's place in the line for room, and what it holds once it is ready.
///
/// An engine polls it in `poll_ready` and admits the record with it in `call`. What it holds is given back on drop; a
/// clone holds nothing.
pub struct Reservation {
    room: Arc<Room>,
    waiter: Option<Arc<Waiter>>,
    held: usize,
}

impl Reservation {
    /// The room it is for.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Waits for room, in the order of asking.
    ///
    /// # Errors
    /// What [`Room::refuse`] was told, at once and for good.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let mut state = self.room.lock();
        if let Some(failure) = &state.gate.refused {
            let failure = failure.clone();
            drop(state);
            self.release();
            return Poll::Ready(Err(SendError::new(failure)));
        }
        if self.held > 0 {
            return Poll::Ready(Ok(()));
        }
        let quantum = self.room.quantum();
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
        if state.waiters.is_empty() && state.used + quantum <= self.room.capacity {
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
            if Arc::ptr_eq(&permit.room, &self.room) {
                let result = {
                    let state = self.room.lock();
                    match &state.gate.refused {
                        Some(failure) if state.gate.abandoned => Err(failure.clone()),
                        _ => Ok(()),
                    }
                };
                self.release();
                return result;
            }
            if let Some(permit) = flight.permit.take() {
                permit.settle(Fate::Moved);
            }
        }
        let mut state = self.room.lock();
        if let Some(failure) = &state.gate.refused {
            let failure = failure.clone();
            drop(state);
            self.release();
            return Err(failure);
        }
        state.used -= self.held;
        state.charge(bytes);
        let generation = state.ledger.accept();
        // A record smaller than the quantum may leave room for the next in line.
        let granted = if bytes < self.held && !state.waiters.is_empty() {
            self.room.grant(&mut state)
        } else {
            Vec::new()
        };
        drop(state);
        self.held = 0;
        granted.iter().for_each(|waiter| waiter.wake());
        flight.permit = Some(Permit {
            room: Arc::clone(&self.room),
            bytes,
            generation,
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
            let mut state = self.room.lock();
            if let Some(waiter) = self.waiter.take() {
                if waiter.granted.load(Ordering::Acquire) {
                    self.held = self.room.quantum();
                } else {
                    state.waiters.retain(|other| !Arc::ptr_eq(other, &waiter));
                }
            }
            state.used -= std::mem::take(&mut self.held);
            self.room.grant(&mut state)
        };
        granted.iter().for_each(|waiter| waiter.wake());
    }
}

impl Clone for Reservation {
    fn clone(&self) -> Self {
        self.room.reservation()
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

/// The acknowledgements of one batch: settles records and gives their room back at the end, all at once.
///
/// An engine makes one for each batch of answers, with the time of the batch, and must hold no lock while it uses it:
/// hooks, recoverers, callbacks and wakers run inside.
pub struct Acks<'r> {
    room: &'r Arc<Room>,
    at: Instant,
    returned: Returned,
}

impl<'r> Acks<'r> {
    /// A batch that was acknowledged at this time.
    pub fn new(room: &'r Arc<Room>, at: Instant) -> Self {
        Self {
            room,
            at,
            returned: Returned::default(),
        }
    }

    /// Settles a record as delivered.
    pub fn delivered(&mut self, mut flight: Flight, placed: Placed, record: &View<'_>) {
        let permit = flight.deliver(placed, record, self.at);
        self.take_back(permit, Fate::Delivered);
    }

    /// Settles a record as failed, unless a recoverer keeps it.
    pub fn failed(&mut self, flight: Flight, failure: Failure, record: impl Snapshot) {
        let fate = Fate::from(failure.persistence());
        let permit = flight.unwind_failed(failure, record, self.at);
        self.take_back(permit, fate);
    }

    fn take_back(&mut self, permit: Option<Permit>, fate: Fate) {
        let Some(mut permit) = permit else { return };
        if !Arc::ptr_eq(&permit.room, self.room) {
            return permit.settle(fate);
        }
        if self.returned.records > 0 && self.returned.generation != permit.generation {
            self.room.give_back(&std::mem::take(&mut self.returned));
        }
        self.returned.generation = permit.generation;
        self.returned.add(permit.bytes, fate);
        permit.settled = true;
    }
}

impl Drop for Acks<'_> {
    fn drop(&mut self) {
        self.room.give_back(&self.returned);
    }
}

impl fmt::Debug for Acks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acks")
    }
}

/// See [`Room::flushed`].
#[must_use = "a flush does nothing unless it is awaited"]
pub struct Flushed {
    room: Arc<Room>,
    generation: u64,
    key: Option<u64>,
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
    room: Option<Arc<Room>>,
    key: Option<u64>,
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

impl Listeners {
    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

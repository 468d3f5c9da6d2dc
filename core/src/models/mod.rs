//! What threads do to each other in the completion slot, the room, the unwinding of hooks and the lots of references:
//! each model is run in **every order that its threads can take**, and says above it what holds in all of them.
//!
//! `scripts/models` runs them. A test with real threads meets the few orders that a machine happens to take; most lost
//! wake-ups are not among them.
//!
//! # Why loom
//! Everything here is a lock with little behind it, so the models are small enough for [loom](https://docs.rs/loom) to
//! look through to the end, which a scheduler that chooses at random (shuttle's) never can; and a weaker ordering of an
//! atomic, should one ever matter, is seen too. What is too large for it, whole stacks over an engine, has its property
//! test in `tests/interleavings`.
//!
//! # How
//! Under `cfg(all(test, loom))` the locks and atomics of `sync.rs` are loom's. No other build knows of it: not the
//! library that users build, nor their `--cfg loom`. A thread that sleeps for ever is a deadlock, which loom reports with
//! the state of all threads; `LOOM_LOG=1` shows how it came to that.
//!
//! # What they do not see
//! `Arc` stays std's, since only that can be a receiver (`self: &Arc<Self>`). So orders that differ in nothing but who
//! lets go of a reference first are one to loom, unless the model marks the places ([`Turns`]). And a model must do the
//! same again in the same order, which a hash map of two wakers does not: no model has two flushes.

mod hooks;
mod room;
mod shares;
mod slot;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use loom::sync::Notify;

use crate::{
    Acks, Delivery, Failure, Flight, Outcome, Persistence, Placed, Record, Reservation, Room,
    Slots, hooks_panicked,
};

/// Runs a model in all orders.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    loom::model({
        let orders = Arc::clone(&orders);
        move || {
            orders.fetch_add(1, Ordering::Relaxed);
            model();
        }
    });
    let orders = orders.load(Ordering::Relaxed);
    assert!(orders > 1, "nothing in this model meets anything");
    // A deadlock within a hook or a waker would be caught as its panic.
    assert_eq!(hooks_panicked(), 0);
    println!("{name}: {orders} orders");
}

/// Waits as a task does: sleeps until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        bell.0.wait();
    }
}

#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for room.
fn ready(reservation: &mut Reservation) -> Result<(), crate::SendError> {
    block_on(std::future::poll_fn(|cx| reservation.poll(cx)))
}

/// A handle to an engine, with what every engine does in `call`.
struct Handle {
    reservation: Reservation,
    slots: Slots,
}

impl Handle {
    fn to(room: &Arc<Room>) -> Self {
        Self {
            reservation: room.reservation(),
            slots: Slots::default(),
        }
    }

    /// The caller's future, and what the engine keeps.
    fn call(&mut self, mut record: Record, bytes: usize) -> (Delivery, InFlight) {
        let mut flight = record.take_flight();
        let delivery = flight.depart(&mut self.slots);
        self.reservation
            .admit(&mut flight, bytes)
            .expect("the room takes records");
        (delivery, InFlight { flight, record })
    }
}

/// A record in the engine.
struct InFlight {
    flight: Flight,
    record: Record,
}

impl InFlight {
    fn deliver(mut self, room: &Arc<Room>) {
        Acks::new(room, Instant::now()).delivered(&mut self.flight, PLACED, self.record);
    }

    fn fail(self, room: &Arc<Room>, failure: Failure) {
        Acks::new(room, Instant::now()).failed(self.flight, failure, self.record);
    }
}

const PLACED: Placed = Placed {
    partition: 0,
    offset: Some(7),
    timestamp: None,
};

/// What was heard, in order. Std's lock: to listen adds no orders.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Leaves a hook that notes its outcome.
    fn hook(&self, name: &'static str, record: &mut Record) {
        let log = self.clone();
        record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
            log.note(format!("{name}: {}", end(outcome.result)));
        }));
    }
}

/// The one word for an end.
fn end<T>(result: Result<T, &Failure>) -> &'static str {
    match result.map_err(Failure::persistence) {
        Ok(_) => "delivered",
        Err(Persistence::NotPersisted) => "not persisted",
        Err(Persistence::Unknown) => "unknown",
    }
}

/// How many records' memory was freed.
#[derive(Clone, Default)]
struct Freed(Arc<AtomicUsize>);

impl Freed {
    /// A record that counts here when its value is freed.
    fn record(&self) -> Record {
        Record::new("t").value(Bytes::from_owner(Value(self.clone())))
    }

    fn records(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Value(Freed);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        b"value"
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Marks places whose order matters although loom sees nothing there (what `Arc`s do): all orders of them are run.
#[derive(Clone)]
struct Turns(Arc<loom::sync::atomic::AtomicUsize>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(loom::sync::atomic::AtomicUsize::new(0)))
    }
}

impl Turns {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

//! Room: fair, bounded, and all of it comes back.

use std::{
    collections::VecDeque,
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use franking_core::{
    Acks, Code, Failure, Flight, Flushed, Parts, Persistence, Placed, Record, Reservation, Room,
    Slots,
    testing::{Scripted, block_on},
};
use proptest::prelude::*;
use tower_service::Service;

const CAPACITY: usize = 4096;
/// What a ready handle holds, as the docs of the room say.
const QUANTUM: usize = 1024;
const HANDLES: usize = 4;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Poll(usize),
    Call(usize, usize),
    Drop(usize),
    Clone(usize, usize),
    Settle(usize, bool),
    Flush,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..HANDLES).prop_map(Op::Poll),
        4 => (0..HANDLES, 0..3000usize).prop_map(|(handle, bytes)| Op::Call(handle, bytes)),
        1 => (0..HANDLES).prop_map(Op::Drop),
        1 => (0..HANDLES, 0..HANDLES).prop_map(|(from, to)| Op::Clone(from, to)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, ok)| Op::Settle(which, ok)),
        1 => Just(Op::Flush),
    ];
    proptest::collection::vec(op, 0..120)
}

/// The room as a plain list of numbers.
#[derive(Default)]
struct Model {
    used: usize,
    line: VecDeque<usize>,
    handles: [Place; HANDLES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Idle,
    Waiting,
    /// It has room, and was not polled since.
    Granted,
    Ready,
}

impl Model {
    fn grant(&mut self) {
        while self.used + QUANTUM <= CAPACITY {
            let Some(handle) = self.line.pop_front() else {
                return;
            };
            self.used += QUANTUM;
            self.handles[handle] = Place::Granted;
        }
    }

    fn poll(&mut self, handle: usize) -> bool {
        match self.handles[handle] {
            Place::Idle if self.line.is_empty() && self.used + QUANTUM <= CAPACITY => {
                self.used += QUANTUM;
                self.handles[handle] = Place::Ready;
            }
            Place::Idle => {
                self.line.push_back(handle);
                self.handles[handle] = Place::Waiting;
            }
            Place::Granted => self.handles[handle] = Place::Ready,
            Place::Waiting | Place::Ready => {}
        }
        self.handles[handle] == Place::Ready
    }

    fn leave(&mut self, handle: usize) {
        match std::mem::take(&mut self.handles[handle]) {
            Place::Granted | Place::Ready => self.used -= QUANTUM,
            Place::Waiting => self.line.retain(|other| *other != handle),
            Place::Idle => {}
        }
        self.grant();
    }
}

struct Outstanding {
    flight: Flight,
    bytes: usize,
    number: usize,
}

fn settle(room: &Arc<Room>, mut flight: Flight, ok: bool) {
    let mut acks = Acks::new(room, Instant::now());
    let placed = Placed {
        partition: 0,
        offset: None,
        timestamp: None,
    };
    match ok {
        true => acks.delivered(&mut flight, placed, Parts::default()),
        false => {
            let failure = Failure::new(Code::TimedOut).with_persistence(Persistence::Unknown);
            acks.failed(flight, failure, Parts::default());
        }
    }
}

proptest! {
    /// Against the model: who is ready, what is used, who is woken, which flush is over.
    #[test]
    fn behaves_like_the_model(ops in ops()) {
        let room = Room::new(CAPACITY);
        let mut model = Model::default();
        let mut handles: Vec<Reservation> = (0..HANDLES).map(|_| room.reservation()).collect();
        let mut woken: Vec<Arc<Woken>> = (0..HANDLES).map(|_| Arc::default()).collect();
        let mut slots = Slots::default();
        let mut outstanding: Vec<Outstanding> = Vec::new();
        let mut flushes: Vec<(usize, Pin<Box<Flushed>>)> = Vec::new();
        let (mut accepted, mut delivered, mut unknown) = (0, 0, 0);
        for op in ops {
            match op {
                Op::Poll(handle) => {
                    woken[handle] = Arc::default();
                    let waker = Waker::from(Arc::clone(&woken[handle]));
                    let polled = handles[handle].poll(&mut Context::from_waker(&waker));
                    prop_assert_eq!(polled.is_ready(), model.poll(handle));
                }
                Op::Call(handle, bytes) => {
                    if model.handles[handle] != Place::Ready {
                        continue;
                    }
                    let mut flight = Flight::default();
                    drop(flight.depart(&mut slots));
                    handles[handle].admit(&mut flight, bytes).unwrap();
                    model.handles[handle] = Place::Idle;
                    model.used = model.used - QUANTUM + bytes;
                    model.grant();
                    outstanding.push(Outstanding { flight, bytes, number: accepted });
                    accepted += 1;
                }
                Op::Drop(handle) => {
                    handles[handle] = room.reservation();
                    model.leave(handle);
                }
                Op::Clone(from, to) if from != to => {
                    handles[to] = handles[from].clone();
                    model.leave(to);
                }
                Op::Clone(..) => {}
                Op::Settle(which, ok) => {
                    if outstanding.is_empty() {
                        continue;
                    }
                    let settled = outstanding.swap_remove(which % outstanding.len());
                    settle(&room, settled.flight, ok);
                    *(if ok { &mut delivered } else { &mut unknown }) += 1;
                    model.used -= settled.bytes;
                    model.grant();
                }
                Op::Flush => flushes.push((accepted, Box::pin(room.flushed()))),
            }
            prop_assert_eq!(room.used(), model.used);
            prop_assert_eq!(room.outstanding(), outstanding.len());
            for (handle, place) in model.handles.iter().enumerate() {
                if *place == Place::Granted {
                    prop_assert!(woken[handle].0.load(Ordering::SeqCst), "who got room was not woken");
                }
            }
            let mut pending = Vec::new();
            for (before, mut flushed) in flushes.drain(..) {
                let over = outstanding.iter().all(|record| record.number >= before);
                let polled = flushed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                prop_assert_eq!(polled.is_ready(), over);
                if !over {
                    pending.push((before, flushed));
                }
            }
            flushes = pending;
        }
        // Overdrawn by one record a ready handle at most.
        prop_assert!(room.high_water() <= CAPACITY + HANDLES * 3000);
        let totals = room.totals();
        prop_assert_eq!((totals.delivered, totals.unknown), (delivered, unknown));
        drop(handles);
        for record in outstanding {
            settle(&room, record.flight, true);
        }
        prop_assert_eq!((room.used(), room.outstanding()), (0, 0));
        for (_, mut flushed) in flushes {
            prop_assert!(flushed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    }
}

fn poll(handle: &mut Reservation, waker: &Waker) -> Poll<Result<(), Code>> {
    let polled = handle.poll(&mut Context::from_waker(waker));
    polled.map_err(|error| error.code().clone())
}

#[test]
fn a_record_larger_than_all_room_goes_alone() {
    let room = Room::new(100);
    let mut handle = room.reservation();
    assert!(poll(&mut handle, Waker::noop()).is_ready());
    assert_eq!(room.used(), 100, "no quantum is larger than the room");
    let mut flight = Flight::default();
    handle.admit(&mut flight, 5000).unwrap();
    let mut other = room.reservation();
    assert!(poll(&mut other, Waker::noop()).is_pending());
    settle(&room, flight, true);
    assert!(poll(&mut other, Waker::noop()).is_ready());
}

#[test]
fn a_refusal_reaches_everybody_at_once_and_for_good() {
    let room = Room::new(1024);
    let (mut ready, mut waiting, mut idle) =
        (room.reservation(), room.reservation(), room.reservation());
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut ready, Waker::noop()).is_ready());
    assert!(poll(&mut waiting, &Waker::from(Arc::clone(&woken))).is_pending());
    room.refuse(Failure::new(Code::Fatal));
    room.refuse(Failure::new(Code::Closed));
    assert!(woken.0.load(Ordering::SeqCst));
    for handle in [&mut ready, &mut waiting, &mut idle] {
        for _ in 0..2 {
            assert_eq!(poll(handle, Waker::noop()), Poll::Ready(Err(Code::Fatal)));
        }
        let failure = handle.admit(&mut Flight::default(), 10).unwrap_err();
        assert_eq!(*failure.code(), Code::Fatal, "the first refusal stays");
    }
    assert_eq!(room.used(), 0);
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new("waker"));
    }
}

#[test]
fn a_panicking_waker_keeps_nobody_asleep() {
    let room = Room::new(2048);
    let mut holder = room.reservation();
    assert!(poll(&mut holder, Waker::noop()).is_ready());
    let mut flight = Flight::default();
    holder.admit(&mut flight, 2048).unwrap();
    let (mut first, mut second) = (room.reservation(), room.reservation());
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut first, &Waker::from(Arc::new(Panics))).is_pending());
    assert!(poll(&mut second, &Waker::from(Arc::clone(&woken))).is_pending());
    let mut flushed = Box::pin(room.flushed());
    let waker = Waker::from(Arc::new(Panics));
    assert!(
        flushed
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    settle(&room, flight, true);
    assert!(woken.0.load(Ordering::SeqCst));
}

#[test]
fn a_dropped_flush_is_forgotten() {
    let room = Room::new(1024);
    let mut flight = Flight::default();
    room.reservation().admit(&mut flight, 10).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut flushed = Box::pin(room.flushed());
    assert!(
        flushed
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(flushed);
    drop(waker);
    assert_eq!(Arc::strong_count(&woken), 1);
    settle(&room, flight, true);
    assert!(!woken.0.load(Ordering::SeqCst));
}

#[test]
fn many_threads_share_little_room() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    const SIZE: usize = 1500;
    let engine = Scripted::with_room(4096);
    let sent = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut handle = engine.clone();
                for _ in 0..EACH {
                    let ready = std::future::poll_fn(|cx| handle.poll_ready(cx));
                    block_on(ready, Duration::from_secs(10))
                        .expect("room within 10 s")
                        .unwrap();
                    drop(handle.call(Record::new("t").value(vec![0; SIZE])));
                    *sent.lock().unwrap() += 1;
                }
            });
        }
    });
    assert_eq!(*sent.lock().unwrap(), THREADS * EACH);
    assert_eq!(engine.stored().len(), THREADS * EACH);
    assert_eq!((engine.room().used(), engine.room().outstanding()), (0, 0));
    assert!(engine.room().high_water() <= 4096 + THREADS * (SIZE + 100));
}

#[test]
fn what_is_said_last_comes_in_until_the_end_and_is_in_no_total() {
    let room = Room::new(CAPACITY);
    let (mut plain, mut last) = (room.reservation(), room.last_reservation());
    let mut cx = Context::from_waker(Waker::noop());
    let mut admit = |way: &mut Reservation| {
        let Poll::Ready(ready) = way.poll(&mut cx) else {
            panic!("there is room");
        };
        ready.map_err(|error| error.failure().clone())?;
        let mut flight = Flight::default();
        way.admit(&mut flight, 10).map(|()| flight)
    };
    let settle = |mut flight: Flight| {
        let placed = Placed {
            partition: 0,
            offset: None,
            timestamp: None,
        };
        Acks::new(&room, Instant::now()).delivered(&mut flight, placed, Parts::default());
    };
    // As any other, as long as others come in.
    settle(admit(&mut plain).unwrap());
    settle(admit(&mut last).unwrap());
    assert_eq!(room.totals().delivered, 2);

    room.refuse(Failure::new(Code::Closed));
    assert_eq!(*admit(&mut plain).err().unwrap().code(), Code::Closed);
    let mut clone = last.clone();
    let (one, other) = (admit(&mut last).unwrap(), admit(&mut clone).unwrap());
    assert_eq!(room.outstanding(), 2);
    settle(one);
    drop(other);
    assert_eq!((room.outstanding(), room.used()), (0, 0));
    assert_eq!(room.totals().settled(), 2);

    room.abandon();
    assert_eq!(*admit(&mut last).err().unwrap().code(), Code::Closed);
    drop((plain, last, clone));
    assert_eq!(room.used(), 0);
}

fn admitted(reservation: &mut Reservation, bytes: usize) -> Flight {
    let mut context = Context::from_waker(Waker::noop());
    assert!(reservation.poll(&mut context).is_ready());
    let mut flight = Record::new("t").take_flight();
    reservation.admit(&mut flight, bytes).unwrap();
    flight
}

#[test]
fn a_record_without_bytes_is_one_too() {
    let room = Room::new(CAPACITY);
    let flight = admitted(&mut room.reservation(), 0);
    assert_eq!((room.used(), room.outstanding()), (0, 1));
    settle(&room, flight, true);
    assert_eq!((room.outstanding(), room.totals().delivered), (0, 1));
    assert_eq!((room.capacity(), room.high_water()), (CAPACITY, QUANTUM));
}

#[test]
fn a_batch_of_nothing_gives_nothing_back() {
    let room = Room::new(CAPACITY);
    drop(Acks::new(&room, Instant::now()));
    settle(&room, admitted(&mut room.reservation(), 10), true);
    block_on(room.flushed(), Duration::ZERO).unwrap();
    drop(Acks::new(&room, Instant::now()));
    assert_eq!(
        (room.used(), room.outstanding(), room.totals().settled()),
        (0, 0, 1)
    );
}

#[test]
fn a_flush_is_woken_once_and_at_its_end() {
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let flights = [10, 20].map(|bytes| admitted(&mut way_in, bytes));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut flush = Box::pin(room.flushed());
    let mut poll = || flush.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    let [first, second] = flights;
    settle(&room, first, true);
    assert!(!woken.0.load(Ordering::SeqCst), "one is left");
    assert!(poll().is_pending());
    settle(&room, second, true);
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(poll().is_ready());
}

#[test]
fn a_flush_waits_for_those_before_it_and_no_others() {
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let [mut one, two] = [1, 1].map(|bytes| admitted(&mut way_in, bytes));
    let mut flush = Box::pin(room.flushed());
    let mut is_over = || {
        let mut context = Context::from_waker(Waker::noop());
        flush.as_mut().poll(&mut context).is_ready()
    };
    let [mut later, last] = [1, 1].map(|bytes| admitted(&mut way_in, bytes));
    let placed = Placed {
        partition: 0,
        offset: None,
        timestamp: None,
    };
    // In one batch with one from before.
    let mut acks = Acks::new(&room, Instant::now());
    acks.delivered(&mut one, placed, Parts::default());
    acks.delivered(&mut later, placed, Parts::default());
    drop(acks);
    assert!(!is_over());
    assert_eq!(room.outstanding(), 2);
    // And by itself.
    drop(last);
    assert!(!is_over());
    drop(two);
    assert!(is_over());
    assert_eq!((room.used(), room.outstanding()), (0, 0));
    assert_eq!(room.totals().settled(), 4);
}

#[test]
fn totals_are_counted_by_their_ends() {
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let before = room.totals();
    for ok in [true, true, false] {
        settle(&room, admitted(&mut way_in, 1), ok);
    }
    drop(admitted(&mut way_in, 1));
    let mut acks = Acks::new(&room, Instant::now());
    let failure = Failure::new(Code::NoRoom);
    acks.failed(admitted(&mut way_in, 1), failure, Parts::default());
    drop(acks);
    let now = room.totals();
    assert_eq!((now.delivered, now.not_persisted, now.unknown), (2, 1, 2));
    assert_eq!(
        (
            now.settled(),
            (now - before).settled(),
            (now - now).settled()
        ),
        (5, 5, 0)
    );
}

#[test]
fn what_is_refused_is_refused_with_the_first_reason() {
    let room = Room::new(CAPACITY);
    assert!(room.refused().is_none());
    room.refuse(Failure::new(Code::Closed));
    room.refuse(Failure::new(Code::Fatal));
    assert_eq!(
        room.refused().map(|failure| failure.code().clone()),
        Some(Code::Closed)
    );
}

#[test]
fn each_of_several_flushes_is_woken() {
    let room = Room::new(CAPACITY);
    let flight = admitted(&mut room.reservation(), 1);
    let woken = [(); 3].map(|()| Arc::new(Woken::default()));
    let mut flushes = [(); 3].map(|()| Box::pin(room.flushed()));
    for (flush, woken) in flushes.iter_mut().zip(&woken) {
        let waker = Waker::from(Arc::clone(woken));
        let polled = flush.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    settle(&room, flight, true);
    assert!(woken.iter().all(|woken| woken.0.load(Ordering::SeqCst)));
}

#[test]
fn who_has_room_may_send_again_until_the_end() {
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let mut flight = admitted(&mut way_in, 10);
    // A resend, before and after new records are refused.
    assert!(way_in.admit(&mut flight, 10).is_ok());
    room.refuse(Failure::new(Code::Closed));
    assert!(way_in.admit(&mut flight, 10).is_ok());
    assert_eq!((room.used(), room.outstanding()), (10, 1));
    room.abandon();
    let refused = way_in.admit(&mut flight, 10).unwrap_err();
    assert_eq!(*refused.code(), Code::Closed);
    drop(flight);
    assert_eq!((room.used(), room.outstanding()), (0, 0));

    // Given up, but open: there is no reason to refuse.
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let mut flight = admitted(&mut way_in, 10);
    room.abandon();
    assert!(way_in.admit(&mut flight, 10).is_ok());
}

#[test]
fn debug_says_how_full_it_is() {
    let room = Room::new(CAPACITY);
    let mut way_in = room.reservation();
    let _flight = admitted(&mut way_in, 10);
    assert_eq!(
        format!("{room:?}"),
        "Room { capacity: 4096, used: 10, outstanding: 1, .. }"
    );
    assert_eq!(format!("{way_in:?}"), "Reservation { held: 0, .. }");
    assert_eq!(format!("{:?}", room.flushed()), "Flushed");
    assert_eq!(format!("{:?}", Acks::new(&room, Instant::now())), "Acks");
}

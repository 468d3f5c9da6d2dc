//! Room: nobody sleeps while there is some, none of it is lost, and who asked first gets it first.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Instant,
};

use loom::thread::{self, JoinHandle};

use super::{Bell, Freed, Handle, InFlight, Log, block_on, explore, poll_once, ready};
use crate::{Acks, Code, Failure, Record, Reservation, Room};

/// What a ready handle holds.
const QUANTUM: usize = 1024;

/// A room that one record fills.
fn full() -> (Arc<Room>, InFlight) {
    let room = Room::new(QUANTUM);
    let in_flight = put(&room, QUANTUM);
    (room, in_flight)
}

fn put(room: &Arc<Room>, bytes: usize) -> InFlight {
    Handle::to(room).call(Record::new("t"), bytes).1
}

/// The engine's thread: acknowledges.
fn deliver(room: &Arc<Room>, in_flight: InFlight) -> JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || in_flight.deliver(&room))
}

/// One that asked for room, and is in the line.
fn in_line(room: &Arc<Room>) -> Reservation {
    let mut reservation = room.reservation();
    assert!(poll_once(&mut poll_fn(|cx| reservation.poll(cx))).is_pending());
    reservation
}

/// A thread that waits for room, says so, and gives it back unused.
fn waits(mut reservation: Reservation, log: &Log, name: &'static str) -> JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        ready(&mut reservation).unwrap();
        log.note(name);
    })
}

/// Who comes while the room is full, or is just getting free, is let in.
#[test]
fn who_waits_is_let_in() {
    explore("room, one waits", || {
        let (room, in_flight) = full();
        let engine = deliver(&room, in_flight);
        let mut reservation = room.reservation();
        ready(&mut reservation).unwrap();
        assert_eq!(room.used(), QUANTUM);
        drop(reservation);
        engine.join().unwrap();
        assert_eq!((room.used(), room.high_water()), (0, QUANTUM));
    });
}

/// Room goes from one to the next, in the order of asking, and is not given to two.
#[test]
fn first_come_first_served() {
    explore("room, two wait", || {
        let (room, in_flight) = full();
        let (first, second) = (in_line(&room), in_line(&room));
        let log = Log::default();
        // In another order than they asked.
        let second = waits(second, &log, "second");
        let first = waits(first, &log, "first");
        in_flight.deliver(&room);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(log.read(), ["first", "second"]);
        assert_eq!((room.used(), room.high_water()), (0, QUANTUM));
    });
}

/// One that gives up its place, granted in that moment or not, leaves the room to the next.
#[test]
fn who_gives_up_hands_on() {
    explore("room, the first gives up", || {
        let (room, in_flight) = full();
        let (first, second) = (in_line(&room), in_line(&room));
        let log = Log::default();
        let second = waits(second, &log, "second");
        let engine = deliver(&room, in_flight);
        drop(first);
        engine.join().unwrap();
        second.join().unwrap();
        assert_eq!((room.used(), room.high_water()), (0, QUANTUM));
    });
}

/// The same for one that sits further back, and for one that was let in and sends nothing.
#[test]
fn who_is_ready_and_sends_nothing_hands_on() {
    explore("room, the ready one gives up", || {
        let room = Room::new(QUANTUM);
        let mut holder = room.reservation();
        ready(&mut holder).unwrap();
        let (second, third) = (in_line(&room), in_line(&room));
        let log = Log::default();
        let third = waits(third, &log, "third");
        let dropped = thread::spawn(move || drop(second));
        drop(holder);
        dropped.join().unwrap();
        third.join().unwrap();
        assert_eq!((room.used(), room.high_water()), (0, QUANTUM));
    });
}

/// A record smaller than what was reserved lets the next in: nobody has to be acknowledged for it.
#[test]
fn a_small_record_lets_the_next_in() {
    explore("room, a small record", || {
        let room = Room::new(2 * QUANTUM);
        let large = put(&room, 900);
        let mut handle = Handle::to(&room);
        ready(&mut handle.reservation).unwrap();
        let waiting = in_line(&room);
        let log = Log::default();
        let waiting = waits(waiting, &log, "next");
        let small = handle.call(Record::new("t"), 10).1;
        waiting.join().unwrap();
        assert_eq!((room.used(), room.high_water()), (910, 910 + QUANTUM));
        small.deliver(&room);
        large.deliver(&room);
        assert_eq!(room.used(), 0);
    });
}

/// A clone of a ready handle has nothing: both cannot be ready in a room for one.
#[test]
fn a_clone_inherits_nothing() {
    explore("room, a clone", || {
        let room = Room::new(QUANTUM);
        let mut handle = room.reservation();
        ready(&mut handle).unwrap();
        let inside = Arc::new(AtomicUsize::new(1));
        let clone = thread::spawn({
            let (mut clone, inside) = (handle.clone(), Arc::clone(&inside));
            move || {
                ready(&mut clone).unwrap();
                assert_eq!(inside.load(Ordering::SeqCst), 0);
            }
        });
        assert_eq!(room.used(), QUANTUM);
        inside.store(0, Ordering::SeqCst);
        drop(handle);
        clone.join().unwrap();
        assert_eq!((room.used(), room.high_water()), (0, QUANTUM));
    });
}

/// A refusal reaches who waits, who is granted in that moment, and who comes later; what they held comes back.
#[test]
fn a_refusal_reaches_everybody() {
    explore("room, refused", || {
        let (room, in_flight) = full();
        let mut waiting = in_line(&room);
        let waiting = thread::spawn(move || ready(&mut waiting).is_ok());
        let engine = deliver(&room, in_flight);
        room.refuse(Failure::new(Code::Fatal));
        assert!(ready(&mut room.reservation()).is_err());
        engine.join().unwrap();
        let _let_in_before = waiting.join().unwrap();
        assert_eq!((room.used(), room.outstanding()), (0, 0));
    });
}

/// A flush ends after all that was accepted before it, however it interleaves with their acknowledgements, and waits for
/// nothing that came later.
#[test]
fn a_flush_waits_for_what_was_before_it() {
    explore("room, flush", || {
        let (room, log) = (Room::new(4 * QUANTUM), Log::default());
        let engines: Vec<_> = ["first", "second"]
            .into_iter()
            .map(|name| {
                let mut record = Freed::default().record();
                log.hook(name, &mut record);
                let in_flight = Handle::to(&room).call(record, 100).1;
                deliver(&room, in_flight)
            })
            .collect();
        let flushed = room.flushed();
        let later = put(&room, 100);
        block_on(flushed);
        assert_eq!(log.read().len(), 2);
        assert_eq!((room.outstanding(), room.totals().delivered), (1, 2));
        later.deliver(&room);
        engines
            .into_iter()
            .for_each(|engine| engine.join().unwrap());
        assert_eq!((room.used(), room.outstanding()), (0, 0));
    });
}

/// One batch of acknowledgements with records from before and after a flush: the flush ends with the batch, and the room
/// of both comes back.
#[test]
fn a_batch_may_hold_records_from_both_sides_of_a_flush() {
    explore("room, a batch over a flush", || {
        let (room, log) = (Room::new(4 * QUANTUM), Log::default());
        let before = put(&room, 100);
        let flushed = room.flushed();
        let after = put(&room, 200);
        let engine = thread::spawn({
            let (room, log) = (Arc::clone(&room), log.clone());
            move || {
                let mut acks = Acks::new(&room, Instant::now());
                for mut in_flight in [before, after] {
                    acks.delivered(&mut in_flight.flight, super::PLACED, in_flight.record);
                    log.note("acknowledged");
                }
            }
        });
        block_on(flushed);
        assert!(!log.read().is_empty());
        engine.join().unwrap();
        assert_eq!((room.used(), room.outstanding()), (0, 0));
        assert_eq!(room.totals().delivered, 2);
    });
}

/// A flush that is given up leaves no waker behind.
#[test]
fn a_flush_may_be_given_up() {
    explore("room, flush given up", || {
        let (room, in_flight) = full();
        let stays = put(&room, 100);
        let mut flushed = room.flushed();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let engine = deliver(&room, in_flight);
        let _ = pin!(&mut flushed).poll(&mut Context::from_waker(&waker));
        drop((flushed, waker));
        engine.join().unwrap();
        assert_eq!(Arc::strong_count(&bell), 1);
        stays.deliver(&room);
        assert_eq!(room.used(), 0);
    });
}

/// Three senders in a room for one record, each its own engine: all records pass, one at a time, and the room is empty
/// in the end.
#[test]
fn senders_share_little_room() {
    explore("room, three senders", || {
        let room = Room::new(QUANTUM);
        let sender = || {
            let (mut handle, room) = (Handle::to(&room), Arc::clone(&room));
            move || {
                ready(&mut handle.reservation).unwrap();
                let in_flight = handle.call(Record::new("t"), 2000).1;
                in_flight.deliver(&room);
            }
        };
        let others = [thread::spawn(sender()), thread::spawn(sender())];
        sender()();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((room.used(), room.outstanding()), (0, 0));
        assert_eq!((room.totals().delivered, room.high_water()), (3, 2000));
    });
}

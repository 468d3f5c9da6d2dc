//! Unwinding: each hook hears one end, innermost first, and room and record come back, wherever the record is when it ends.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use loom::{sync::Notify, thread};
use tower_service::Service;

use super::{Freed, Handle, Log, block_on, end, explore, poll_once};
use crate::{
    Acks, Code, Delivery, Failed, Failure, Record, RecordMetadata, Recover, Room, SendError,
};

/// A recoverer that keeps what failed until another thread takes it.
#[derive(Default)]
struct Keep {
    kept: Mutex<Option<Failed>>,
    bell: Notify,
}

impl Recover for Keep {
    fn recover(self: Arc<Self>, failed: Failed) {
        *self.kept.lock().unwrap() = Some(failed);
        self.bell.notify();
    }
}

impl Keep {
    /// Waits for the record that failed.
    fn take(&self) -> Failed {
        loop {
            if let Some(failed) = self.kept.lock().unwrap().take() {
                return failed;
            }
            self.bell.wait();
        }
    }
}

/// An engine that delivers within the call.
struct Delivers(Handle);

impl Service<Record> for Delivers {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut record: Record) -> Delivery {
        let room = Arc::clone(self.0.reservation.room());
        let mut flight = record.take_flight();
        let delivery = flight.depart(&mut self.0.slots);
        let admitted = self.0.reservation.admit(&mut flight, 100);
        let mut acks = Acks::new(&room, Instant::now());
        match admitted {
            Ok(()) => acks.delivered(&mut flight, super::PLACED, record),
            Err(failure) => acks.failed(flight, failure, record),
        }
        drop(acks);
        delivery
    }
}

/// A record with a hook outside of a recoverer, and one inside.
fn stacked(log: &Log, freed: &Freed, keep: &Arc<Keep>) -> Record {
    let mut record = freed.record();
    log.hook("outside", &mut record);
    record.push_recover(Arc::clone(keep) as Arc<dyn Recover>);
    log.hook("inside", &mut record);
    record
}

/// What the caller may do meanwhile.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Waits,
    Drops,
}

/// A record that the engine loses is *unknown* to its hook and its caller, once, and its room comes back.
#[test]
fn lost_by_the_engine() {
    for caller in [Caller::Waits, Caller::Drops] {
        explore(
            &format!("hooks, lost by the engine, caller {caller:?}"),
            move || {
                let (room, log) = (Room::new(4096), Log::default());
                let mut record = Freed::default().record();
                log.hook("hook", &mut record);
                let (mut sent, in_flight) = Handle::to(&room).call(record, 100);
                let engine = thread::spawn(move || drop(in_flight));
                match caller {
                    Caller::Waits => {
                        let error = block_on(sent).unwrap_err();
                        assert_eq!(end::<()>(Err(error.failure())), "unknown");
                    }
                    Caller::Drops => {
                        let _ = poll_once(&mut sent);
                        drop(sent);
                    }
                }
                engine.join().unwrap();
                assert_eq!(log.read(), ["hook: unknown"]);
                assert_eq!((room.used(), room.totals().unknown), (0, 1));
            },
        );
    }
}

/// A record that fails on the engine's thread and is sent again on another: inside hears the attempt, outside and the
/// caller hear the end, once, listening or not.
#[test]
fn sent_again() {
    for caller in [Caller::Waits, Caller::Drops] {
        explore(
            &format!("hooks, sent again, caller {caller:?}"),
            move || {
                let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
                let keep = Arc::new(Keep::default());
                let record = stacked(&log, &freed, &keep);
                let (mut sent, in_flight) = Handle::to(&room).call(record, 100);
                let engine = thread::spawn({
                    let room = Arc::clone(&room);
                    move || in_flight.fail(&room, Failure::new(Code::TimedOut))
                });
                let retry = thread::spawn({
                    let (room, keep) = (Arc::clone(&room), Arc::clone(&keep));
                    move || {
                        let failed = keep.take();
                        assert_eq!((failed.attempts(), room.outstanding()), (1, 1));
                        failed.resend(&mut Delivers(Handle::to(&room)), None);
                    }
                });
                match caller {
                    Caller::Waits => assert_eq!(block_on(sent).unwrap().offset, Some(7)),
                    Caller::Drops => {
                        let _ = poll_once(&mut sent);
                        drop(sent);
                    }
                }
                engine.join().unwrap();
                retry.join().unwrap();
                assert_eq!(log.read(), ["inside: not persisted", "outside: delivered"]);
                assert_eq!((room.used(), room.totals().delivered), (0, 1));
                assert_eq!((room.totals().settled(), freed.records()), (1, 1));
            },
        );
    }
}

/// A recoverer that waits for the close hears of it, whether the record fails before or after, and the flush that the
/// close waits for ends with what the recoverer declines.
#[test]
fn declined_at_the_close() {
    explore("hooks, declined at the close", || {
        let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
        let keep = Arc::new(Keep::default());
        let record = stacked(&log, &freed, &keep);
        let (sent, in_flight) = Handle::to(&room).call(record, 100);
        let retry = thread::spawn({
            let keep = Arc::clone(&keep);
            move || {
                let failed = keep.take();
                block_on(failed.closing());
                failed.decline();
            }
        });
        in_flight.fail(&room, Failure::new(Code::TimedOut));
        room.refuse(Failure::new(Code::Closed));
        room.abandon();
        block_on(room.flushed());
        assert_eq!((room.used(), room.totals().not_persisted), (0, 1));
        let error = block_on(sent).unwrap_err();
        assert_eq!(*error.code(), Code::TimedOut, "the failure that it had");
        assert!(error.into_record().is_some());
        retry.join().unwrap();
        assert_eq!(
            log.read(),
            ["inside: not persisted", "outside: not persisted"]
        );
        assert_eq!(freed.records(), 1);
    });
}

/// A record that is sent again while the room closes is delivered or refused, one of them, and told so; once it is closed
/// it is refused.
#[test]
fn sent_again_at_the_close() {
    explore("hooks, sent again at the close", || {
        let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
        let keep = Arc::new(Keep::default());
        let record = stacked(&log, &freed, &keep);
        let (sent, in_flight) = Handle::to(&room).call(record, 100);
        in_flight.fail(&room, Failure::new(Code::TimedOut));
        let closed = Arc::new(AtomicBool::new(false));
        let retry = thread::spawn({
            let (room, failed, closed) = (Arc::clone(&room), keep.take(), Arc::clone(&closed));
            move || {
                let late = closed.load(Ordering::SeqCst);
                failed.resend(&mut Delivers(Handle::to(&room)), None);
                late
            }
        });
        room.refuse(Failure::new(Code::Closed));
        room.abandon();
        closed.store(true, Ordering::SeqCst);
        block_on(room.flushed());
        let totals = room.totals();
        assert_eq!((room.used(), totals.settled()), (0, 1));
        let late = retry.join().unwrap();
        let (outside, delivered) = match block_on(sent) {
            Ok(_) => {
                assert!(!late, "taken after the close");
                ("outside: delivered", 1)
            }
            Err(error) => {
                assert_eq!((error.code(), error.attempts()), (&Code::Closed, 2));
                assert!(error.into_record().is_some());
                ("outside: not persisted", 0)
            }
        };
        assert_eq!(log.read(), ["inside: not persisted", outside]);
        assert_eq!((totals.delivered, freed.records()), (delivered, 1));
    });
}

/// A recoverer that another engine takes the record from: the first engine's flush ends, and only the second counts it.
#[test]
fn taken_over_by_another_engine() {
    explore("hooks, another engine", || {
        let (first, second) = (Room::new(4096), Room::new(4096));
        let (log, freed, keep) = (Log::default(), Freed::default(), Arc::new(Keep::default()));
        let record = stacked(&log, &freed, &keep);
        let (sent, in_flight) = Handle::to(&first).call(record, 100);
        in_flight.fail(&first, Failure::new(Code::TimedOut));
        let retry = thread::spawn({
            let (second, failed) = (Arc::clone(&second), keep.take());
            move || failed.resend(&mut Delivers(Handle::to(&second)), None)
        });
        block_on(first.flushed());
        assert_eq!((first.used(), first.totals().settled()), (0, 0));
        assert!(block_on(sent).is_ok());
        retry.join().unwrap();
        assert_eq!((second.used(), second.totals().delivered), (0, 1));
        assert_eq!(log.read(), ["inside: not persisted", "outside: delivered"]);
    });
}

/// Hooks run with no lock held: one may send through the same room while another thread settles there.
#[test]
fn a_hook_may_send() {
    explore("hooks, a hook sends", || {
        let (room, log) = (Room::new(1024), Log::default());
        let mut record = Record::new("t");
        record.push_hook(Box::new({
            let (room, log) = (Arc::clone(&room), log.clone());
            move |_: &crate::Outcome<'_>| {
                let mut record = Record::new("t");
                log.hook("sent by the hook", &mut record);
                drop(Delivers(Handle::to(&room)).call(record));
            }
        }));
        let (_, in_flight) = Handle::to(&room).call(record, 1024);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.deliver(&room)
        });
        let mut waiting = room.reservation();
        super::ready(&mut waiting).unwrap();
        drop(waiting);
        engine.join().unwrap();
        assert_eq!(log.read(), ["sent by the hook: delivered"]);
        assert_eq!((room.used(), room.totals().delivered), (0, 2));
    });
}

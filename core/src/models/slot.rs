//! The completion slot: whatever the caller does with the future while the engine completes it, the outcome is heard once.

use std::{
    future::Future,
    mem,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Wake, Waker},
};

use loom::thread;

use super::{Freed, Handle, Log, Turns, block_on, end, explore, poll_once};
use crate::{Code, Delivery, Failure, Room, SendResult};

fn said(result: &SendResult) -> &'static str {
    end(result.as_ref().map_err(|error| error.failure()))
}

/// Who waits is woken, hears the outcome, and hears it after the hook did.
#[test]
fn awaited() {
    explore("slot, awaited", || {
        let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
        let mut record = freed.record();
        log.hook("hook", &mut record);
        let (sent, in_flight) = Handle::to(&room).call(record, 100);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.fail(&room, Failure::new(Code::TimedOut))
        });
        let result = block_on(sent);
        assert_eq!(log.read(), ["hook: not persisted"]);
        assert_eq!(said(&result), "not persisted");
        let record = result.unwrap_err().into_record().expect("it comes back");
        assert_eq!(record.value.as_deref(), Some(&b"value"[..]));
        drop(record);
        engine.join().unwrap();
        assert_eq!(log.read().len(), 1);
        assert_eq!((room.used(), freed.records()), (0, 1));
    });
}

/// A future that is dropped, polled before or not, changes nothing: the hook hears the outcome once, the room comes back,
/// and the record in the error that nobody took is freed once.
#[test]
fn dropped() {
    for polled in [false, true] {
        explore(&format!("slot, dropped, polled {polled}"), move || {
            let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
            let mut record = freed.record();
            log.hook("hook", &mut record);
            let (mut sent, in_flight) = Handle::to(&room).call(record, 100);
            let engine = thread::spawn({
                let room = Arc::clone(&room);
                move || in_flight.fail(&room, Failure::new(Code::TimedOut))
            });
            let heard = polled && poll_once(&mut sent).is_ready();
            drop(sent);
            if heard {
                assert_eq!(freed.records(), 1);
            }
            engine.join().unwrap();
            assert_eq!(log.read(), ["hook: not persisted"]);
            assert_eq!((room.used(), room.outstanding()), (0, 0));
            assert_eq!(room.totals().not_persisted, 1);
            assert_eq!(freed.records(), 1);
        });
    }
}

/// A future that is leaked costs its own memory: hook and room do not wait for it.
#[test]
fn leaked() {
    explore("slot, leaked", || {
        let (room, log) = (Room::new(4096), Log::default());
        let mut record = Freed::default().record();
        log.hook("hook", &mut record);
        let (mut sent, in_flight) = Handle::to(&room).call(record, 100);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.deliver(&room)
        });
        let _ = poll_once(&mut sent);
        mem::forget(sent);
        engine.join().unwrap();
        assert_eq!(log.read(), ["hook: delivered"]);
        assert_eq!((room.used(), room.outstanding()), (0, 0));
    });
}

/// A callback is called once, with the outcome, whether it comes before or after the acknowledgement, and whether or not
/// somebody polled before.
#[test]
fn called_back() {
    for polled in [false, true] {
        explore(&format!("slot, called back, polled {polled}"), move || {
            let (room, log, freed) = (Room::new(4096), Log::default(), Freed::default());
            let (mut sent, in_flight) = Handle::to(&room).call(freed.record(), 100);
            let engine = thread::spawn({
                let room = Arc::clone(&room);
                move || in_flight.fail(&room, Failure::new(Code::TimedOut))
            });
            if polled && poll_once(&mut sent).is_ready() {
                log.note("polled");
            } else {
                let log = log.clone();
                let taken = sent.on_complete(move |result| log.note(said(&result)));
                assert!(taken.is_ok());
            }
            engine.join().unwrap();
            assert_eq!(log.read().len(), 1);
            assert_eq!((room.used(), freed.records()), (0, 1));
        });
    }
}

/// A future that was polled by one task and awaited by another wakes the other.
#[test]
fn handed_on() {
    explore("slot, handed on", || {
        let room = Room::new(4096);
        let (mut sent, in_flight) = Handle::to(&room).call(Freed::default().record(), 100);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.deliver(&room)
        });
        if poll_once(&mut sent).is_pending() {
            let other = thread::spawn(move || block_on(sent));
            assert_eq!(other.join().unwrap().unwrap().offset, Some(7));
        }
        engine.join().unwrap();
        assert_eq!(room.used(), 0);
    });
}

/// Slots that lie side by side in one chunk do not meet: each caller hears its own record's outcome.
#[test]
fn neighbours() {
    explore("slot, neighbours", || {
        let room = Room::new(4096);
        let mut handle = Handle::to(&room);
        // The first chunk has one slot; the next two records share the second.
        let (_, alone) = handle.call(Freed::default().record(), 100);
        alone.deliver(&room);
        let (first, in_flight) = handle.call(Freed::default().record(), 100);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.deliver(&room)
        });
        let (second, in_flight) = handle.call(Freed::default().record(), 100);
        let other = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.fail(&room, Failure::new(Code::TimedOut))
        });
        drop(handle);
        assert_eq!(said(&block_on(first)), "delivered");
        assert_eq!(said(&block_on(second)), "not persisted");
        engine.join().unwrap();
        other.join().unwrap();
        assert_eq!(room.used(), 0);
    });
}

/// A task that holds its future, and lets go of it when it is woken, as one does whose executor is gone.
#[derive(Default)]
struct Task(Mutex<Option<Delivery>>, Turns);

impl Task {
    fn give_up(&self) {
        self.1.next();
        let sent = self.0.lock().unwrap().take();
        drop(sent);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.give_up();
    }
}

/// A waker may drop the very future that it is for, while another thread does the same: nobody holds the slot's lock
/// then, and the outcome is freed once.
#[test]
fn woken_to_be_dropped() {
    explore("slot, woken to be dropped", || {
        let (room, freed) = (Room::new(4096), Freed::default());
        let (mut sent, in_flight) = Handle::to(&room).call(freed.record(), 100);
        let engine = thread::spawn({
            let room = Arc::clone(&room);
            move || in_flight.fail(&room, Failure::new(Code::TimedOut))
        });
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let polled = pin!(&mut sent).poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            *task.0.lock().unwrap() = Some(sent);
        }
        drop((polled, waker));
        task.give_up();
        engine.join().unwrap();
        assert_eq!((room.used(), freed.records()), (0, 1));
        assert_eq!(Arc::strong_count(&task), 1, "no waker is left");
    });
}

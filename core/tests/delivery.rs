//! The caller's end: awaited, called back, or dropped.

use std::{
    future::Future,
    panic::resume_unwind,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use franking_core::{
    Code, Delivery, Failure, Record, SendError, hooks_panicked,
    testing::{Answer, Scripted, block_on},
};
use tower_service::Service;

fn call(engine: &Scripted) -> Delivery {
    let mut handle = engine.clone();
    let ready = handle.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(ready.is_ready());
    handle.call(Record::new("t").value("v"))
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn wakes_once_and_only_who_polled_last() {
    let engine = Scripted::new();
    engine.stall();
    let mut sent = pin!(call(&engine));
    let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(
            sent.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    engine.resume();
    assert_eq!(counts.map(|count| count.0.load(Ordering::SeqCst)), [0, 1]);
    let polled = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))));
}

#[test]
fn calls_back_before_and_after_the_acknowledgement() {
    let engine = Scripted::new();
    engine.stall();
    let offsets = Arc::new(Mutex::new(Vec::new()));
    let callback = || {
        let offsets = Arc::clone(&offsets);
        move |result: Result<franking_core::RecordMetadata, SendError>| {
            offsets.lock().unwrap().push(result.unwrap().offset);
        }
    };
    assert!(call(&engine).on_complete(callback()).is_ok());
    assert!(offsets.lock().unwrap().is_empty());
    engine.resume();
    assert_eq!(*offsets.lock().unwrap(), [Some(0)]);
    assert!(call(&engine).on_complete(callback()).is_ok());
    assert_eq!(*offsets.lock().unwrap(), [Some(0), Some(1)]);
}

#[test]
fn a_callback_replaces_a_poll() {
    let engine = Scripted::new();
    engine.stall();
    let mut sent = Box::new(call(&engine));
    let polled = pin!(&mut *sent).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let called = Arc::new(Count::default());
    let count = Arc::clone(&called);
    assert!(sent.on_complete(move |_| count.wake()).is_ok());
    engine.resume();
    assert_eq!(called.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panicking_callback_is_counted_and_harms_nothing() {
    let before = hooks_panicked();
    let engine = Scripted::new();
    engine.stall();
    for _ in 0..2 {
        let called = call(&engine).on_complete(|_| resume_unwind(Box::new("callback")));
        assert!(called.is_ok());
    }
    engine.resume();
    assert!(hooks_panicked() >= before + 2);
    assert_eq!(engine.room().totals().delivered, 2);
}

#[test]
fn a_boxed_one_has_to_be_polled_by_somebody() {
    let boxed = Delivery::boxed(async { Err(SendError::new(Failure::new(Code::Refused))) });
    let Err((boxed, _callback)) = boxed.on_complete(|_| unreachable!("nobody calls it")) else {
        panic!("nobody can call back for a boxed future");
    };
    let result = block_on(boxed, Duration::ZERO).unwrap();
    assert_eq!(*result.unwrap_err().code(), Code::Refused);
}

#[test]
fn a_ready_one_calls_back_at_once() {
    let ready = Delivery::ready(Err(SendError::new(Failure::new(Code::Refused))));
    let called = Arc::new(Count::default());
    let count = Arc::clone(&called);
    assert!(ready.on_complete(move |_| count.wake()).is_ok());
    assert_eq!(called.0.load(Ordering::SeqCst), 1);
}

#[test]
fn nobody_has_to_listen() {
    let engine = Scripted::new();
    engine.stall();
    drop(call(&engine));
    let mut polled = Box::pin(call(&engine));
    assert!(
        polled
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    drop(polled);
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    drop(call(&engine));
    engine.resume();
    let totals = engine.room().totals();
    assert_eq!((totals.delivered, totals.not_persisted), (2, 1));
}

#[test]
fn a_dropped_one_keeps_nothing_of_its_task() {
    let engine = Scripted::new();
    engine.stall();
    let task = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&task));
    let mut sent = Box::pin(call(&engine));
    let polled = sent.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 2);
    drop(sent);
    assert_eq!(Arc::strong_count(&task), 1, "the slot holds the waker");
    engine.resume();
    assert_eq!(task.0.load(Ordering::SeqCst), 0);
}

#[test]
fn says_whether_the_engine_may_never_have_had_the_record() {
    let refused = || Err(SendError::new(Failure::new(Code::Refused)));
    assert!(Delivery::ready(refused()).may_be_refused());
    assert!(Delivery::boxed(async move { refused() }).may_be_refused());
    let engine = Scripted::new();
    engine.stall();
    let waiting = call(&engine);
    assert!(!waiting.may_be_refused());
    engine.resume();
    assert!(!waiting.may_be_refused());
    engine.stall();
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let failed = call(&engine);
    engine.resume();
    assert!(failed.may_be_refused());
}

#[test]
fn debug_says_what_it_is() {
    let delivery = call(&Scripted::new());
    assert_eq!(format!("{delivery:?}"), "Delivery");
    assert_eq!(format!("{:?}", franking_core::Slots::default()), "Slots");
}

/// A waker that holds the last of a task whose own drop uses the engine again.
struct Task(Mutex<Option<Scripted>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Task {
    fn drop(&mut self) {
        // Gives a reservation back, which needs the room's lock.
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_wakers_drop_may_use_the_engine() {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let engine = Scripted::with_room(2000);
        let ready = |engine: &Scripted| {
            let mut handle = engine.clone();
            assert!(
                handle
                    .poll_ready(&mut Context::from_waker(Waker::noop()))
                    .is_ready()
            );
            handle
        };
        let task = |engine: &Scripted| Waker::from(Arc::new(Task(Mutex::new(Some(ready(engine))))));
        let mut noop = Context::from_waker(Waker::noop());
        engine.stall();
        drop(call(&engine));

        // Flushes, waiters and closings keep wakers under the room's lock.
        let mut flushed = pin!(engine.room().flushed());
        let waker = task(&engine);
        assert!(
            flushed
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        assert!(flushed.as_mut().poll(&mut noop).is_pending());

        let holder = ready(&engine);
        let mut waiting = engine.clone();
        let waker = Waker::from(Arc::new(Task(Mutex::new(Some(holder)))));
        assert!(
            waiting
                .poll_ready(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        let _ = waiting.poll_ready(&mut noop);
        done.send(()).unwrap();
    });
    let done = is_done.recv_timeout(Duration::from_secs(10));
    assert!(done.is_ok(), "a waker was dropped under the room's lock");
}

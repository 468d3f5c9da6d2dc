//! Recoverers get what failed below them, and decide.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use franking_core::{
    Code, Delivery, Failed, Failure, Outcome, Persistence, Placed, Record, RecordMetadata, Recover,
    SendError, Shares, Totals,
    testing::{Answer, Scripted, block_on},
};
use tower_service::Service;

/// Keeps what it gets.
#[derive(Default)]
struct Keep {
    kept: Mutex<Vec<Failed>>,
    times: AtomicUsize,
}

impl Recover for Keep {
    fn recover(self: Arc<Self>, failed: Failed) {
        self.times.fetch_add(1, Ordering::SeqCst);
        self.kept.lock().unwrap().push(failed);
    }
}

impl Keep {
    fn take(&self) -> Failed {
        self.kept
            .lock()
            .unwrap()
            .pop()
            .expect("a record that failed")
    }
}

/// Declines, each in a way of its own.
struct Declines(bool);

impl Recover for Declines {
    fn recover(self: Arc<Self>, failed: Failed) {
        if self.0 {
            failed.decline();
        }
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn hook(log: &Log, name: &'static str, record: &mut Record) {
    let log = Arc::clone(log);
    record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
        let result = outcome
            .result
            .map_or_else(|f| f.code().to_string(), |_| "ok".into());
        log.lock()
            .unwrap()
            .push(format!("{name} {result} {}", outcome.attempts));
    }));
}

fn call(engine: &Scripted, record: Record) -> Delivery {
    let mut handle = engine.clone();
    assert!(
        handle
            .poll_ready(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
    handle.call(record)
}

fn failing(engine: &Scripted) {
    engine.script(Answer::fail(Failure::new(Code::TimedOut).transient(true)));
}

fn now<F: Future>(future: F) -> Option<F::Output> {
    block_on(future, Duration::ZERO)
}

#[test]
fn inside_sees_attempts_and_outside_the_end() {
    let engine = Scripted::new();
    let log = Log::default();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t").value("v");
    hook(&log, "outside", &mut record);
    record.push_recover(keep.clone());
    hook(&log, "inside", &mut record);
    failing(&engine);
    failing(&engine);
    let mut sent = Box::pin(call(&engine, record));
    assert!(now(sent.as_mut()).is_none());
    assert_eq!(engine.room().outstanding(), 1, "it counts while it is held");

    let failed = keep.take();
    assert_eq!(
        (failed.attempts(), failed.failure().code()),
        (1, &Code::TimedOut)
    );
    failed.resend(&mut engine.clone(), Some(keep.clone()));
    assert!(now(sent.as_mut()).is_none());
    keep.take().resend(&mut engine.clone(), Some(keep.clone()));

    let metadata = now(sent).unwrap().unwrap();
    assert_eq!(metadata.offset, Some(0));
    assert_eq!(*log.lock().unwrap(), ["inside TIMED_OUT 1", "outside ok 3"]);
    assert_eq!(keep.times.load(Ordering::SeqCst), 2);
    assert_eq!(
        (engine.room().used(), engine.room().totals().settled()),
        (0, 1)
    );
}

#[test]
fn declined_goes_on_outward() {
    for by_word in [true, false] {
        let engine = Scripted::new();
        let log = Log::default();
        let outer = Arc::new(Keep::default());
        let mut record = Record::new("t").value("v");
        hook(&log, "outermost", &mut record);
        record.push_recover(outer.clone());
        hook(&log, "between", &mut record);
        record.push_recover(Arc::new(Declines(by_word)));
        failing(&engine);
        let sent = call(&engine, record);
        assert_eq!(*log.lock().unwrap(), ["between TIMED_OUT 1"]);
        drop(outer.take());
        assert_eq!(
            *log.lock().unwrap(),
            ["between TIMED_OUT 1", "outermost TIMED_OUT 1"]
        );
        let error = now(sent).unwrap().unwrap_err();
        assert_eq!(
            error.into_record().unwrap().value.as_deref(),
            Some(&b"v"[..])
        );
    }
}

#[test]
fn success_asks_no_recoverer() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    now(call(&engine, record)).unwrap().unwrap();
    assert_eq!(keep.times.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&keep), 1);
}

#[test]
fn a_dropped_future_changes_nothing() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    failing(&engine);
    drop(call(&engine, record));
    keep.take().resend(&mut engine.clone(), None);
    assert_eq!(engine.stored().len(), 1);
    assert_eq!(engine.room().totals().delivered, 1);
}

#[test]
fn a_resend_needs_no_room() {
    let engine = Scripted::with_room(1000);
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t").value(vec![0; 2000]);
    record.push_recover(keep.clone());
    failing(&engine);
    let sent = call(&engine, record);
    let used = engine.room().used();
    assert!(
        used > 1000,
        "the room is overdrawn by the record that is held"
    );
    keep.take().resend(&mut engine.clone(), None);
    now(sent).unwrap().unwrap();
    assert_eq!(
        (engine.room().used(), engine.room().high_water()),
        (0, used)
    );
}

#[test]
fn another_engine_may_take_it_over() {
    let (first, second) = (Scripted::new(), Scripted::new());
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t").value("v");
    record.push_recover(keep.clone());
    failing(&first);
    let sent = call(&first, record);
    second.stall();
    keep.take().resend(&mut second.clone(), None);
    assert_eq!((first.room().used(), first.room().outstanding()), (0, 0));
    assert_eq!(
        first.room().totals(),
        Totals::default(),
        "it did not end there"
    );
    assert_eq!(second.room().outstanding(), 1);
    second.resume();
    assert_eq!(now(sent).unwrap().unwrap().offset, Some(0));
    assert_eq!(second.room().totals().delivered, 1);
}

#[test]
fn flush_waits_for_what_is_held_and_close_tells_to_give_up() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    failing(&engine);
    let sent = call(&engine, record);
    let mut flushed = Box::pin(engine.room().flushed());
    let failed = keep.take();
    let mut closing = Box::pin(failed.closing());
    assert!(now(flushed.as_mut()).is_none());
    assert!(now(closing.as_mut()).is_none());

    assert_eq!(engine.close(), Totals::default());
    assert!(now(closing).is_some());
    assert!(now(flushed.as_mut()).is_none());
    failed.decline();
    assert!(now(flushed).is_some());
    assert_eq!(engine.room().totals().not_persisted, 1);
    assert_eq!(*now(sent).unwrap().unwrap_err().code(), Code::TimedOut);
}

#[test]
fn after_the_close_a_resend_fails() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    failing(&engine);
    let sent = call(&engine, record);
    engine.close();
    keep.take().resend(&mut engine.clone(), None);
    let error = now(sent).unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.persistence()),
        (&Code::Closed, Persistence::NotPersisted)
    );
    assert_eq!(error.attempts(), 2);
    assert_eq!(engine.room().used(), 0);
}

#[test]
fn a_ticket_comes_back_and_stays_through_resends() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(Arc::new(Declines(true)));
    record.push_recover_with(keep.clone(), 7);
    failing(&engine);
    failing(&engine);
    let sent = call(&engine, record);
    let failed = keep.take();
    assert_eq!(failed.ticket(), 7);
    failed.resend(&mut engine.clone(), Some(keep.clone()));
    assert_eq!(keep.take().ticket(), 7);
    assert!(now(sent).unwrap().is_err());
}

#[test]
fn who_declines_may_say_why_but_not_what_became_of_the_record() {
    let engine = Scripted::new();
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    engine.script(Answer::lose_acknowledgement());
    let sent = call(&engine, record);
    let failed = keep.take();
    let failure = failed.failure().clone().declined("it is Sunday");
    failed.decline_as(failure.with_persistence(Persistence::NotPersisted));
    let error = now(sent).unwrap().unwrap_err();
    assert_eq!(error.failure().why_declined(), Some("it is Sunday"));
    assert!(
        error
            .to_string()
            .contains("(possibly persisted); not sent again: it is Sunday. To do: "),
        "{error}"
    );
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert_eq!(engine.room().totals().unknown, 1);
}

/// Says what it hears of the record, and fails it.
struct Looks(Arc<Mutex<Vec<bool>>>);

impl Service<Record> for Looks {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        unreachable!("a resend waits for nothing")
    }

    fn call(&mut self, record: Record) -> Delivery {
        self.0.lock().unwrap().push(record.holds_room());
        record.fail(Failure::new(Code::Refused))
    }
}

#[test]
fn a_record_that_is_sent_again_holds_its_room() {
    let engine = Scripted::new();
    failing(&engine);
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t").key("secret").value("secret");
    record.push_recover(keep.clone());
    let sent = call(&engine, record);
    let failed = keep.take();
    let debug = format!("{failed:?}");
    assert!(
        debug.contains("TimedOut") && debug.contains("\"t\""),
        "{debug}"
    );
    assert!(!debug.contains("secret"), "{debug}");
    assert!(format!("{:?}", failed.closing()).contains("Closing"));

    let looked = Arc::default();
    failed.resend(&mut Looks(Arc::clone(&looked)), None);
    assert_eq!(*looked.lock().unwrap(), [true]);
    let error = block_on(sent, Duration::ZERO).unwrap().unwrap_err();
    assert_eq!(*error.code(), Code::Refused);
    assert!(!error.into_record().unwrap().holds_room());
    assert_eq!(engine.room().used(), 0);
}

/// Answers at once, without a room.
struct Delivers;

impl Service<Record> for Delivers {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, record: Record) -> Delivery {
        let placed = Placed {
            partition: 1,
            offset: Some(2),
            timestamp: None,
        };
        record.deliver(placed, Instant::now())
    }
}

#[test]
fn the_first_caller_hears_of_a_resend_that_is_answered_at_once() {
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    // Refused before an engine gave it room.
    let sent = record.fail(Failure::new(Code::Refused));
    keep.take().resend(&mut Delivers, None);
    let metadata = block_on(sent, Duration::ZERO).unwrap().unwrap();
    assert_eq!((metadata.partition, metadata.offset), (1, Some(2)));
}

#[test]
fn a_share_of_a_recoverer_is_one() {
    let engine = Scripted::new();
    failing(&engine);
    let keep = Arc::new(Keep::default());
    let mut shares = Shares::of(Arc::clone(&keep));
    let mut record = Record::new("t");
    record.push_recover(shares.share());
    let sent = call(&engine, record);
    keep.take().resend(&mut engine.clone(), None);
    assert!(block_on(sent, Duration::ZERO).unwrap().is_ok());
    assert_eq!(keep.times.load(Ordering::SeqCst), 1);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_for_the_end_is_woken_unless_it_went() {
    let engine = Scripted::new();
    failing(&engine);
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    let sent = call(&engine, record);
    let failed = keep.take();
    let woken = [(); 3].map(|()| Arc::new(Woken::default()));
    let mut closings = woken.each_ref().map(|woken| {
        let waker = Waker::from(Arc::clone(woken));
        let mut closing = Box::pin(failed.closing());
        let polled = closing.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        Some(closing)
    });
    closings[0] = None;
    assert_eq!(Arc::strong_count(&woken[0]), 1, "its waker is kept");
    engine.room().abandon();
    let times = woken.map(|woken| woken.0.load(Ordering::SeqCst));
    assert_eq!(times, [0, 1, 1]);
    failed.decline();
    assert!(block_on(sent, Duration::ZERO).unwrap().is_err());
}

//! The scripted engine does what it is told.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use franking_core::{
    Code, Delivery, Failure, Outcome, Persistence, Record, Totals,
    testing::{Answer, Scripted, block_on, send},
};
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);

fn call(engine: &Scripted, record: Record) -> Delivery {
    let mut handle = engine.clone();
    assert!(matches!(poll(&mut handle), Poll::Ready(Ok(()))));
    handle.call(record)
}

fn poll(handle: &mut Scripted) -> Poll<Result<(), Code>> {
    let polled = handle.poll_ready(&mut Context::from_waker(Waker::noop()));
    polled.map_err(|error| error.code().clone())
}

fn now<F: Future>(future: F) -> Option<F::Output> {
    block_on(future, Duration::ZERO)
}

fn keys(engine: &Scripted) -> Vec<String> {
    let stored = engine.stored().into_iter();
    stored
        .map(|stored| String::from_utf8(stored.parts.key.unwrap().to_vec()).unwrap())
        .collect()
}

fn keyed(key: &'static str) -> Record {
    Record::new("t").key(key)
}

#[test]
fn offsets_count_for_each_partition_of_each_topic() {
    let mut engine = Scripted::new();
    let mut place = |topic: &'static str, partition| {
        let metadata = send(&mut engine, Record::new(topic).partition(partition)).unwrap();
        (metadata.partition, metadata.offset.unwrap())
    };
    assert_eq!(place("a", 0), (0, 0));
    assert_eq!(place("a", 1), (1, 0));
    assert_eq!(place("a", 0), (0, 1));
    assert_eq!(place("b", 0), (0, 0));
}

#[test]
fn the_script_comes_before_the_rest() {
    let mut engine = Scripted::new();
    engine.otherwise(Answer::deliver_without_offset());
    engine.script(Answer::fail(Failure::new(Code::Authorization)));
    engine.script(Answer::lose_acknowledgement());
    let failed = send(&mut engine, keyed("failed")).unwrap_err();
    assert_eq!(*failed.code(), Code::Authorization);
    let lost = send(&mut engine, keyed("lost")).unwrap_err();
    assert_eq!(
        (lost.code(), lost.persistence()),
        (&Code::TimedOut, Persistence::Unknown)
    );
    assert_eq!(send(&mut engine, keyed("sent")).unwrap().offset, None);
    assert_eq!(keys(&engine), ["lost", "sent"]);
    assert_eq!(engine.calls(), 3);
}

#[test]
fn a_delay_holds_back_its_partition_and_no_other() {
    let engine = Scripted::new();
    engine.script(Answer::deliver().after(2 * SECOND));
    engine.script(Answer::deliver().after(SECOND));
    drop(call(&engine, keyed("first")));
    drop(call(&engine, keyed("second")));
    drop(call(&engine, keyed("third")));
    drop(call(&engine, keyed("elsewhere").partition(1)));
    assert_eq!(keys(&engine), ["elsewhere"]);
    engine.advance(SECOND);
    assert_eq!(keys(&engine), ["elsewhere"]);
    assert_eq!(engine.unsettled(), 3);
    engine.advance(SECOND);
    assert_eq!(keys(&engine), ["elsewhere", "first", "second", "third"]);
}

#[test]
fn hooks_see_the_tests_clock() {
    let engine = Scripted::new();
    engine.script(Answer::deliver().after(5 * SECOND));
    let took = Arc::new(Mutex::new(Duration::ZERO));
    let mut record = keyed("k");
    record.push_hook(Box::new({
        let (took, sent) = (Arc::clone(&took), Instant::now());
        move |outcome: &Outcome<'_>| *took.lock().unwrap() = outcome.at - sent
    }));
    drop(call(&engine, record));
    engine.advance(5 * SECOND);
    assert!(*took.lock().unwrap() >= 5 * SECOND);
}

#[test]
fn a_stall_lets_only_steps_through() {
    let engine = Scripted::new();
    engine.stall();
    let mut sent = Box::pin(call(&engine, keyed("first")));
    drop(call(&engine, keyed("second")));
    drop(call(&engine, keyed("third")));
    assert!(now(sent.as_mut()).is_none());
    engine.step(2);
    assert!(now(sent).is_some());
    assert_eq!(keys(&engine), ["first", "second"]);
    // A step that finds nothing is not kept.
    engine.step(5);
    drop(call(&engine, keyed("fourth")));
    assert_eq!(engine.unsettled(), 1);
    engine.resume();
    assert_eq!(keys(&engine), ["first", "second", "third", "fourth"]);
}

#[test]
fn a_refusal_at_once_waits_for_no_stall() {
    let engine = Scripted::new();
    engine.stall();
    engine.script(Answer::refuse_at_once(Failure::new(Code::RecordTooLarge)));
    let error = now(call(&engine, keyed("k"))).unwrap().unwrap_err();
    assert_eq!((error.code(), error.attempts()), (&Code::RecordTooLarge, 1));
    assert_eq!(engine.room().used(), 0);
}

#[test]
fn a_record_is_charged_its_payload_and_a_hundred_bytes() {
    let engine = Scripted::with_room(10_000);
    engine.stall();
    let sent = call(&engine, keyed("four"));
    assert_eq!(engine.room().used(), 104);
    engine.resume();
    assert_eq!(engine.room().used(), 0);
    drop(sent);
}

#[test]
fn hooks_may_use_the_engine() {
    let engine = Scripted::new();
    engine.stall();
    let mut record = keyed("first");
    record.push_hook(Box::new({
        let engine = engine.clone();
        move |_: &Outcome<'_>| drop(call(&engine, keyed("from the hook")))
    }));
    drop(call(&engine, record));
    drop(call(&engine, keyed("second")));
    engine.resume();
    assert_eq!(keys(&engine), ["first", "second", "from the hook"]);
}

#[test]
fn close_refuses_settles_and_counts() {
    let engine = Scripted::new();
    drop(call(&engine, keyed("before")));
    engine.stall();
    engine.script(Answer::lose_acknowledgement());
    let sent = [call(&engine, keyed("a")), call(&engine, keyed("b"))];
    let totals = engine.close();
    assert_eq!((totals.not_persisted, totals.settled()), (2, 2));
    for sent in sent {
        let error = now(sent).unwrap().unwrap_err();
        assert_eq!(
            (error.code(), error.persistence()),
            (&Code::Closed, Persistence::NotPersisted)
        );
    }
    assert_eq!(poll(&mut engine.clone()), Poll::Ready(Err(Code::Closed)));
    assert_eq!(keys(&engine), ["before"]);
    assert_eq!(engine.close(), Totals::default());
}

#[test]
fn a_fatal_error_leaves_what_is_outstanding_unknown() {
    let engine = Scripted::new();
    engine.stall();
    let mut ready = engine.clone();
    assert!(poll(&mut ready).is_ready());
    let sent = call(&engine, keyed("a"));
    engine.kill(Failure::new(Code::Fatal));
    let error = now(sent).unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.persistence()),
        (&Code::Fatal, Persistence::Unknown)
    );
    assert_eq!(poll(&mut ready), Poll::Ready(Err(Code::Fatal)));
    // Called all the same: it was never sent, and says so.
    let error = now(ready.call(keyed("b"))).unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.persistence()),
        (&Code::Fatal, Persistence::NotPersisted)
    );
}

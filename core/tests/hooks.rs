//! Hooks are linear, unwound once, innermost first, and cannot hurt each other.

use std::{
    cell::Cell,
    panic::resume_unwind,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use franking_core::{
    Acks, Code, Delivery, Failed, Failure, Flight, HeaderList, HeadersView, Outcome, Persistence,
    Placed, Record, Recover, Room, Slots, Snapshot, Topic, View, hooks_panicked,
    testing::{Answer, Scripted, block_on, send},
};

type Log = Arc<Mutex<Vec<String>>>;

fn log(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

fn hook(to: &Log, name: &'static str, record: &mut Record) {
    let to = Arc::clone(to);
    record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
        let said = match outcome.result {
            Ok(placed) => format!("{name}: {:?}", placed.offset),
            Err(failure) => format!("{name}: {} {}", failure.code(), failure.persistence()),
        };
        to.lock().unwrap().push(said);
    }));
}

fn panicking(record: &mut Record) {
    record.push_hook(Box::new(|_: &Outcome<'_>| resume_unwind(Box::new("hook"))));
}

const PLACED: Placed = Placed {
    partition: 3,
    offset: Some(7),
    timestamp: Some(9),
};

#[test]
fn innermost_first() {
    let heard = Log::default();
    let mut record = Record::new("t");
    for name in ["outer", "second", "middle", "fourth", "inner"] {
        hook(&heard, name, &mut record);
    }
    send(&mut Scripted::new(), record).unwrap();
    assert_eq!(
        log(&heard),
        [
            "inner: Some(0)",
            "fourth: Some(0)",
            "middle: Some(0)",
            "second: Some(0)",
            "outer: Some(0)"
        ]
    );
}

#[test]
fn a_record_dropped_before_an_engine_had_it_was_dropped() {
    let heard = Log::default();
    let mut record = Record::new("t");
    hook(&heard, "hook", &mut record);
    drop(record);
    assert_eq!(log(&heard), ["hook: DROPPED not persisted"]);
}

#[test]
fn a_clone_has_no_hooks() {
    let heard = Log::default();
    let mut record = Record::new("t");
    hook(&heard, "hook", &mut record);
    let mut engine = Scripted::new();
    send(&mut engine, record.clone()).unwrap();
    assert_eq!(log(&heard), [""; 0]);
    send(&mut engine, record).unwrap();
    assert_eq!(log(&heard), ["hook: Some(1)"]);
}

#[test]
fn what_comes_back_has_no_hooks() {
    let heard = Log::default();
    let engine = Scripted::new();
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let mut record = Record::new("t");
    hook(&heard, "hook", &mut record);
    let error = send(&mut engine.clone(), record).unwrap_err();
    assert_eq!(log(&heard), ["hook: TIMED_OUT not persisted"]);
    drop(error);
    assert_eq!(log(&heard), [""; 0]);
}

#[test]
fn a_panic_stays_its_own_and_is_counted() {
    let before = hooks_panicked();
    let heard = Log::default();
    let mut record = Record::new("t");
    hook(&heard, "outer", &mut record);
    panicking(&mut record);
    hook(&heard, "inner", &mut record);
    send(&mut Scripted::new(), record).unwrap();
    assert_eq!(log(&heard), ["inner: Some(0)", "outer: Some(0)"]);
    assert!(hooks_panicked() > before);
}

/// Panics with the record in its hands.
struct Panics;

impl Recover for Panics {
    fn recover(self: Arc<Self>, _failed: Failed) {
        resume_unwind(Box::new("recoverer"));
    }
}

#[test]
fn a_panic_while_another_unwinds_is_caught_too() {
    let heard = Log::default();
    let engine = Scripted::new();
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    let mut record = Record::new("t").value("v");
    hook(&heard, "outer", &mut record);
    panicking(&mut record);
    record.push_recover(Arc::new(Panics));
    hook(&heard, "inner", &mut record);
    let error = send(&mut engine.clone(), record).unwrap_err();
    assert_eq!(
        log(&heard),
        [
            "inner: TIMED_OUT not persisted",
            "outer: TIMED_OUT not persisted"
        ]
    );
    assert_eq!(
        error.into_record().unwrap().value.as_deref(),
        Some(&b"v"[..])
    );
    assert_eq!(engine.room().used(), 0);
}

#[test]
fn hooks_see_the_record_as_it_was_sent() {
    let mut record = Record::new("t").key("k").timestamp(5);
    record.headers.append("a", "1").unwrap();
    record.headers.append("n", None::<&str>).unwrap();
    let seen = Log::default();
    let to = Arc::clone(&seen);
    record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
        let view = outcome.record;
        to.lock().unwrap().push(format!(
            "{} {:?} {:?} {:?} {:?} {:?}",
            view.topic,
            view.key,
            view.value,
            view.headers.get_str("a"),
            view.headers.get("n"),
            outcome.attempts,
        ));
    }));
    send(&mut Scripted::new(), record).unwrap();
    assert_eq!(log(&seen), [r#"t Some([107]) None Some("1") Some(None) 1"#]);
}

#[test]
fn an_engine_may_answer_at_once() {
    let heard = Log::default();
    let mut record = Record::new("t").key("key").timestamp(5);
    hook(&heard, "hook", &mut record);
    let delivery = record.deliver(PLACED, Instant::now());
    assert_eq!(log(&heard), ["hook: Some(7)"]);
    let metadata = block_on(delivery, Duration::ZERO).unwrap().unwrap();
    assert_eq!((metadata.partition, metadata.offset), (3, Some(7)));
    assert_eq!(metadata.timestamp, Some(9), "the broker's time wins");
    assert_eq!(metadata.serialized_key_size, Some(3));
    assert_eq!(metadata.serialized_value_size, None);
}

#[test]
fn an_engine_that_loses_a_flight_tells_as_much() {
    let room = Room::new(10_000);
    let heard = Log::default();
    let mut record = Record::new("t").value("v");
    hook(&heard, "hook", &mut record);
    let mut parts = record;
    let mut flight = parts.take_flight();
    let delivery = flight.depart(&mut Slots::default());
    room.reservation().admit(&mut flight, 100).unwrap();
    drop((parts, flight));
    assert_eq!(log(&heard), ["hook: DROPPED possibly persisted"]);
    let error = block_on(delivery, Duration::ZERO).unwrap().unwrap_err();
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert_eq!(error.attempts(), 1);
    assert!(
        error.into_record().is_none(),
        "the parts are lost: an empty record is not them"
    );
    assert_eq!(room.used(), 0);
    assert_eq!(room.totals().unknown, 1);
}

#[test]
fn a_layer_may_refuse() {
    let heard = Log::default();
    let mut record = Record::new("t").value("v");
    hook(&heard, "hook", &mut record);
    let delivery: Delivery = record.fail(Failure::new(Code::Refused));
    assert_eq!(log(&heard), ["hook: REFUSED not persisted"]);
    let error = block_on(delivery, Duration::ZERO).unwrap().unwrap_err();
    assert_eq!(error.attempts(), 0);
    assert!(error.into_record().is_some());
}

#[test]
fn a_batch_gives_its_room_back_at_its_end() {
    let room = Room::new(10_000);
    let mut acks = Acks::new(&room, Instant::now());
    for _ in 0..3 {
        let mut parts = Record::new("t");
        let mut flight = parts.take_flight();
        drop(flight.depart(&mut Slots::default()));
        room.reservation().admit(&mut flight, 500).unwrap();
        acks.delivered(&mut flight, PLACED, parts);
    }
    assert_eq!((room.used(), room.outstanding()), (1500, 3));
    drop(acks);
    assert_eq!((room.used(), room.outstanding()), (0, 0));
    assert_eq!(room.totals().delivered, 3);
    // Nothing was promised to a flight that no engine had.
    drop(Flight::default());
}

#[test]
fn parts_that_are_taken_from_a_record_are_not_sent_again_by_a_recoverer() {
    struct Never;
    impl franking_core::Recover for Never {
        fn recover(self: std::sync::Arc<Self>, failed: franking_core::Failed) {
            panic!("{failed:?}");
        }
    }
    let panicked = franking_core::hooks_panicked();
    let heard = Log::default();
    let mut record = Record::new("t").value("v");
    record.push_hook(Box::new({
        let heard = heard.clone();
        move |outcome: &franking_core::Outcome<'_>| {
            heard
                .lock()
                .unwrap()
                .push(format!("{}", outcome.record.topic));
        }
    }));
    record.push_recover(std::sync::Arc::new(Never));
    let parts = record.into_parts();
    assert_eq!(parts.topic, "t");
    assert_eq!(log(&heard), ["t"]);
    assert_eq!(franking_core::hooks_panicked(), panicked);
}

/// A record that counts how often it is made again.
struct Counted<'c>(&'c Cell<u32>);

impl Snapshot for Counted<'_> {
    fn view(&self) -> View<'_> {
        static TOPIC: LazyLock<Topic> = LazyLock::new(|| "t".into());
        View {
            topic: &TOPIC,
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: HeadersView::Foreign(&NoHeaders),
        }
    }

    fn into_record(self) -> Record {
        self.0.set(self.0.get() + 1);
        Record::new("t")
    }
}

struct NoHeaders;

impl HeaderList for NoHeaders {
    fn header(&self, _: usize) -> Option<(&str, Option<&[u8]>)> {
        None
    }
}

#[test]
fn a_record_is_made_again_only_for_who_wants_it() {
    let room = Room::new(10_000);
    for (listens, expected) in [(true, 1), (false, 0)] {
        let made = Cell::new(0);
        let mut flight = Record::new("t").take_flight();
        let sent = flight.depart(&mut Slots::default());
        let sent = Some(sent).filter(|_| listens);
        let mut acks = Acks::new(&room, Instant::now());
        acks.failed(flight, Failure::new(Code::TimedOut), Counted(&made));
        drop(acks);
        assert_eq!(made.get(), expected, "listens: {listens}");
        if let Some(sent) = sent {
            let error = block_on(sent, Duration::ZERO).unwrap().unwrap_err();
            assert!(error.into_record().is_some());
        }
    }
}

#[test]
fn a_flight_that_an_engine_loses_is_told_to_who_waits() {
    let mut flight = Record::new("t").take_flight();
    let sent = flight.depart(&mut Slots::default());
    drop(flight);
    let error = block_on(sent, Duration::ZERO)
        .expect("at once")
        .unwrap_err();
    assert_eq!(*error.code(), Code::Dropped);
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert!(error.into_record().is_none());
}

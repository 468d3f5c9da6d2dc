//! Interceptors: paired exactly once, in reverse, alone and in tuples.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use franking_core::{
    Code, Delivery, Failed, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Produce,
    Record, RecordMetadata, Recover, SendError, SendResult, hooks_panicked,
    testing::{Answer, Scripted, block_on, send},
};
use tower_layer::Layer;
use tower_service::Service;

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Calm,
    Refuses,
    PanicsOnSend,
    PanicsOnOutcome,
}

struct Logs(&'static str, Log, Mood);

impl Logs {
    fn say(&self, what: impl std::fmt::Display) {
        self.1.lock().unwrap().push(format!("{}: {what}", self.0));
    }
}

impl Interceptor for Logs {
    type Token = &'static str;

    fn on_send(&self, record: &mut Parts) -> Result<&'static str, Failure> {
        record.headers.append(self.0, "1").unwrap();
        self.say("send");
        match self.2 {
            Mood::Refuses => Err(Failure::new(Code::Refused).detail("not today")),
            Mood::PanicsOnSend => std::panic::resume_unwind(Box::new("on_send")),
            Mood::Calm | Mood::PanicsOnOutcome => Ok(self.0),
        }
    }

    fn on_outcome(&self, token: &'static str, outcome: &Outcome<'_>) {
        assert_eq!(token, self.0);
        let result = outcome
            .result
            .map_or_else(|f| f.code().to_string(), |_| "ok".into());
        self.say(format_args!("{result} {}", outcome.attempts));
        if self.2 == Mood::PanicsOnOutcome {
            std::panic::resume_unwind(Box::new("on_outcome"));
        }
    }
}

/// Only stamps.
struct Stamps;

impl Interceptor for Stamps {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        record.headers.append("stamp", "1").unwrap();
        Ok(())
    }

    fn on_outcome(&self, (): (), _: &Outcome<'_>) {
        unreachable!("it does not observe");
    }
}

fn run(interceptor: impl Interceptor, engine: &Scripted) -> SendResult {
    let mut stack = InterceptorLayer::new(interceptor).layer(engine.clone());
    send(&mut stack, Record::new("t").value("v"))
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

fn three(log: &Log, moods: [Mood; 3]) -> (Logs, Logs, Logs) {
    let [a, b, c] = moods;
    (
        Logs("a", Arc::clone(log), a),
        Logs("b", Arc::clone(log), b),
        Logs("c", Arc::clone(log), c),
    )
}

use Mood::{Calm, PanicsOnOutcome, PanicsOnSend, Refuses};

#[test]
fn a_tuple_sends_in_order_and_hears_in_reverse() {
    let (log, engine) = (Log::default(), Scripted::new());
    run(three(&log, [Calm; 3]), &engine).unwrap();
    assert_eq!(
        taken(&log),
        [
            "a: send", "b: send", "c: send", "c: ok 1", "b: ok 1", "a: ok 1"
        ]
    );
    let stored = engine.stored();
    let names: Vec<_> = stored[0]
        .parts
        .headers
        .iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_tuple_is_as_its_layers_one_by_one() {
    let (log, engine) = (Log::default(), Scripted::new());
    let (a, b, c) = three(&log, [Calm; 3]);
    let inner = InterceptorLayer::new(c).layer(engine.clone());
    let middle = InterceptorLayer::new(b).layer(inner);
    let mut stack = InterceptorLayer::new(a).layer(middle);
    send(&mut stack, Record::new("t")).unwrap();
    let one_by_one = taken(&log);
    run(three(&log, [Calm; 3]), &engine).unwrap();
    assert_eq!(taken(&log), one_by_one);
}

/// With a token that has no place in a record's own memory.
struct Large(Logs);

impl Interceptor for Large {
    type Token = [u64; 40];

    fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure> {
        self.0.on_send(record)?;
        Ok(std::array::from_fn(|index| index as u64))
    }

    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        assert!(token.iter().copied().eq(0..40));
        self.0.on_outcome(self.0.0, outcome);
    }
}

/// Leaves a hook on each record, if it has a name.
#[derive(Clone)]
struct Hooks<S>(Option<&'static str>, Log, S);

impl<S: Produce> Service<Record> for Hooks<S> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.2.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        if let Some(name) = self.0 {
            let log = Arc::clone(&self.1);
            record.push_hook(Box::new(move |_: &Outcome<'_>| {
                log.lock().unwrap().push(name.to_owned());
            }));
        }
        self.2.call(record)
    }
}

/// Some lie in the record, others in boxes: more than two tokens, large ones, more than one hook, and tokens on those.
#[test]
fn all_are_told_once_and_in_their_turn_wherever_they_lie() {
    let refused = || Answer::fail(Failure::new(Code::Refused));
    for (answer, said) in [(Answer::deliver(), "ok 1"), (refused(), "REFUSED 1")] {
        for hooks in 0..1 << 5 {
            let (log, engine) = (Log::default(), Scripted::new());
            engine.script(answer.clone());
            let names = ["v", "w", "x", "y", "z"];
            let hook = |at: usize| (hooks >> at & 1 == 1).then_some(names[at]);
            let logs = |name| Logs(name, Arc::clone(&log), Calm);
            let (large, plain) = (Arc::new(Large(logs("large"))), Arc::new(logs("plain")));
            let inner = Hooks(hook(0), Arc::clone(&log), engine.clone());
            let inner = InterceptorLayer::new(Arc::clone(&plain)).layer(inner);
            let inner = Hooks(hook(1), Arc::clone(&log), inner);
            let inner = InterceptorLayer::new(logs("c")).layer(inner);
            let inner = Hooks(hook(2), Arc::clone(&log), inner);
            let inner = InterceptorLayer::new(Arc::clone(&large)).layer(inner);
            let inner = Hooks(hook(3), Arc::clone(&log), inner);
            let inner = InterceptorLayer::new(logs("a")).layer(inner);
            let mut stack = Hooks(hook(4), Arc::clone(&log), inner);
            let _ = send(&mut stack, Record::new("t"));
            drop(stack);

            let mut expected = Vec::new();
            for (at, name) in ["plain", "c", "large", "a"].into_iter().enumerate() {
                expected.extend(hook(at).map(str::to_owned));
                expected.push(format!("{name}: {said}"));
            }
            expected.extend(hook(4).map(str::to_owned));
            assert_eq!(taken(&log)[4..], expected);
            assert_eq!(
                (Arc::strong_count(&large), Arc::strong_count(&plain)),
                (1, 1)
            );
        }
    }
}

#[test]
fn a_refusal_pairs_those_before_it_in_reverse() {
    let (log, engine) = (Log::default(), Scripted::new());
    let error = run(three(&log, [Calm, Calm, Refuses]), &engine).unwrap_err();
    assert_eq!(
        taken(&log),
        [
            "a: send",
            "b: send",
            "c: send",
            "b: REFUSED 0",
            "a: REFUSED 0"
        ]
    );
    assert!(error.to_string().contains("not today"));
    assert_eq!(error.attempts(), 0);
    assert!(error.into_record().is_some());
    assert_eq!(engine.calls(), 0);
}

/// Keeps what it gets.
#[derive(Default)]
struct Keep(Mutex<Option<Failed>>);

impl Recover for Keep {
    fn recover(self: Arc<Self>, failed: Failed) {
        *self.0.lock().unwrap() = Some(failed);
    }
}

#[test]
fn a_refused_resend_tells_the_attempts_before_it() {
    let (log, engine) = (Log::default(), Scripted::new());
    let keep = Arc::new(Keep::default());
    let mut record = Record::new("t");
    record.push_recover(keep.clone());
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    drop(engine.clone().call(record));
    let failed = keep.0.lock().unwrap().take().unwrap();
    // Whatever the tuple is wrapped in.
    let tuple = (three(&log, [Calm, Refuses, Calm]),);
    let mut stack = InterceptorLayer::new(Some(Arc::new(tuple))).layer(engine.clone());
    failed.resend(&mut stack, None);
    assert_eq!(taken(&log), ["a: send", "b: send", "a: REFUSED 1"]);
    assert_eq!(engine.calls(), 1);
}

#[test]
fn a_refusal_further_in_is_heard_by_layers_further_out() {
    let (log, engine) = (Log::default(), Scripted::new());
    let (a, b, c) = three(&log, [Calm, Calm, Refuses]);
    let inner = InterceptorLayer::new((b, c)).layer(engine.clone());
    let mut stack = InterceptorLayer::new(a).layer(inner);
    send(&mut stack, Record::new("t")).unwrap_err();
    assert_eq!(
        taken(&log),
        [
            "a: send",
            "b: send",
            "c: send",
            "b: REFUSED 0",
            "a: REFUSED 0"
        ]
    );
}

#[test]
fn a_panic_on_send_refuses() {
    let (log, engine) = (Log::default(), Scripted::new());
    let before = hooks_panicked();
    let error = run(three(&log, [Calm, PanicsOnSend, Calm]), &engine).unwrap_err();
    assert_eq!(taken(&log), ["a: send", "b: send", "a: REFUSED 0"]);
    assert_eq!(*error.code(), Code::Refused);
    assert!(hooks_panicked() > before);
    assert_eq!(engine.calls(), 0);
}

#[test]
fn a_panic_on_outcome_harms_no_other() {
    let (log, engine) = (Log::default(), Scripted::new());
    let before = hooks_panicked();
    run(
        three(&log, [Calm, PanicsOnOutcome, PanicsOnOutcome]),
        &engine,
    )
    .unwrap();
    assert_eq!(taken(&log)[3..], ["c: ok 1", "b: ok 1", "a: ok 1"]);
    assert!(hooks_panicked() >= before + 2);
}

/// Panics when it is dropped, with what panics when it is dropped.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("and again"));
            }
        }
        std::panic::resume_unwind(Box::new(Again));
    }
}

/// Says whether it panics at the outcome too.
struct Ending(Mood, Ends);

impl Interceptor for Ending {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), _: &Outcome<'_>) {
        if self.0 == PanicsOnOutcome {
            std::panic::resume_unwind(Box::new("on_outcome"));
        }
    }
}

/// Sends a record through what this makes of the engine, between two that log, and lets the engine answer when the
/// stack is gone.
fn outlived<S: Produce<Future = Delivery>>(around: impl FnOnce(Scripted) -> S) {
    let (log, engine) = (Log::default(), Scripted::new());
    let before = hooks_panicked();
    engine.stall();
    let inner = around(engine.clone());
    let mut stack = InterceptorLayer::new(Logs("outside", Arc::clone(&log), Calm)).layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    let sent = stack.call(Record::new("t"));
    drop(stack);
    engine.resume();
    let sent = block_on(sent, Duration::from_secs(5));
    assert!(sent.expect("an answer").is_ok());
    assert_eq!(taken(&log), ["outside: send", "outside: ok 1"]);
    assert!(hooks_panicked() > before);
}

/// The last record of a stack that is gone takes the interceptors with it.
#[test]
fn panics_at_an_end_harm_no_other() {
    for mood in [Calm, PanicsOnOutcome] {
        let ends = || InterceptorLayer::new(Ending(mood, Ends));
        outlived(|engine| ends().layer(engine));
        // The second is in a box.
        outlived(|engine| ends().layer(ends().layer(engine)));
    }
}

#[test]
fn a_recoverers_end_may_panic() {
    struct Keeps(Ends);

    impl Recover for Keeps {
        fn recover(self: Arc<Self>, _: Failed) {}
    }

    #[derive(Clone)]
    struct Keeping(Scripted);

    impl Service<Record> for Keeping {
        type Response = RecordMetadata;
        type Error = SendError;
        type Future = Delivery;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, mut record: Record) -> Delivery {
            record.push_recover(Arc::new(Keeps(Ends)));
            self.0.call(record)
        }
    }

    outlived(Keeping);
}

#[test]
fn a_token_that_nobody_asked_for_may_panic_as_it_ends() {
    struct Stamper;

    impl Interceptor for Stamper {
        type Token = Option<Ends>;
        const OBSERVES: bool = false;

        fn on_send(&self, _: &mut Parts) -> Result<Option<Ends>, Failure> {
            Ok(Some(Ends))
        }
    }

    let (log, engine) = (Log::default(), Scripted::new());
    run((Logs("a", Arc::clone(&log), Calm), Stamper), &engine).unwrap();
    assert_eq!(taken(&log), ["a: send", "a: ok 1"]);
}

#[test]
fn one_that_only_stamps_leaves_no_hook() {
    let engine = Scripted::new();
    run(Stamps, &engine).unwrap();
    // In a tuple with one that observes, it is passed over.
    let log = Log::default();
    run((Stamps, Logs("a", Arc::clone(&log), Calm), Stamps), &engine).unwrap();
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    run((Stamps, Logs("a", Arc::clone(&log), Calm)), &engine).unwrap_err();
    run((Stamps, Logs("a", Arc::clone(&log), Refuses)), &engine).unwrap_err();
    assert_eq!(
        taken(&log),
        ["a: send", "a: ok 1", "a: send", "a: TIMED_OUT 1", "a: send"]
    );
    const { assert!(!<(Stamps, ()) as Interceptor>::OBSERVES) };
    const { assert!(<(Stamps, Logs) as Interceptor>::OBSERVES) };
}

#[test]
fn one_may_be_shared_or_left_out() {
    let (log, engine) = (Log::default(), Scripted::new());
    let shared = Arc::new(Logs("a", Arc::clone(&log), Calm));
    let left_out: Option<Logs> = None;
    let nested = ((Arc::clone(&shared),), left_out, Some(Arc::clone(&shared)));
    run(nested, &engine).unwrap();
    assert_eq!(taken(&log), ["a: send", "a: send", "a: ok 1", "a: ok 1"]);
}

#[test]
fn a_dropped_record_is_paired_too() {
    let log = Log::default();
    /// A layer that loses records.
    #[derive(Clone)]
    struct Loses;
    impl tower_service::Service<Record> for Loses {
        type Response = franking_core::RecordMetadata;
        type Error = franking_core::SendError;
        type Future = franking_core::Delivery;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, record: Record) -> Self::Future {
            drop(record);
            Record::new("t").fail(Failure::new(Code::Dropped))
        }
    }
    let mut stack = InterceptorLayer::new(Logs("a", Arc::clone(&log), Calm)).layer(Loses);
    send(&mut stack, Record::new("t")).unwrap_err();
    assert_eq!(taken(&log), ["a: send", "a: DROPPED 0"]);
}

#[test]
fn one_that_may_be_left_out_is_asked_if_it_is_there() {
    let log = Log::default();
    let there = Some(Logs("a", Arc::clone(&log), Mood::Calm));
    let token = there.on_send(&mut Record::new("t")).unwrap();
    assert_eq!(token, Some("a"));
    assert_eq!(*log.lock().unwrap(), ["a: send"]);
    let left_out = None::<Logs>.on_send(&mut Record::new("t")).unwrap();
    assert_eq!(left_out, None);
}

#[test]
fn room_is_the_engines_business() {
    let engine = Scripted::with_room(1);
    let mut stack = InterceptorLayer::new(Stamps).layer(engine.clone());
    let mut context = Context::from_waker(Waker::noop());
    engine.stall();
    assert!(stack.poll_ready(&mut context).is_ready());
    let sent = stack.call(Record::new("t").value("more than there is room for"));
    assert!(stack.poll_ready(&mut context).is_pending());
    engine.resume();
    assert!(stack.poll_ready(&mut context).is_ready());
    drop(sent);
    assert!(format!("{stack:?}").starts_with("Intercepted { inner: "));
}

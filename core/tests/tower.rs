//! What tower's own layers do on this stack: the table in the docs of [`franking_core::tower`].

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use franking_core::{
    BoxError, Code, Failed, Failure, Outcome, Persistence, Produce, Record, RecordMetadata,
    Recover, SendError, SendResult,
    testing::{Answer, Scripted},
    tower,
};
use tower::{
    buffer::BufferLayer, filter::FilterLayer, limit::ConcurrencyLimitLayer,
    load_shed::LoadShedLayer, timeout::TimeoutLayer,
};
use tower_layer::Layer;
use tower_service::Service;

/// What the hooks of a test heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<End>>>);

/// `None`: delivered.
type End = Option<(Code, Persistence)>;

impl Heard {
    fn hook(&self, mut record: Record) -> Record {
        let heard = Arc::clone(&self.0);
        record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
            let failure = outcome.result.err();
            let failure = failure.map(|failure| (failure.code().clone(), failure.persistence()));
            heard.lock().unwrap().push(failure);
        }));
        record
    }

    fn take(&self) -> Vec<End> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

const DROPPED: End = Some((Code::Dropped, Persistence::NotPersisted));

fn record() -> Record {
    Record::new("orders").key("k").value("v")
}

fn poll<S: Produce>(stack: &mut S) -> Poll<Result<(), SendError>> {
    stack.poll_ready(&mut Context::from_waker(Waker::noop()))
}

async fn send<S: Produce>(stack: &mut S, record: Record) -> SendResult {
    poll_fn(|cx| stack.poll_ready(cx)).await?;
    stack.call(record).await
}

/// Fills the engine's buffer with records that are not acknowledged.
async fn fill(engine: &Scripted) {
    engine.stall();
    let mut handle = engine.clone();
    while poll(&mut handle).is_ready() {
        drop(handle.call(record()));
    }
}

#[tokio::test]
async fn concurrency_limit_limits_waiters_and_not_records() {
    let engine = Scripted::new();
    engine.stall();
    let mut stack = tower(ConcurrencyLimitLayer::new(1)).layer(engine.clone());
    assert!(poll(&mut stack).is_ready());
    let sent = stack.call(record());
    assert!(poll(&mut stack).is_pending());

    drop(sent);
    assert!(
        poll(&mut stack).is_ready(),
        "a dropped future frees its place"
    );
    assert_eq!(engine.unsettled(), 1, "though its record is outstanding");
}

#[tokio::test]
async fn load_shed_loses_the_record() {
    let engine = Scripted::with_room(1000);
    fill(&engine).await;
    let calls = engine.calls();
    let heard = Heard::default();
    let mut stack = tower(LoadShedLayer::new()).layer(engine.clone());
    let error = send(&mut stack, heard.hook(record())).await.unwrap_err();

    assert_eq!(*error.code(), Code::Dropped);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.is_transient());
    assert!(error.to_string().contains("overloaded"), "{error}");
    assert!(error.into_record().is_none());
    assert_eq!(heard.take(), [DROPPED]);
    assert_eq!(engine.calls(), calls);
}

#[tokio::test]
async fn filter_loses_the_record() {
    let engine = Scripted::new();
    let heard = Heard::default();
    let only_values = |record: Record| match record.is_tombstone() {
        true => Err(BoxError::from("no tombstones here")),
        false => Ok(record),
    };
    let mut stack = tower(FilterLayer::new(only_values)).layer(engine.clone());

    let tombstone = heard.hook(Record::new("orders").key("k"));
    let error = send(&mut stack, tombstone).await.unwrap_err();
    assert_eq!(*error.code(), Code::Dropped);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.to_string().contains("no tombstones here"), "{error}");
    assert_eq!(error.topic().map(|topic| topic.as_str()), Some("orders"));
    assert_eq!(heard.take(), [DROPPED]);

    send(&mut stack, record()).await.unwrap();
    assert_eq!(engine.stored().len(), 1);
}

#[tokio::test]
async fn buffer_is_neither_eager_nor_detached() {
    let engine = Scripted::new();
    let heard = Heard::default();
    let mut stack = tower(BufferLayer::new(8)).layer(engine.clone());

    poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
    let kept = stack.call(heard.hook(record()));
    assert_eq!(engine.calls(), 0, "the record waits for the buffer's task");
    kept.await.unwrap();
    assert_eq!(heard.take(), [None]);

    poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
    drop(stack.call(heard.hook(record())));
    send(&mut stack, record()).await.unwrap();
    assert_eq!(
        engine.calls(),
        2,
        "the record whose caller went away was skipped"
    );
    assert_eq!(heard.take(), [DROPPED]);
}

#[tokio::test]
async fn buffer_passes_on_why_the_engine_takes_nothing() {
    let engine = Scripted::new();
    let heard = Heard::default();
    let mut stack = tower(BufferLayer::new(8)).layer(engine.clone());
    engine.close();
    // The first record meets the refusal behind the buffer, and is lost there.
    let error = send(&mut stack, heard.hook(record())).await.unwrap_err();
    assert_eq!(
        heard.take(),
        [Some((error.code().clone(), error.persistence()))]
    );
    // From then on the buffer says so; what it says is wrapped in an error of its own.
    let error = send(&mut stack, record()).await.unwrap_err();
    assert_eq!(*error.code(), Code::Closed, "{error}");
    assert_eq!(error.persistence(), Persistence::NotPersisted);
}

#[tokio::test(start_paused = true)]
async fn timeout_answers_unknown_and_the_hooks_hear_the_truth() {
    let engine = Scripted::new();
    engine.stall();
    let heard = Heard::default();
    let mut stack = tower(TimeoutLayer::new(Duration::from_secs(1))).layer(engine.clone());

    let error = send(&mut stack, heard.hook(record())).await.unwrap_err();
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert!(error.into_record().is_none(), "the record goes on");
    assert_eq!(heard.take(), []);

    engine.resume();
    assert_eq!(heard.take(), [None]);
    assert_eq!(engine.stored().len(), 1);
}

#[tokio::test]
async fn the_engines_error_comes_through_with_its_record() {
    let engine = Scripted::new();
    let mut stack = tower(TimeoutLayer::new(Duration::from_secs(1))).layer(engine.clone());
    engine.script(Answer::fail(Failure::new(Code::Authorization)));
    let error = send(&mut stack, record()).await.unwrap_err();
    assert_eq!(*error.code(), Code::Authorization);
    assert_eq!(error.attempts(), 1);
    let back = error.into_record().unwrap();
    assert_eq!(back.key.as_deref(), Some(&b"k"[..]));
    send(&mut stack, back).await.unwrap();
}

#[tokio::test]
async fn a_closed_engine_says_so_through_the_adapter() {
    let engine = Scripted::new();
    let mut stack = tower(ConcurrencyLimitLayer::new(1)).layer(engine.clone());
    engine.close();
    let Poll::Ready(Err(error)) = poll(&mut stack) else {
        panic!("a closed engine is ready");
    };
    assert_eq!(*error.code(), Code::Closed);
}

/// A layer that is never ready and says why in an error of its own.
#[derive(Clone)]
struct Broken;

impl Service<Record> for Broken {
    type Response = RecordMetadata;
    type Error = BoxError;
    type Future = std::future::Ready<Result<RecordMetadata, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("the layer lost its database".into()))
    }

    fn call(&mut self, _: Record) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[test]
fn what_was_never_called_is_not_persisted() {
    let mut stack = tower(tower_layer::layer_fn(|_: Scripted| Broken)).layer(Scripted::new());
    let Poll::Ready(Err(error)) = poll(&mut stack) else {
        panic!("it is ready");
    };
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!(*error.code(), Code::Refused);
    assert!(error.to_string().contains("lost its database"), "{error}");
}

/// Keeps what fails, for the test to send again.
#[derive(Default)]
struct Keep(Mutex<Option<Failed>>);

impl Recover for Keep {
    fn recover(self: Arc<Self>, failed: Failed) {
        *self.0.lock().unwrap() = Some(failed);
    }
}

/// A record that failed, in the hands of a recoverer above the stack, and its caller's future.
fn failed_once<S: Produce>(engine: &Scripted, stack: &mut S) -> (Failed, S::Future) {
    let keep = Arc::new(Keep::default());
    let mut record = record();
    record.push_recover(keep.clone());
    engine.script(Answer::fail(Failure::new(Code::TimedOut).transient(true)));
    assert!(poll(stack).is_ready());
    let sent = stack.call(record);
    let failed = keep.0.lock().unwrap().take().unwrap();
    (failed, sent)
}

#[tokio::test]
async fn a_resend_makes_the_adapter_ready_first() {
    let engine = Scripted::new();
    // A `ConcurrencyLimit` that is called without being ready panics.
    let mut stack = tower(ConcurrencyLimitLayer::new(1)).layer(engine.clone());
    let (failed, sent) = failed_once(&engine, &mut stack);
    let mut other = tower(ConcurrencyLimitLayer::new(1)).layer(engine.clone());
    failed.resend(&mut other, None);
    assert_eq!(sent.await.unwrap().offset, Some(0));
    assert_eq!(engine.room().used(), 0);
}

#[tokio::test]
async fn a_resend_through_an_adapter_that_is_not_ready_is_refused() {
    let engine = Scripted::new();
    let mut stack = tower(ConcurrencyLimitLayer::new(1)).layer(engine.clone());
    // The first caller's future holds the only place.
    let (failed, sent) = failed_once(&engine, &mut stack);
    failed.resend(&mut stack, None);
    let error = sent.await.unwrap_err();
    assert_eq!(*error.code(), Code::Refused);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert!(error.is_transient());
    assert_eq!(error.attempts(), 1);
    assert!(error.into_record().is_some());
    assert_eq!(engine.room().outstanding(), 0);
}

/// Keeps what fails.
#[derive(Default)]
struct Keeps(Mutex<Option<Failed>>);

impl Recover for Keeps {
    fn recover(self: Arc<Self>, failed: Failed) {
        *self.0.lock().unwrap() = Some(failed);
    }
}

/// A layer inside a recoverer that answers in a record's place knows only of an attempt.
#[tokio::test]
async fn inside_a_recoverer_an_answer_of_the_layers_own_is_unknown() {
    let engine = Scripted::new();
    let mut stack = tower(FilterLayer::new(
        |record: Record| -> Result<Record, BoxError> {
            drop(record);
            Err("filtered".into())
        },
    ))
    .layer(engine.clone());
    let heard = Heard::default();
    let keeps = Arc::new(Keeps::default());
    let mut record = heard.hook(record());
    record.push_recover(Arc::clone(&keeps) as Arc<dyn Recover>);
    let error = send(&mut stack, record).await.unwrap_err();
    assert_eq!(error.persistence(), Persistence::Unknown);
    assert_eq!(heard.take(), [], "the recoverer may still send it");

    let failed = keeps.0.lock().unwrap().take().unwrap();
    failed.resend(&mut engine.clone(), None);
    assert_eq!(heard.take(), [None]);
    assert_eq!(engine.stored().len(), 1);
}

#[test]
fn debug_shows_the_layer() {
    let stack = tower(LoadShedLayer::new()).layer(Scripted::new());
    let shown = format!("{stack:?}");
    assert!(shown.starts_with("Tower(LoadShed"), "{shown}");
}

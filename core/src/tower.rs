//! Layers that were not written for records: tower's own, and anybody's.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError, Code, Delivery, Failure, Outcome, Persistence, Record, RecordMetadata, SendError,
};

/// Puts any tower layer on the stack and turns its `BoxError` back into the [`SendError`] inside it, so that the stack
/// keeps one error type.
///
/// An error of the layer's own (its time-out, its overload) becomes a `SendError` that says what is known of the record
/// at that moment: *not persisted* if the layer dropped it before an engine had it, otherwise *unknown*, while the record
/// goes on and its hooks hear the truth. What tower's own layers do here:
///
/// | layer | here |
/// |---|---|
/// | `ConcurrencyLimit` | limits the sends that are waited for, not the records: a dropped future frees its place |
/// | `LoadShed`, `Filter` | lose the record when they refuse: hooks hear [`Code::Dropped`], nothing comes back |
/// | `Buffer` | skips requests whose caller went away: breaks the promises *eager* and *detached* |
/// | `Timeout` | answers *unknown* |
/// | `Retry` | clones requests, and so leaves the hooks behind: not for this stack |
///
/// Two allocations a record (what the layer itself boxes aside).
///
/// ```
/// use std::time::Duration;
/// use franking_core::tower;
/// # fn stack<S: franking_core::Produce>(engine: S) -> impl franking_core::Produce {
/// use ::tower::timeout::TimeoutLayer;
/// use tower_layer::Layer;
///
/// tower(TimeoutLayer::new(Duration::from_secs(1))).layer(engine)
/// # }
/// ```
pub fn tower<L>(layer: L) -> TowerLayer<L> {
    TowerLayer(layer)
}

/// See [`tower`].
#[derive(Clone, Copy, Debug)]
pub struct TowerLayer<L>(L);

impl<L: Layer<S>, S> Layer<S> for TowerLayer<L> {
    type Service = Tower<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        Tower {
            inner: self.0.layer(inner),
            ready: false,
        }
    }
}

/// A foreign service with this stack's error type; made by [`tower`].
pub struct Tower<T> {
    inner: T,
    ready: bool,
}

/// A clone is not ready, as tower demands.
impl<T: Clone> Clone for Tower<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ready: false,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Tower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tower").field(&self.inner).finish()
    }
}

impl<T> Service<Record> for Tower<T>
where
    T: Service<Record, Response = RecordMetadata>,
    T::Error: Into<BoxError>,
    T::Future: Send + 'static,
{
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let polled = self.inner.poll_ready(cx);
        self.ready = matches!(polled, Poll::Ready(Ok(())));
        polled.map_err(|error| SendError::new(not_ready(error.into())))
    }

    fn call(&mut self, mut record: Record) -> Delivery {
        if !std::mem::take(&mut self.ready) {
            // A recoverer sends again without waiting (see `Record::holds_room`), but foreign layers may panic if they
            // were not polled.
            let mut cx = Context::from_waker(Waker::noop());
            match self.inner.poll_ready(&mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return record.fail(not_ready(error.into())),
                Poll::Pending => {
                    return record.fail(
                        Failure::new(Code::Refused)
                            .transient(true)
                            .detail("a tower layer inside a recoverer was not ready for the resend")
                            .advice("put tower layers outside of retry"),
                    );
                }
            }
        }
        let topic = record.topic.clone();
        let fate = Fate::default();
        // Inside a recoverer a failure is an attempt's and may not be the end: then nothing is known.
        if !record.has_recoverer() {
            record.push_hook(Box::new({
                let fate = fate.clone();
                move |outcome: &Outcome<'_>| fate.hear(outcome)
            }));
        }
        let future = self.inner.call(record);
        Delivery::boxed(async move {
            future
                .await
                .map_err(|error| unbox(error.into(), &fate).in_topic(topic))
        })
    }
}

/// What is known of a record whose layer answers in its place.
#[derive(Clone, Default)]
struct Fate(Arc<AtomicU8>);

const DROPPED: u8 = 1;
const NOT_PERSISTED: u8 = 2;

impl Fate {
    fn hear(&self, outcome: &Outcome<'_>) {
        if let Err(failure) = outcome.result
            && failure.persistence() == Persistence::NotPersisted
        {
            let fate = match failure.code() {
                Code::Dropped => DROPPED,
                _ => NOT_PERSISTED,
            };
            self.0.store(fate, Ordering::Release);
        }
    }
}

/// The failure of this stack that an error is about, if there is one: some layers wrap what they pass on.
fn inside(error: &BoxError) -> Option<&Failure> {
    let mut next = Some(&**error as &(dyn Error + 'static));
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<SendError>() {
            return Some(error.failure());
        }
        next = error.source();
    }
    None
}

/// Why a layer takes no record: whatever it says, nothing was sent.
fn not_ready(error: BoxError) -> Failure {
    match inside(&error) {
        Some(failure) => failure.clone(),
        None => Failure::new(Code::Refused)
            .detail(format!("a tower layer takes no record: {error}"))
            .because(error),
    }
}

/// The stack's own error if the box holds it, otherwise one that says what is known.
fn unbox(error: BoxError, fate: &Fate) -> SendError {
    match error.downcast::<SendError>() {
        Ok(error) => *error,
        Err(error) => {
            let text = error.to_string();
            SendError::new(match (fate.0.load(Ordering::Acquire), inside(&error)) {
                (DROPPED, _) => Failure::new(Code::Dropped)
                    .transient(true)
                    .detail(format!("a tower layer dropped the record: {text}"))
                    .because(error),
                (_, Some(failure)) => failure.clone(),
                (NOT_PERSISTED, None) => Failure::new(Code::Refused)
                    .detail(format!("a tower layer answered for the record: {text}"))
                    .because(error),
                (_, None) => Failure::new(Code::TimedOut)
                    .with_persistence(Persistence::Unknown)
                    .detail(format!(
                        "a tower layer answered before the outcome was known: {text}"
                    ))
                    .advice(
                        "the record goes on; its hooks (audit, metrics, trace) hear the outcome",
                    )
                    .because(error),
            })
        }
    }
}

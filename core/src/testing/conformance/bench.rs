//! The bench that a clause works at: a service, the levers, and watches for outcomes.

use std::{
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tower_service::Service;

use super::{
    Fixture, Lever, NoLever,
    report::{Checked, Stop},
};
use crate::{
    Code, Outcome, Parts, Persistence, Placed, Record, Room, SendError, SendResult, Topic, Totals,
    testing::block_on,
};

pub(super) struct Bench<'f, F: Fixture> {
    fixture: &'f mut F,
    pub(super) service: F::Service,
    pub(super) topic: Topic,
    pub(super) patience: Duration,
}

/// The future of a fixture's service.
pub(super) type Sent<F> = <<F as Fixture>::Service as Service<Record>>::Future;

/// A send that was polled once.
pub(super) type Awaited = Pin<Box<dyn Future<Output = SendResult> + Send>>;

impl<'f, F: Fixture> Bench<'f, F> {
    pub(super) fn new(fixture: &'f mut F, room: usize) -> Self {
        Self {
            service: fixture.make(room),
            topic: fixture.topic(),
            patience: fixture.patience(),
            fixture,
        }
    }

    /// The `n`th record of this clause.
    pub(super) fn record(&self, n: usize) -> Record {
        record(&self.topic, n)
    }

    /// Waits until the service takes a record, and hands it over.
    pub(super) fn call(&self, service: &mut F::Service, record: Record) -> Checked<Sent<F>> {
        call(service, record, self.patience)
    }

    /// As [`call`](Self::call), by a caller who awaits the outcome from now on.
    pub(super) fn send(&self, service: &mut F::Service, record: Record) -> Checked<Awaited> {
        Ok(Self::polled(self.call(service, record)?))
    }

    /// Polls a future once.
    pub(super) fn polled(sent: Sent<F>) -> Awaited {
        let mut sent = Box::pin(sent);
        let mut cx = Context::from_waker(Waker::noop());
        match sent.as_mut().poll(&mut cx) {
            Poll::Ready(result) => Box::pin(ready(result)),
            Poll::Pending => sent,
        }
    }

    /// Waits for the outcome.
    pub(super) fn outcome(&self, sent: impl Future<Output = SendResult>) -> Checked<SendResult> {
        block_on(sent, self.patience).ok_or_else(|| {
            Stop::Broken(format!(
                "the future did not resolve within {:?}",
                self.patience
            ))
        })
    }

    /// Asks for readiness once.
    pub(super) fn poll(service: &mut F::Service) -> Poll<Result<(), SendError>> {
        service.poll_ready(&mut Context::from_waker(Waker::noop()))
    }

    /// Makes handles ready, without using them, until there is no room: those, and the one that waits.
    pub(super) fn fill(&self) -> Checked<(Vec<F::Service>, F::Service)> {
        let mut ready = Vec::new();
        // A ready handle holds a byte at least.
        for _ in 0..=super::LITTLE {
            let mut handle = self.service.clone();
            match Self::poll(&mut handle) {
                Poll::Ready(Ok(())) => ready.push(handle),
                Poll::Pending => return Ok((ready, handle)),
                Poll::Ready(Err(error)) => {
                    return Err(Stop::Broken(format!("poll_ready failed: {error}")));
                }
            }
        }
        Err(Stop::Broken(
            "poll_ready never waited for room: it reserves none".into(),
        ))
    }

    /// Tries until it holds.
    pub(super) fn eventually(&self, mut holds: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + self.patience;
        while !holds() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    // === levers ===

    pub(super) fn room(&mut self) -> Checked<Option<Arc<Room>>> {
        // Clauses say less without it, but something.
        match self.fixture.room() {
            Err(NoLever::Impossible(_)) => Ok(None),
            room => lever("room", room).map(Some),
        }
    }

    pub(super) fn stall(&mut self) -> Checked {
        lever("stall", self.fixture.stall())
    }

    /// Stalls where that can be had; says whether it did.
    pub(super) fn stall_if_possible(&mut self) -> Checked<bool> {
        match self.fixture.stall() {
            Err(NoLever::Impossible(_)) => Ok(false),
            stalled => lever("stall", stalled).map(|()| true),
        }
    }

    pub(super) fn resume(&mut self) -> Checked {
        lever("resume", self.fixture.resume())
    }

    pub(super) fn fail_next(&mut self) -> Checked<Topic> {
        lever("fail_next", self.fixture.fail_next(&self.topic))
    }

    pub(super) fn lose_acknowledgement(&mut self) -> Checked {
        lever("lose_acknowledgement", self.fixture.lose_acknowledgement())
    }

    pub(super) fn close(&mut self, within: Duration) -> Checked<Totals> {
        lever("close", self.fixture.close(within))
    }

    /// What is in the topic; `None` if nobody can look.
    pub(super) fn stored(&mut self, topic: &Topic) -> Checked<Option<Vec<Parts>>> {
        match self.fixture.stored(topic) {
            Err(NoLever::Impossible(_)) => Ok(None),
            stored => lever("stored", stored).map(Some),
        }
    }

    /// How often each of the records `0..n` of this clause is in the topic; `None` if nobody can look.
    pub(super) fn copies(&mut self, n: usize) -> Checked<Option<Vec<usize>>> {
        let topic = self.topic.clone();
        Ok(self.stored(&topic)?.map(|stored| {
            (0..n)
                .map(|n| {
                    stored
                        .iter()
                        .filter(|parts| number(parts) == Some(n))
                        .count()
                })
                .collect()
        }))
    }
}

/// A stall does not outlive its clause.
impl<F: Fixture> Drop for Bench<'_, F> {
    fn drop(&mut self) {
        let _ = self.fixture.resume();
    }
}

fn lever<T>(name: &str, lever: Lever<T>) -> Checked<T> {
    lever.map_err(|none| match none {
        NoLever::Missing => Stop::Broken(format!("the fixture has no lever `{name}`")),
        NoLever::Impossible(reason) => Stop::LeftOut(format!("no lever `{name}`: {reason}")),
    })
}

/// The `n`th record of a clause.
pub(super) fn record(topic: &Topic, n: usize) -> Record {
    Record::new(topic)
        .partition(0)
        .key(n.to_string())
        .value("value")
}

/// Which record of the clause this is.
pub(super) fn number(parts: &Parts) -> Option<usize> {
    std::str::from_utf8(parts.key.as_deref()?)
        .ok()?
        .parse()
        .ok()
}

/// Waits until the service takes a record, and hands it over.
pub(super) fn call<S: crate::Produce>(
    service: &mut S,
    record: Record,
    patience: Duration,
) -> Checked<S::Future> {
    match block_on(poll_fn(|cx| service.poll_ready(cx)), patience) {
        Some(Ok(())) => Ok(service.call(record)),
        Some(Err(error)) => Err(Stop::Broken(format!("poll_ready failed: {error}"))),
        None => Err(Stop::Broken(format!(
            "poll_ready did not get ready within {patience:?}"
        ))),
    }
}

/// Hears the outcomes of a clause's records, in the order in which they come.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Told>);

#[derive(Default)]
struct Told {
    heard: Mutex<Vec<Heard>>,
    more: Condvar,
}

#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) id: usize,
    pub(super) result: Result<Placed, (Code, Persistence)>,
    pub(super) attempts: u32,
}

impl Watch {
    /// Leaves a hook on the record that tells this watch.
    pub(super) fn on(&self, id: usize, record: &mut Record) {
        let told = Arc::clone(&self.0);
        record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
            let result = outcome
                .result
                .map_err(|failure| (failure.code().clone(), failure.persistence()));
            lock(&told.heard).push(Heard {
                id,
                result,
                attempts: outcome.attempts,
            });
            told.more.notify_all();
        }));
    }

    /// Everything heard so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        lock(&self.0.heard).clone()
    }

    /// Waits until this many outcomes were heard, or the patience ends, and gives what was heard.
    pub(super) fn wait(&self, many: usize, patience: Duration) -> Vec<Heard> {
        let heard = lock(&self.0.heard);
        let waited = self
            .0
            .more
            .wait_timeout_while(heard, patience, |heard| heard.len() < many);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Sending from synchronous code.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use franking_core::{Code, Failure, Persistence, Record, RecordMetadata, SendError, Topic};

use super::{
    Producer, ProducerRecord, no_room,
    serialize::{Prepared, not_ready},
};
use crate::engine::rdkafka::is_engine_thread;

/// A producer's blocking face: [`Producer::blocking`].
///
/// `send` waits for the acknowledgement on the calling thread: as long as the producer's own `max.block.ms` and
/// `delivery.timeout.ms` allow, or until this handle's time-out or interrupt. It needs no runtime, works inside
/// `spawn_blocking`, and refuses on a thread that runs async tasks ([`Code::WouldBlock`]), which it would keep from
/// running others, and in hooks and callbacks, which run on the engine's thread: it would wait for itself.
///
/// ```no_run
/// use std::time::Duration;
/// use franking::{Code, Producer, ProducerRecord};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let producer: Producer<String, String> = Producer::builder()
///     .property("bootstrap.servers", "localhost:9092")
///     .property("key.serializer", "string")
///     .property("value.serializer", "string")
///     .build()?;
/// let record = ProducerRecord::new("orders").value("espresso".to_owned());
/// match producer.blocking().timeout(Duration::from_secs(5)).send(record) {
///     Ok(metadata) => println!("{}-{}", metadata.topic, metadata.partition),
///     Err(error) if *error.code() == Code::Serialization => eprintln!("not sent: {error}"),
///     Err(error) if *error.code() == Code::TimedOut => eprintln!("{}: {error}", error.persistence()),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Blocking<'p, K, V> {
    producer: &'p Producer<K, V>,
    timeout: Option<Duration>,
    interrupt: Option<Interrupt>,
}

impl<'p, K: 'static, V: 'static> Blocking<'p, K, V> {
    pub(super) fn new(producer: &'p Producer<K, V>) -> Self {
        Self {
            producer,
            timeout: None,
            interrupt: None,
        }
    }

    /// Waits no longer than this in all. The error then says what became of the record: *not persisted*, and given
    /// back, if it still waited for room; *possibly persisted* otherwise, and the record goes on.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Ends the wait when another thread calls [`Interrupt::interrupt`], with [`Code::Interrupted`] and, as with a
    /// time-out, what became of the record.
    pub fn interrupted_by(mut self, interrupt: &Interrupt) -> Self {
        self.interrupt = Some(interrupt.clone());
        self
    }

    /// Sends and waits for the acknowledgement.
    ///
    /// # Errors
    /// As [`Producer::send`], and [`Code::WouldBlock`], [`Code::TimedOut`], [`Code::Interrupted`] as said above.
    pub fn send(self, record: ProducerRecord<K, V>) -> Result<RecordMetadata, SendError> {
        let producer = &self.producer.inner;
        let started = Instant::now();
        // Without one if it lies beyond all times: `max.block.ms` may be that large.
        let deadline = self
            .timeout
            .and_then(|timeout| started.checked_add(timeout));
        let room_by = started.checked_add(producer.max_block);
        let first = deadline.into_iter().chain(room_by).min();

        if let Some(prepared) = producer.preparing(&record) {
            self.prepare(prepared, &record.record.topic, first, first == room_by)?;
        }
        let record = producer.serialize(record)?;
        if runs_async_tasks() {
            return Err(SendError::giving_back(
                Failure::new(Code::WouldBlock)
                    .detail("a blocking send on a thread that runs async tasks would stop them"),
                record,
                0,
            ));
        }
        if is_engine_thread() {
            return Err(SendError::giving_back(
                Failure::new(Code::WouldBlock)
                    .detail(
                        "a blocking send in a hook or callback would stop the engine that runs it",
                    )
                    .advice("send from another thread, or with try_send"),
                record,
                0,
            ));
        }
        if self.interrupt.as_ref().is_some_and(Interrupt::is_raised) {
            return Err(interrupted(Some(record)));
        }
        let mut handle = producer.handles.take();
        let ready = self.wait(pin!(handle.ready()), first);
        match ready {
            Ended::Done(Ok(())) => {}
            Ended::Done(Err(error)) => return Err(super::with_record(error, record)),
            Ended::Late if first == room_by => return Err(no_room(record, producer.max_block)),
            Ended::Late => return Err(self.late(Some(record))),
            Ended::Interrupted => return Err(interrupted(Some(record))),
        }

        let topic = record.topic.clone();
        let delivery = handle.call(record);
        match self.wait(pin!(delivery), deadline) {
            Ended::Done(result) => result,
            Ended::Late => Err(self.late(None).in_topic(topic)),
            Ended::Interrupted => Err(interrupted(None).in_topic(topic)),
        }
    }

    /// Waits for what the serializers need.
    fn prepare(
        &self,
        prepared: Prepared,
        topic: &Topic,
        until: Option<Instant>,
        is_max_block: bool,
    ) -> Result<(), SendError> {
        if runs_async_tasks() || is_engine_thread() {
            // It may not wait here; the serializer says itself what is missing.
            return Ok(());
        }
        let code = match self.wait(pin!(prepared), until) {
            Ended::Done(prepared) => return prepared,
            Ended::Late if is_max_block => Code::Serialization,
            Ended::Late => Code::TimedOut,
            Ended::Interrupted => Code::Interrupted,
        };
        Err(not_ready(code, topic))
    }

    fn wait<F: Future>(&self, future: Pin<&mut F>, deadline: Option<Instant>) -> Ended<F::Output> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let ended = self.wait_with(&waker, future, deadline);
        if let Some(interrupt) = &self.interrupt {
            interrupt.forget(&waker);
        }
        ended
    }

    fn wait_with<F: Future>(
        &self,
        waker: &Waker,
        mut future: Pin<&mut F>,
        deadline: Option<Instant>,
    ) -> Ended<F::Output> {
        let mut cx = Context::from_waker(waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ended::Done(output);
            }
            if let Some(interrupt) = &self.interrupt
                && interrupt.is_raised_or_wakes(waker)
            {
                return Ended::Interrupted;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ended::Late,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }

    /// The caller's own time is over. Without its record: that goes on.
    fn late(&self, record: Option<Record>) -> SendError {
        let failure = Failure::new(Code::TimedOut)
            .detail(match record {
                Some(_) => "the caller's time-out passed while the record waited for room",
                None => {
                    "the caller's time-out passed before the acknowledgement; the record goes on"
                }
            })
            .advice("wait longer, or look at the audit for what became of it");
        ended(failure, record)
    }
}

fn interrupted(record: Option<Record>) -> SendError {
    let failure = Failure::new(Code::Interrupted).detail(match record {
        Some(_) => "interrupted while the record waited for room",
        None => "interrupted before the acknowledgement; the record goes on",
    });
    ended(failure, record)
}

fn ended(failure: Failure, record: Option<Record>) -> SendError {
    match record {
        Some(record) => SendError::giving_back(failure, record, 0),
        None => SendError::new(failure.with_persistence(Persistence::Unknown)).after_attempts(1),
    }
}

enum Ended<T> {
    Done(T),
    Late,
    Interrupted,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Ends blocking sends from another thread, as Java's `Thread.interrupt`. It stays raised: every later send with it ends
/// at once too. Clones are one interrupt.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Raised>);

#[derive(Debug, Default)]
struct Raised {
    raised: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Interrupt {
    /// One that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the sends that wait with this interrupt.
    pub fn interrupt(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(
            &mut *self
                .0
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// Whether it was raised; if not, wakes this waker when it is.
    fn is_raised_or_wakes(&self, waker: &Waker) -> bool {
        let mut waiting = self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock, which `interrupt` takes after raising: no wake-up is missed.
        if self.is_raised() {
            return true;
        }
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        false
    }

    /// Forgets a wait that ended: one interrupt may serve any number of sends.
    fn forget(&self, waker: &Waker) {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !other.will_wake(waker));
    }
}

/// Whether this thread polls async tasks right now. tokio has no question for that which does not panic; but it gives
/// tasks, and only tasks, a budget that ends (128 operations), also within `block_on` and not within `spawn_blocking`.
/// A task that is refused for it yields once more than it would have.
fn runs_async_tasks() -> bool {
    if tokio::runtime::Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    (0..256).any(|_| {
        pin!(tokio::task::coop::consume_budget())
            .poll(&mut cx)
            .is_pending()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serializers::StringSerializer;

    #[test]
    fn an_interrupt_remembers_no_send_that_ended() {
        let producer: Producer<String, String> = Producer::builder()
            .property("bootstrap.servers", "127.0.0.1:1")
            .key_serializer(StringSerializer)
            .value_serializer(StringSerializer)
            .build()
            .unwrap();
        let interrupt = Interrupt::new();
        for _ in 0..3 {
            let error = producer
                .blocking()
                .timeout(Duration::from_millis(1))
                .interrupted_by(&interrupt)
                .send(ProducerRecord::new("t"))
                .unwrap_err();
            assert_eq!(*error.code(), Code::TimedOut);
        }
        assert!(interrupt.0.waiting.lock().unwrap().is_empty());
    }
}

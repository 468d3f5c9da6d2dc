//! An engine without a broker that answers as a test tells it to.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower_service::Service;

use crate::{
    Acks, Code, Delivery, Failure, Flight, Parts, Persistence, Placed, Record, RecordMetadata,
    Reservation, Room, SendError, Slots, Topic, Totals,
};

/// What a record costs beside its payload, as engines charge their bookkeeping.
const OVERHEAD: usize = 100;
/// Kafka's default of `buffer.memory`.
const DEFAULT_ROOM: usize = 32 * 1024 * 1024;

/// An engine for tests: no broker, no runtime, no thread, no clock of its own.
///
/// Untold, it delivers each record within `call`, to the record's partition or 0, and counts offsets for each partition.
/// A test [`script`](Self::script)s answers, [`stall`](Self::stall)s the acknowledgements, [`advance`](Self::advance)s
/// the clock, and reads what was [`stored`](Self::stored). A clone is another handle to the same engine, so a test keeps
/// one and gives one to the stack.
///
/// # Example
/// A test of a layer that refuses tombstones:
///
/// ```
/// use franking_core::{Code, Failure, Interceptor, InterceptorLayer, Parts, Record};
/// use franking_core::testing::{Answer, Scripted, send};
/// use tower_layer::Layer;
///
/// struct NoTombstones;
/// impl Interceptor for NoTombstones {
///     type Token = ();
///     fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
///         if record.is_tombstone() { Err(Failure::new(Code::Refused)) } else { Ok(()) }
///     }
/// }
///
/// let engine = Scripted::new();
/// let mut stack = InterceptorLayer::new(NoTombstones).layer(engine.clone());
///
/// let refused = send(&mut stack, Record::new("orders").key("k")).unwrap_err();
/// assert_eq!(*refused.code(), Code::Refused);
///
/// engine.script(Answer::fail(Failure::new(Code::TimedOut)));
/// let failed = send(&mut stack, Record::new("orders").value("v")).unwrap_err();
/// assert_eq!(failed.attempts(), 1);
///
/// let placed = send(&mut stack, failed.into_record().unwrap()).unwrap();
/// assert_eq!((placed.partition, placed.offset), (0, Some(0)));
/// assert_eq!(engine.stored().len(), 1);
/// ```
///
/// # Where it is like a real engine
/// It keeps the [six promises](crate#the-six-promises), and passes the conformance suite. A record is charged its
/// payload and 100 bytes. It is stored at the moment it is settled, so what is unsettled is not in a topic. Answers of
/// one partition come in the order of the calls: one that is delayed holds back those behind it. Hooks may use the
/// engine; a record that a hook sends is answered after those that were called before it.
pub struct Scripted {
    engine: Arc<Engine>,
    reservation: Reservation,
    slots: Slots,
}

/// How a [`Scripted`] engine answers a record.
#[derive(Clone, Debug)]
pub struct Answer {
    kind: Kind,
    after: Duration,
}

#[derive(Clone, Debug)]
enum Kind {
    Deliver { offset: bool },
    Fail(Failure),
    LoseAcknowledgement,
    RefuseAtOnce(Failure),
}

impl Answer {
    /// Stores it and acknowledges it.
    pub fn deliver() -> Self {
        Self::from(Kind::Deliver { offset: true })
    }

    /// Stores it and says no offset: as with `acks=0`, or for the duplicate of an idempotent producer.
    pub fn deliver_without_offset() -> Self {
        Self::from(Kind::Deliver { offset: false })
    }

    /// Fails it, and stores nothing, whatever the failure says of its persistence.
    pub fn fail(failure: Failure) -> Self {
        Self::from(Kind::Fail(failure))
    }

    /// Stores it, but the acknowledgement is lost: the caller hears [`Code::TimedOut`], possibly persisted.
    pub fn lose_acknowledgement() -> Self {
        Self::from(Kind::LoseAcknowledgement)
    }

    /// Fails it within `call`, before it is in any queue: a stall or a delay does not hold that back.
    pub fn refuse_at_once(failure: Failure) -> Self {
        Self::from(Kind::RefuseAtOnce(failure))
    }

    /// Answers so long after the `call`, by the clock that [`Scripted::advance`] moves.
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }
}

impl From<Kind> for Answer {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            after: Duration::ZERO,
        }
    }
}

/// A record in a topic of a [`Scripted`] engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The record, with what layers stamped.
    pub parts: Parts,
}

impl Scripted {
    /// An engine with 32 MiB of room that delivers everything at once.
    #[expect(
        clippy::new_without_default,
        reason = "a handle to an engine is not a default value"
    )]
    pub fn new() -> Self {
        Self::with_room(DEFAULT_ROOM)
    }

    /// An engine with a buffer of this many bytes.
    pub fn with_room(bytes: usize) -> Self {
        let room = Room::new(bytes);
        Self {
            reservation: room.reservation(),
            slots: Slots::default(),
            engine: Arc::new(Engine {
                room,
                state: Mutex::default(),
            }),
        }
    }

    /// Queues an answer for the next record that has none yet.
    pub fn script(&self, answer: Answer) {
        self.engine.lock().script.push_back(answer);
    }

    /// The answer for all records that the script says nothing of.
    pub fn otherwise(&self, answer: Answer) {
        self.engine.lock().otherwise = answer;
    }

    /// Moves the clock and gives the answers that are due.
    pub fn advance(&self, time: Duration) {
        self.engine.lock().now += time;
        self.engine.settle();
    }

    /// Holds all answers back from now on.
    pub fn stall(&self) {
        self.engine.lock().stalled = true;
    }

    /// Lets the answers come again: those that are due at once, in order.
    pub fn resume(&self) {
        self.engine.lock().stalled = false;
        self.engine.settle();
    }

    /// Gives the next `n` answers that are due, though the engine is stalled.
    pub fn step(&self, n: usize) {
        self.engine.lock().steps = n;
        self.engine.settle();
    }

    /// What is in the topics, in the order of storing.
    pub fn stored(&self) -> Vec<Stored> {
        self.engine.lock().stored.clone()
    }

    /// How often the engine was called with a record.
    pub fn calls(&self) -> usize {
        self.engine.lock().calls
    }

    /// How many records the engine has not answered. Those in the hands of a recoverer are not among them; they are in
    /// [`Room::outstanding`].
    pub fn unsettled(&self) -> usize {
        let state = self.engine.lock();
        state.queue.len() + usize::from(state.settling)
    }

    /// The room in the buffer. A flush is `room().flushed()`.
    pub fn room(&self) -> &Arc<Room> {
        &self.engine.room
    }

    /// A fatal error: `poll_ready` says so from now on, what is unsettled fails with it as possibly persisted, and
    /// recoverers are told to give up.
    pub fn kill(&self, failure: Failure) {
        let unknown = failure.clone().with_persistence(Persistence::Unknown);
        self.engine.end(failure, unknown);
    }

    /// Closes the engine as if its time to close were over: new records are refused with [`Code::Closed`], what is
    /// unsettled fails as not persisted, and recoverers are told to give up. Says how what was outstanding ended.
    ///
    /// A recoverer gives up on a task of its own, so what it holds is counted only if it was quick; wait for
    /// `room().flushed()` and look at [`Room::totals`] for all of them.
    pub fn close(&self) -> Totals {
        let before = self.engine.room.totals();
        let failure = Failure::new(Code::Closed);
        self.engine.end(failure.clone(), failure);
        self.engine.room.totals() - before
    }
}

/// A handle of its own to the same engine.
impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            reservation: self.reservation.clone(),
            slots: self.slots.clone(),
        }
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("room", &self.engine.room)
            .field("unsettled", &self.unsettled())
            .finish_non_exhaustive()
    }
}

impl Service<Record> for Scripted {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.reservation.poll(cx)
    }

    fn call(&mut self, mut record: Record) -> Delivery {
        let mut flight = record.take_flight();
        let delivery = flight.depart(&mut self.slots);
        let admitted = self
            .reservation
            .admit(&mut flight, record.payload_len() + OVERHEAD);
        self.engine.call(record, flight, admitted);
        delivery
    }
}

/// What all handles share.
struct Engine {
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The test's clock.
    now: Duration,
    script: VecDeque<Answer>,
    otherwise: Answer,
    stalled: bool,
    /// Answers that may come though the engine is stalled.
    steps: usize,
    /// Somebody is settling records: who comes meanwhile leaves its own to them, so that order holds.
    settling: bool,
    /// Records without an answer, in the order of their calls.
    queue: VecDeque<Queued>,
    /// Why nothing is taken any more.
    ended: Option<Failure>,
    next_offset: HashMap<(Topic, i32), i64>,
    stored: Vec<Stored>,
    calls: usize,
}

impl Default for Answer {
    fn default() -> Self {
        Self::deliver()
    }
}

struct Queued {
    parts: Record,
    flight: Flight,
    kind: Kind,
    due: Duration,
}

impl Queued {
    fn place(&self) -> (&Topic, i32) {
        (&self.parts.topic, self.parts.partition.unwrap_or(0))
    }
}

impl Engine {
    fn call(&self, parts: Record, flight: Flight, admitted: Result<(), Failure>) {
        let refused = {
            let mut state = self.lock();
            state.calls += 1;
            match admitted.err().or_else(|| state.ended.clone()) {
                Some(failure) => Some((failure, parts, flight)),
                None => state.take_in(parts, flight),
            }
        };
        match refused {
            Some((failure, parts, flight)) => {
                self.acks(Duration::ZERO).failed(flight, failure, parts)
            }
            None => self.settle(),
        }
    }

    /// Gives the answers that are due. Hooks run in here, so no lock is held while one is given.
    fn settle(&self) {
        if mem::replace(&mut self.lock().settling, true) {
            return;
        }
        loop {
            let (queued, offset, now) = {
                let mut state = self.lock();
                let Some(queued) = state.next_due() else {
                    state.steps = 0;
                    state.settling = false;
                    return;
                };
                let offset = state.store(&queued);
                (queued, offset, state.now)
            };
            let Queued {
                parts,
                mut flight,
                kind,
                ..
            } = queued;
            let mut acks = self.acks(now);
            match kind {
                Kind::Deliver { offset: said } => {
                    let placed = Placed {
                        partition: parts.partition.unwrap_or(0),
                        offset: offset.filter(|_| said),
                        timestamp: None,
                    };
                    acks.delivered(&mut flight, placed, parts);
                }
                Kind::Fail(failure) | Kind::RefuseAtOnce(failure) => {
                    acks.failed(flight, failure, parts);
                }
                Kind::LoseAcknowledgement => {
                    let failure = Failure::new(Code::TimedOut)
                        .with_persistence(Persistence::Unknown)
                        .transient(true)
                        .detail("the acknowledgement was lost");
                    acks.failed(flight, failure, parts);
                }
            }
        }
    }

    /// Takes nothing any more and fails what is there.
    fn end(&self, refusal: Failure, outcome: Failure) {
        self.room.refuse(refusal.clone());
        // Before anything fails: a recoverer that gets a record now has nowhere to send it.
        self.room.abandon();
        {
            let mut state = self.lock();
            state.ended.get_or_insert(refusal);
            for queued in &mut state.queue {
                queued.kind = Kind::Fail(outcome.clone());
                queued.due = Duration::ZERO;
            }
            state.stalled = false;
        }
        self.settle();
    }

    fn acks(&self, now: Duration) -> Acks<'_> {
        // The test's clock runs ahead of the real one, so that latencies which hooks measure show what it advanced.
        Acks::new(&self.room, Instant::now() + now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues a record; one that is refused at once comes back.
    fn take_in(&mut self, parts: Record, flight: Flight) -> Option<(Failure, Record, Flight)> {
        let answer = self
            .script
            .pop_front()
            .unwrap_or_else(|| self.otherwise.clone());
        if let Kind::RefuseAtOnce(failure) = answer.kind {
            return Some((failure, parts, flight));
        }
        self.queue.push_back(Queued {
            parts,
            flight,
            kind: answer.kind,
            due: self.now + answer.after,
        });
        None
    }

    /// The next record to answer: the first that is due and has none of its partition before it.
    fn next_due(&mut self) -> Option<Queued> {
        if self.stalled {
            self.steps = self.steps.checked_sub(1)?;
        }
        let mut held_back = HashSet::new();
        let index = self.queue.iter().position(|queued| {
            let due = queued.due <= self.now && !held_back.contains(&queued.place());
            if !due {
                held_back.insert(queued.place());
            }
            due
        })?;
        self.queue.remove(index)
    }

    /// Writes the record to its partition if the answer says so.
    fn store(&mut self, queued: &Queued) -> Option<i64> {
        if !matches!(
            queued.kind,
            Kind::Deliver { .. } | Kind::LoseAcknowledgement
        ) {
            return None;
        }
        let (topic, partition) = queued.place();
        let next = self
            .next_offset
            .entry((topic.clone(), partition))
            .or_default();
        let offset = *next;
        *next += 1;
        self.stored.push(Stored {
            topic: topic.clone(),
            partition,
            offset,
            parts: (*queued.parts).clone(),
        });
        Some(offset)
    }
}

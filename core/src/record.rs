//! The record: what is sent, and the hooks that travel with it.

use std::{
    cell::Cell,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    Code, Delivery, Failure, Headers, History, Interceptor, Placed, Recover, Slots, Topic, View,
    clock,
    flight::{Flight, Frame},
    outcome::{HeadersView, Hook, Snapshot},
    tokens::Paired,
};

/// A record as Kafka knows it: serialized, and without the hooks that travel with a [`Record`].
///
/// Interceptors get it by `&mut`, so that they cannot lose the hooks of the layers around them.
#[derive(Clone, Default)]
pub struct Parts {
    /// The topic.
    pub topic: Topic,
    /// The partition, if the application chose it; otherwise the partitioner does.
    pub partition: Option<i32>,
    /// Milliseconds since the epoch; `None`: the engine takes the time of the send.
    pub timestamp: Option<i64>,
    /// The serialized key; `None` is Kafka's null key, which is not the empty one.
    pub key: Option<Bytes>,
    /// The serialized value; `None` is a tombstone, which is not the empty value.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Headers,
    /// When the send began, once somebody asked with [`now`](Self::now).
    pub started: Option<Instant>,
    /// What it was made of, if that was consumed: see [`Record::forward`] and [`Record::derive`].
    pub history: Option<Box<History>>,
}

impl Parts {
    /// As new.
    fn clear(&mut self) {
        let Self {
            topic,
            partition,
            timestamp,
            key,
            value,
            headers,
            started,
            history,
        } = self;
        *topic = Topic::default();
        (*partition, *timestamp, *started) = (None, None, None);
        (*key, *value, *history) = (None, None, None);
        headers.clear();
    }

    /// Whether the value is null: in a compacted topic it deletes the key.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// When the send began. The clock is read by the first who asks, and once a record: 20 ns each time.
    pub fn now(&mut self) -> Instant {
        *self.started.get_or_insert_with(Instant::now)
    }

    /// [`now`](Self::now) in milliseconds since the epoch. A change of the system's clock shows within a second.
    pub fn wall(&mut self) -> i64 {
        clock::wall(self.now())
    }

    /// The record's own time in milliseconds since the epoch. If the application gave none it is that of the send, and
    /// stays so, for every layer and every resend.
    pub fn time(&mut self) -> i64 {
        match self.timestamp {
            Some(time) => time,
            None => {
                let now = self.wall();
                *self.timestamp.insert(now)
            }
        }
    }

    /// The bytes of key, value and headers: what Kafka's size limits are about, without the few bytes of framing.
    pub fn payload_len(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.wire().len()
    }
}

/// As records: when they were sent, and what they were made of, is not compared.
impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.partition == other.partition
            && self.timestamp == other.timestamp
            && self.key == other.key
            && self.value == other.value
            && self.headers == other.headers
    }
}

impl Eq for Parts {}

// Keys and values can be confidential: lengths only.
impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("timestamp", &self.timestamp)
            .field("key_len", &self.key.as_ref().map(Bytes::len))
            .field("value_len", &self.value.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Snapshot for Parts {
    fn view(&self) -> View<'_> {
        View {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: HeadersView::Wire(&self.headers),
        }
    }

    fn into_record(self) -> Record {
        Record::from(self)
    }

    fn take_topic(&mut self) -> Topic {
        std::mem::take(&mut self.topic)
    }
}

/// A serialized record on its way through the stack: the request type of the tower services.
///
/// It derefs to its [`Parts`]. Hooks and recoverers are linear: they move with the record into the engine, a clone has
/// none of them, and a record that is dropped before an engine had it tells them so, with [`Code::Dropped`].
///
/// ```
/// use franking_core::Record;
///
/// let mut record = Record::new("orders").key("k-1").value("{}").timestamp(1_700_000_000_000);
/// record.headers.append("source", "shop")?;
/// let tombstone = Record::new("orders").key("k-1");
/// assert!(tombstone.is_tombstone());
/// # Ok::<(), franking_core::InvalidHeaderName>(())
/// ```
pub struct Record(Box<Carried>);

// One box with the headers' bytes inside: a record that is a pointer passes through layers for nothing. By value its
// moves took 60 ns of a stack's 400, most of it waiting for memory that was just written.
#[derive(Default)]
struct Carried {
    flight: Flight,
    parts: Parts,
}

thread_local! {
    static SPARE: Cell<Option<Box<Carried>>> = const { Cell::new(None) };
}

impl Record {
    /// A record to this topic with neither key nor value: a tombstone without a key, until they are set.
    pub fn new(topic: impl Into<Topic>) -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let mut record = Self(spare.unwrap_or_default());
        record.0.parts.topic = topic.into();
        record
    }

    /// Leaves the memory of a record to the next that this thread makes: for engines, which take all that is in it and have
    /// no use for the rest. To allocate and free 800 bytes for each record takes 70 ns.
    pub fn reuse(mut self) {
        let Carried { parts, flight } = &mut *self.0;
        if flight.is_watched() {
            return;
        }
        parts.clear();
        flight.clear();
        // Fails while the thread ends.
        let _ = SPARE.try_with(|spare| spare.set(Some(self.0)));
    }

    /// Sets the serialized key.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.0.parts.key = Some(key.into());
        self
    }

    /// Sets the serialized value.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.0.parts.value = Some(value.into());
        self
    }

    /// Chooses the partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.0.parts.partition = Some(partition);
        self
    }

    /// Sets the time, in milliseconds since the epoch.
    pub fn timestamp(mut self, millis: i64) -> Self {
        self.0.parts.timestamp = Some(millis);
        self
    }

    /// Leaves a hook on the record: the engine calls it once, with the final outcome of what it wraps, before the
    /// caller's future wakes. Hooks run innermost (last pushed) first. One allocation, the caller's, and
    /// another where a hook or recoverer is there before.
    pub fn push_hook(&mut self, hook: Box<dyn Hook>) {
        self.0.flight.frames.push(Frame::Hook(hook));
    }

    /// As [`push_hook`](Self::push_hook), for an interceptor with its token.
    #[inline(always)]
    pub(crate) fn push_token<I: Interceptor>(&mut self, paired: Paired<I>) {
        self.0.flight.frames.push_token(paired);
    }

    /// Leaves a recoverer on the record: it gets the record if it fails.
    pub fn push_recover(&mut self, recover: Arc<dyn Recover>) {
        self.push_recover_with(recover, 0);
    }

    /// As [`push_recover`](Self::push_recover), with a number that the recoverer gets back ([`Failed::ticket`](crate::Failed::ticket)): what its
    /// layer knew at the send, without an allocation to keep it in.
    pub fn push_recover_with(&mut self, recover: Arc<dyn Recover>, ticket: u32) {
        self.0.flight.frames.push(Frame::Recover(recover, ticket));
    }

    /// Whether the record holds room in an engine's buffer already, because a recoverer sends it again. Such a record
    /// may be handed to a service that was not polled ready: what waits for room would wait for itself.
    pub fn holds_room(&self) -> bool {
        self.0.flight.permit.is_some()
    }

    /// Ends the record's way with a failure: unwinds its hooks and gives it back. For layers that refuse.
    pub fn fail(mut self, failure: Failure) -> Delivery {
        let mut flight = self.take_flight();
        let delivery = flight.promise(&mut Slots::default());
        flight.fail(failure, self, Instant::now());
        delivery
    }

    /// Ends the record's way as delivered. For engines that answer at once; others keep the [`Flight`].
    #[inline]
    pub fn deliver(mut self, placed: Placed, at: Instant) -> Delivery {
        let Carried { parts, flight } = &mut *self.0;
        flight.attempts += 1;
        let delivery = match flight.deliver_here(placed, parts, at) {
            Some(metadata) => Delivery::ready(Ok(metadata)),
            // The record had a caller already (a recoverer sent it again); that one was told.
            None => Delivery::detached(),
        };
        self.reuse();
        delivery
    }

    /// Takes the hooks, recoverers, caller and room from the record, for an engine, and what it was made of: what is left
    /// is what is sent.
    pub fn take_flight(&mut self) -> Flight {
        let mut flight = std::mem::take(&mut self.0.flight);
        flight.history = self.0.parts.history.take();
        flight
    }

    /// The parts alone. Hooks and a caller that are still on the record hear that it was dropped; recoverers get nothing,
    /// for the parts go elsewhere.
    pub fn into_parts(mut self) -> Parts {
        let Carried { parts, flight } = &mut *self.0;
        if flight.is_watched() {
            flight.abandon(Failure::new(Code::Dropped).transient(true), &parts.view());
        }
        std::mem::take(parts)
    }

    /// Whether a failure of this record may not be its end.
    pub(crate) fn has_recoverer(&self) -> bool {
        let frames = &self.0.flight.frames;
        frames
            .iter()
            .any(|frame| matches!(frame, Frame::Recover(..)))
    }

    /// How often an engine had it.
    pub(crate) fn attempts(&self) -> u32 {
        self.0.flight.attempts()
    }

    pub(crate) fn board(&mut self, flight: Flight) {
        self.0.flight = flight;
    }
}

impl Default for Record {
    /// To the topic without a name, which no engine takes.
    fn default() -> Self {
        Self(Box::default())
    }
}

/// Of the parts only: hooks are linear.
impl Clone for Record {
    fn clone(&self) -> Self {
        Self::from(self.0.parts.clone())
    }
}

impl From<Parts> for Record {
    fn from(parts: Parts) -> Self {
        Self(Box::new(Carried {
            parts,
            flight: Flight::default(),
        }))
    }
}

impl Snapshot for Record {
    fn view(&self) -> View<'_> {
        self.0.parts.view()
    }

    fn into_record(self) -> Record {
        self
    }

    fn take_topic(&mut self) -> Topic {
        self.0.parts.take_topic()
    }
}

impl Deref for Record {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0.parts
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.parts, f)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if self.flight.is_watched() {
            let parts = std::mem::take(&mut self.parts);
            std::mem::take(&mut self.flight).fail(
                Failure::new(Code::Dropped).transient(true),
                parts,
                Instant::now(),
            );
        }
    }
}

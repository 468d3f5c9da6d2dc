//! The engine on librdkafka.
//!
//! What stands where:
//!
//! - **Room** is kept outside librdkafka, whose own limit counts payloads only and frees its accounting after the report:
//!   equal limits would answer *queue full* after *ready*. librdkafka's limits are off.
//! - **Payloads** are not copied: key and value stay in the record's slot until its report.
//! - **Headers** are handed over in lists that are recycled by shape. librdkafka allocates once a header and frees on
//!   another thread, which is most of what headers cost; recycled lists halve it.
//! - **Memory** is asked for a record ahead (`native/prefetch.rs`): of a large backlog nothing is in the caches, and to wait for
//!   it took a quarter of what a record cost. What was made together is used together (`native/lots.rs`), for the page tables.
//! - **Reports** come as events, in arrays, to one thread (`franking-rdkafka`), which unwinds hooks and owns the closing.
//! - **Outcomes** are told by librdkafka's message status, not by the code alone: see [`outcomes`].
//! - **Refusals** of the brokers (certificates, passwords, tokens) fail records within seconds, where librdkafka waits:
//!   see the module `door`.
//!
//! Hooks see headers through an iterator here, not as the wire block: they live in librdkafka's lists.

use std::{
    fmt,
    mem::take,
    sync::{Arc, RwLock, mpsc},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use franking_core::{
    Acks, Delivery, Escaped, Failure, Flight, HeaderList as _, HeadersView, Partitioner, Record,
    RecordMetadata, Reservation, Room, SendError, Slots, Snapshot, Topic, View,
};
use tower_service::Service;

use self::{
    ending::{Hurry, Lifeline},
    native::{Client, HeaderList, KnownTopic, NewError},
    secrets::Secrets,
    worker::Shared,
};
use super::{Closed, Control, Task, pace::Pace};
use crate::{
    config::{self, Config, PartitionerName},
    partitioners::RoundRobin,
};

mod door;
mod ending;
mod metrics;
mod native;
pub mod outcomes;
mod partitions;
mod refusal;
mod secrets;
mod statistics;
mod tokens;
mod worker;

#[cfg(feature = "rdkafka")]
pub(crate) use self::native::ConsumedHeaders;
pub use self::statistics::Statistics;
pub(crate) use self::worker::is_engine_thread;

/// What librdkafka and this engine hold for a record beside its payload: measured at 514 bytes while a slot was 64 smaller, and
/// 110 a header.
const RECORD_OVERHEAD: usize = 576;
const HEADER_OVERHEAD: usize = 110;

/// A handle of the engine on librdkafka. Cheap to clone; the handles of one engine share its buffer and its connections.
///
/// When the last handle is dropped with records in flight, the engine warns, delivers them in the background while the
/// process lives, and then ends its threads. It never blocks the thread that drops it.
pub struct RdkafkaEngine {
    reservation: Reservation,
    slots: Slots,
    /// The topic of the record before: most handles send to one, and to look it up takes locks.
    latest: Option<(Topic, KnownTopic)>,
    shared: Arc<Shared>,
    lifeline: Arc<Lifeline>,
}

/// What the engine keeps of a record while librdkafka has it.
struct InFlight {
    topic: Topic,
    partition: Option<i32>,
    timestamp: Option<i64>,
    flight: Flight,
}

impl InFlight {
    fn topic_and_time(&self) -> (&Topic, Option<i64>) {
        (&self.topic, self.timestamp)
    }
}

/// Why librdkafka could not be started.
#[derive(Clone, Debug)]
pub struct StartError {
    property: Option<String>,
    message: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.property {
            Some(property) => write!(f, "librdkafka refuses `{}`: ", Escaped(property))?,
            None => f.write_str("librdkafka could not be started: ")?,
        }
        write!(f, "{}", Escaped(&self.message))
    }
}

impl std::error::Error for StartError {}

impl RdkafkaEngine {
    /// Starts librdkafka and the engine's thread. Connects in the background: brokers may be down. Its gauges
    /// (`franking.buffer.used`, …, and librdkafka's statistics if `statistics.interval.ms` is on) are registered with
    /// OpenTelemetry's global meter provider as it is now.
    ///
    /// # Errors
    /// [`StartError`] if librdkafka refuses a property, or a thread cannot be started.
    pub fn new(config: &Config) -> Result<Self, StartError> {
        match config.partitioner() {
            PartitionerName::RoundRobin => {
                Self::with_partitioner(config, Arc::new(RoundRobin::new()))
            }
            _ => Self::start(config, Client::new(config.librdkafka())),
        }
    }

    /// As [`new`](Self::new), with a partitioner of one's own in place of what `partitioner` names.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_partitioner(
        config: &Config,
        partitioner: Arc<dyn Partitioner>,
    ) -> Result<Self, StartError> {
        let client =
            Client::with_partitioner(config.librdkafka(), partitioner, InFlight::topic_and_time);
        Self::start(config, client)
    }

    fn start(
        config: &Config,
        client: Result<Client<InFlight>, NewError>,
    ) -> Result<Self, StartError> {
        let client = client.map_err(|error| StartError {
            property: error.property,
            message: error.message,
        })?;
        let room = Room::new(config.buffer_memory());
        let (wishes, wished) = mpsc::channel();
        let tokens = config.tokens();
        let shared = Arc::new(Shared::new(
            Arc::new(client),
            Arc::clone(&room),
            config.acks() == config::Acks::None,
            config.max_request_size(),
            Secrets::of(config),
            tokens.is_some().then_some(wishes),
        ));
        let started = tokens.map_or(Ok(()), |tokens| {
            tokens::spawn(Arc::downgrade(&shared), tokens, wished)
        });
        let started = started.and_then(|()| worker::spawn(Arc::clone(&shared)));
        started.map_err(|error| StartError {
            property: None,
            message: error.to_string(),
        })?;
        let lifeline = Arc::new(Lifeline::of(&shared));
        metrics::observe(
            &opentelemetry::global::meter("franking"),
            &shared,
            config.client_id(),
        );
        Ok(Self {
            reservation: room.reservation(),
            slots: Slots::default(),
            latest: None,
            shared,
            lifeline,
        })
    }

    /// What a producer asks of this engine beside sending.
    pub fn control(&self) -> Arc<dyn Control> {
        Arc::new(RdkafkaControl {
            shared: Arc::clone(&self.shared),
            lifeline: Arc::clone(&self.lifeline),
        })
    }

    /// A handle for what is said last, as the reports of an audit: it still takes records when the engine was closed, until
    /// its time to close is over. They are in none of the counts that closing answers with.
    pub fn last_handle(&self) -> Self {
        Self {
            reservation: self.shared.room.last_reservation(),
            ..self.clone()
        }
    }

    /// Runs this when the engine was closed and every record has its outcome, on the engine's thread: time to send the
    /// last records through a [`last_handle`](Self::last_handle). Where the time to close ran out, it runs when nothing can
    /// be sent any more. An engine that is not closed but left by its handles runs nothing.
    pub fn before_end(&self, run: impl Fn() + Send + Sync + 'static) {
        self.shared.add_last_words(Arc::new(run));
    }

    /// librdkafka's latest statistics; `None` until the first came (`statistics.interval.ms`, off by default).
    pub fn statistics(&self) -> Option<Statistics> {
        self.shared.statistics()
    }

    /// Gives back what `poll_ready` reserved for a record that needs no room, as it was refused.
    fn give_back_reservation(&mut self) {
        self.reservation = self.shared.room.reservation();
    }

    /// Gives the record to librdkafka. If that does not take it, record and flight are as they were, and this is the code, or
    /// none if the engine is closed.
    fn produce(&mut self, record: &mut Record, flight: &mut Flight) -> Result<(), Option<i32>> {
        let client = self.shared.client();
        let Some(client) = &*client else {
            return Err(None);
        };
        let topic = match &self.latest {
            Some((name, topic)) if *name == record.topic => *topic,
            _ => {
                let topic = client.topic(&record.topic).map_err(Some)?;
                self.latest = Some((record.topic.clone(), topic));
                topic
            }
        };
        let in_flight = InFlight {
            topic: take(&mut record.topic),
            partition: record.partition,
            timestamp: record.timestamp,
            flight: take(flight),
        };
        let (key, value) = (record.key.take(), record.value.take());
        let produced = client.produce(
            topic,
            record.partition.unwrap_or(-1),
            record.timestamp,
            key,
            value,
            &record.headers,
            in_flight,
        );
        let outstanding = produced.map_err(|rejected| {
            record.topic = rejected.user.topic;
            record.key = rejected.key;
            record.value = rejected.value;
            *flight = rejected.user.flight;
            Some(rejected.code)
        })?;
        self.shared.pace.sent(outstanding);
        Ok(())
    }

    /// Settles a record that librdkafka did not take. No lock is held here: hooks run.
    fn reject(&self, failure: Failure, record: Record, flight: Flight) {
        Acks::new(&self.shared.room, Instant::now()).failed(flight, failure, record);
    }
}

impl Clone for RdkafkaEngine {
    fn clone(&self) -> Self {
        Self {
            reservation: self.reservation.clone(),
            slots: self.slots.clone(),
            latest: self.latest.clone(),
            shared: Arc::clone(&self.shared),
            lifeline: Arc::clone(&self.lifeline),
        }
    }
}

impl fmt::Debug for RdkafkaEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaEngine")
            .field("room", &self.shared.room)
            .finish_non_exhaustive()
    }
}

impl Service<Record> for RdkafkaEngine {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        match self.reservation.poll(cx) {
            // Whom librdkafka refuses for good, `call` would tell; but there is no call before there is room.
            Poll::Pending => {
                self.shared.check_fatal();
                self.reservation.poll(cx)
            }
            ready => ready,
        }
    }

    fn call(&mut self, mut record: Record) -> Delivery {
        let history = record.history.as_ref().map_or(0, |history| history.size());
        let mut flight = record.take_flight();
        let delivery = flight.depart(&mut self.slots);

        let charge = record.payload_len()
            + RECORD_OVERHEAD
            + HEADER_OVERHEAD * record.headers.len()
            + history;
        if charge > self.shared.room.capacity() {
            let failure = outcomes::larger_than_buffer(charge, self.shared.room.capacity());
            self.give_back_reservation();
            self.reject(failure, record, flight);
            return delivery;
        }
        if let Err(failure) = outcomes::check(&record) {
            self.give_back_reservation();
            self.reject(failure, record, flight);
            return delivery;
        }
        if let Some(failure) = self.shared.door.refuses() {
            self.give_back_reservation();
            self.reject(failure, record, flight);
            return delivery;
        }
        if let Err(failure) = self.reservation.admit(&mut flight, charge) {
            self.reject(failure, record, flight);
            return delivery;
        }

        match self.produce(&mut record, &mut flight) {
            Ok(()) => record.reuse(),
            // No lock is held: hooks run.
            Err(code) => {
                let failure = match code {
                    Some(code) => self.shared.rejected(code, &record),
                    None => super::closed(),
                };
                self.reject(failure, record, flight);
            }
        }
        delivery
    }
}

/// A record with its report, as hooks and recoverers see it.
struct Reported<'r> {
    topic: &'r mut Topic,
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: &'r mut Option<bytes::Bytes>,
    value: &'r mut Option<bytes::Bytes>,
    headers: &'r HeaderList,
}

impl Snapshot for Reported<'_> {
    fn view(&self) -> View<'_> {
        View {
            topic: self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: HeadersView::Foreign(self.headers),
        }
    }

    fn into_record(self) -> Record {
        let mut record = Record::new(take(self.topic));
        record.partition = self.partition;
        record.timestamp = self.timestamp;
        record.key = self.key.take();
        record.value = self.value.take();
        let mut index = 0;
        while let Some((name, value)) = self.headers.header(index) {
            // Names were checked when they came in.
            let _ = record.headers.append(name, value);
            index += 1;
        }
        record
    }

    fn take_topic(&mut self) -> Topic {
        take(self.topic)
    }
}

impl franking_core::HeaderList for HeaderList {
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.get(index)
    }
}

struct RdkafkaControl {
    shared: Arc<Shared>,
    lifeline: Arc<Lifeline>,
}

impl Control for RdkafkaControl {
    fn room(&self) -> &Arc<Room> {
        &self.shared.room
    }

    fn pace(&self) -> &Pace {
        &self.shared.pace
    }

    fn flush(&self) -> Task<()> {
        let hurry = Hurry::start(&self.shared);
        let flushed = self.shared.room.flushed();
        // The handle stays alive while somebody waits.
        let lifeline = Arc::clone(&self.lifeline);
        Box::pin(async move {
            flushed.await;
            drop((hurry, lifeline));
        })
    }

    fn close(&self, deadline: Instant) -> Task<Closed> {
        Box::pin(self.lifeline.close(deadline))
    }

    fn partitions(&self, topic: &str, timeout: Duration) -> Task<Result<usize, Failure>> {
        partitions::ask(&self.shared, topic.to_owned(), timeout)
    }
}

/// Which client the engine has, until it is closed.
type ClientCell = RwLock<Option<Arc<Client<InFlight>>>>;

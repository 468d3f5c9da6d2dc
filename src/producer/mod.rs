//! The producer: what an application holds.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use franking_core::{Code, Delivery, Failure, Record, SendError, SendResult, Serializer};
use tracing::warn;

use self::handles::Handles;
use crate::{
    engine::{
        Closed, Control,
        pace::{Late, Turn},
    },
    timeout::within,
};

mod blocking;
mod builder;
mod handles;
mod record;
mod serialize;

pub use self::{
    blocking::{Blocking, Interrupt},
    builder::{BuildError, ProducerBuilder},
    record::ProducerRecord,
};

/// A Kafka producer for keys of type `K` and values of type `V`.
///
/// Cheap to clone; the clones share the buffer, the connections and the stack of layers, and any number of tasks and
/// threads may send through one. There are these ways to send:
///
/// | | waits for room | waits for the acknowledgement | outcome |
/// |---|---|---|---|
/// | [`send`](Self::send) | yes | yes | returned |
/// | [`enqueue`](Self::enqueue) | yes | when you await what it returns | a [`Delivery`] |
/// | [`try_send`](Self::try_send) | never | when you await what it returns | a [`Delivery`] |
/// | [`send_with`](Self::send_with) | yes | no | given to a callback |
/// | [`send_and_forget`](Self::send_and_forget) | yes | no | seen by layers only |
/// | [`blocking`](Self::blocking) | yes, blocking | yes, blocking | returned |
///
/// A full buffer (`buffer.memory`) makes senders wait in order, up to `max.block.ms`. Before that, who does not wait for
/// each acknowledgement, and is far ahead of them, waits for the next ones, 5 ms at most: `enqueue`, `send_with` and
/// `send_and_forget` keep [`pace`](crate::engine::pace).
///
/// Dropping the last clone does not lose what was sent: records in flight are delivered in the background while the
/// process lives, and a warning says so. [`close`](Self::close) waits for them.
///
/// ```no_run
/// use franking::{Producer, ProducerRecord, serializers::{JsonSerializer, StringSerializer}};
///
/// # #[derive(serde::Serialize)] struct Order { cups: u32 }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder()
///     .property("bootstrap.servers", "localhost:9092")
///     .key_serializer(StringSerializer)
///     .value_serializer(JsonSerializer)
///     .build()?;
/// let record = ProducerRecord::new("orders").key("table-7".to_owned()).value(Order { cups: 2 });
/// let metadata = producer.send(record).await?;
/// println!("partition {}, offset {:?}", metadata.partition, metadata.offset);
/// producer.close(std::time::Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
pub struct Producer<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    key: Arc<dyn Serializer<K>>,
    value: Arc<dyn Serializer<V>>,
    handles: Handles,
    control: Arc<dyn Control>,
    max_block: Duration,
}

impl<K, V> Clone for Producer<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V> fmt::Debug for Producer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("room", self.inner.control.room())
            .finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static> Producer<K, V> {
    /// Begins a producer: see [`ProducerBuilder`].
    pub fn builder() -> ProducerBuilder<K, V> {
        ProducerBuilder::new()
    }

    /// Sends a record and waits for its acknowledgement.
    ///
    /// Cancelling: dropped while it waits for room, the record is not sent; after that it goes on.
    ///
    /// # Errors
    /// [`SendError`] with the code, what became of the record, and mostly the record itself: serialization, no room
    /// within `max.block.ms`, refused by a layer, too large, not acknowledged within `delivery.timeout.ms`, …
    pub async fn send(&self, record: ProducerRecord<K, V>) -> SendResult {
        let left = self.inner.prepare(&record).await?;
        let record = self.inner.serialize(record)?;
        self.inner.enqueue(record, left, None).await?.await
    }

    /// Waits for room and queues the record; what it returns resolves with the outcome. Records are queued in the order
    /// in which these calls return; calls that one task polls together return in the order of their first polls.
    ///
    /// # Errors
    /// Those from before the record is queued: serialization, no room within `max.block.ms`, closed, fatal.
    pub async fn enqueue(&self, record: ProducerRecord<K, V>) -> Result<Delivery, SendError> {
        let left = self.inner.prepare(&record).await?;
        let record = self.inner.serialize(record)?;
        self.inner.enqueue_in_turn(record, left).await
    }

    /// Queues the record if there is room right now. Never waits, so it can be called anywhere.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue), with [`Code::NoRoom`] at once; the record comes back serialized, and
    /// [`send_record`](Self::send_record) takes it. A serializer that asks a registry refuses until its answer is there.
    pub fn try_send(&self, record: ProducerRecord<K, V>) -> Result<Delivery, SendError> {
        // Begun here, a look-up is done for a later record.
        drop(self.inner.preparing(&record));
        let record = self.inner.serialize(record)?;
        let mut handle = self.inner.handles.take();
        match handle.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Ok(handle.call(record)),
            Poll::Ready(Err(error)) => Err(with_record(error, record)),
            Poll::Pending => Err(no_room(record, Duration::ZERO)),
        }
    }

    /// Waits for room, queues the record, and calls back with the outcome, on the engine's thread: a slow callback
    /// delays other records, and one that panics there is caught and
    /// counted. Every error goes to the callback too; one from before the record is queued comes on the caller's thread.
    pub async fn send_with(
        &self,
        record: ProducerRecord<K, V>,
        callback: impl FnOnce(SendResult) + Send + 'static,
    ) {
        match self.enqueue(record).await {
            Ok(delivery) => {
                if let Err((boxed, callback)) = delivery.on_complete(callback) {
                    // A foreign layer boxed the future, so somebody has to poll it.
                    let answer = async move { callback(boxed.await) };
                    match tokio::runtime::Handle::try_current() {
                        Ok(runtime) => drop(runtime.spawn(answer)),
                        Err(_) => answer.await,
                    }
                }
            }
            Err(error) => callback(Err(error)),
        }
    }

    /// Waits for room, queues the record and forgets it. Its outcome is seen by the layers (audit, metrics, trace).
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue): that the record was not even queued.
    pub async fn send_and_forget(&self, record: ProducerRecord<K, V>) -> Result<(), SendError> {
        self.enqueue(record).await.map(drop)
    }

    /// Sends a record that is serialized already: one that came back in a [`SendError`], or was consumed elsewhere.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_record(&self, record: Record) -> SendResult {
        let max_block = self.inner.max_block;
        self.inner.enqueue(record, max_block, None).await?.await
    }

    /// For synchronous code: see [`Blocking`].
    pub fn blocking(&self) -> Blocking<'_, K, V> {
        Blocking::new(self)
    }

    /// Sends without lingering, and resolves when every record that was queued before has its final outcome, those in a
    /// retry's hands included.
    pub async fn flush(&self) {
        self.inner.control.flush().await;
    }

    /// Takes no more records, delivers what is outstanding until the deadline, then settles the rest, and says what
    /// became of the records that were outstanding at the call. Every send that waits is answered. The connections end
    /// in the background. Dropping the future does not stop the closing.
    pub fn close(&self, within: Duration) -> impl Future<Output = Closed> + Send + use<K, V> {
        let now = Instant::now();
        // `Duration::MAX`, as in Java's `close()`, lies beyond all times.
        let deadline = now.checked_add(within).unwrap_or(now + FOR_EVER);
        self.inner.control.close(deadline)
    }

    /// How many partitions the topic has, asked from a broker: as a check at the start that the cluster can be reached
    /// and the topic is there. Waits up to `max.block.ms`.
    ///
    /// # Errors
    /// [`Code::UnknownTopicOrPartition`], authorization, or that no broker answered in time.
    pub async fn partitions_for(&self, topic: &str) -> Result<usize, SendError> {
        self.inner
            .control
            .partitions(topic, self.inner.max_block)
            .await
            .map_err(|failure| SendError::new(failure).in_topic(topic.to_owned().into()))
    }

    /// Does now what the first record to this topic would wait for: asks the serializers' registry for the schemas' ids.
    /// At the start of a program it shows whether the registry takes them. Waits up to `max.block.ms`; for serializers
    /// that need nothing it is done at once.
    ///
    /// # Errors
    /// [`Code::Serialization`], with the serializer's error as its source.
    pub async fn prepare(&self, topic: &str) -> Result<(), SendError> {
        self.inner.prepare_topic(&topic.to_owned().into()).await
    }

    /// The buffer and the ledger of what is outstanding.
    pub fn room(&self) -> &Arc<franking_core::Room> {
        self.inner.control.room()
    }
}

/// Thirty years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

impl<K: 'static, V: 'static> Inner<K, V> {
    /// Queues the record when there is room, which it waits for as long as is left of `max.block.ms`. A sender that has its
    /// turn keeps it until then.
    async fn enqueue(
        &self,
        record: Record,
        left: Duration,
        turn: Option<Turn<'_>>,
    ) -> Result<Delivery, SendError> {
        let mut handle = self.handles.take();
        // Mostly there is room: then no timer is needed.
        let waited = match std::future::poll_fn(|cx| Poll::Ready(handle.poll_ready(cx))).await {
            Poll::Ready(ready) => Ok(ready),
            Poll::Pending => match within(left, handle.ready()) {
                Some(waiting) => waiting.await,
                None => {
                    let failure = Failure::new(Code::WouldBlock)
                        .detail("the buffer is full, and to wait for max.block.ms takes a tokio runtime with time enabled")
                        .advice("send from such a runtime, or use blocking()");
                    return Err(SendError::giving_back(failure, record, 0));
                }
            },
        };
        // A layer may send in its `call`: not behind this.
        drop(turn);
        match waited {
            Ok(Ok(())) => Ok(handle.call(record)),
            Ok(Err(error)) => Err(with_record(error, record)),
            Err(_) => Err(no_room(record, left)),
        }
    }

    /// The same, not too far ahead of the acknowledgements.
    async fn enqueue_in_turn(&self, record: Record, left: Duration) -> Result<Delivery, SendError> {
        match self.control.pace().turn(left).await {
            Ok((turn, left)) => self.enqueue(record, left, turn).await,
            Err(Late) => Err(no_room(record, left)),
        }
    }
}

/// Gives the record back with an error of `poll_ready`, which knows of none.
fn with_record(error: SendError, record: Record) -> SendError {
    SendError::giving_back(error.failure().clone(), record, 0)
}

fn no_room(record: Record, waited: Duration) -> SendError {
    let failure = Failure::new(Code::NoRoom)
        .transient(true)
        .setting("max.block.ms")
        .detail(format!(
            "the buffer had no room for {} ms",
            waited.as_millis()
        ));
    SendError::giving_back(failure, record, 0)
}

impl<K, V> Drop for Inner<K, V> {
    fn drop(&mut self) {
        let records = self.control.room().outstanding();
        if records > 0 {
            warn!(
                records,
                "a producer was dropped with records in flight; they are delivered in the background while the process \
                 lives. Call close() to wait for them"
            );
        }
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Producer<String, String>>();
};

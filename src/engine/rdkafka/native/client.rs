//! The producer.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{iter, ptr};

use bytes::Bytes;
use franking_core::{Headers, Partitioner};
use rdkafka_sys as rd;
use rdkafka_sys::rd_kafka_vtype_t as Type;

use super::events::{self, Event, Scratch, Status};
use super::handle::{Handle, NewError, millis};
use super::headers::HeaderList;
use super::partitioner::{Chooser, See};
use super::pool::HeaderPool;
use super::slots::{Slab, Slot};
use super::sys;
use super::topics::{Topic, Topics};

/// How long [`Client::close`] waits for the reports of what it purged.
const CLOSING: Duration = Duration::from_secs(2);

/// A librdkafka producer and the records it holds. `T` is what the engine keeps for each record until its report.
///
/// Dropping it destroys librdkafka, which takes up to a second, and drops every record that has no report yet.
pub(crate) struct Client<T> {
    // The order of these four is the order in which they are dropped, and must stay: topic handles need librdkafka,
    // and librdkafka's threads call the partitioner and read payloads, which the slots own.
    topics: Topics,
    handle: Handle,
    chooser: Option<Box<Chooser<T>>>,
    slots: Arc<Mutex<Slab<T>>>,
    pool: HeaderPool,
    /// Held while an event is handled: polling is for one thread.
    scratch: Mutex<Scratch<T>>,
}

/// A record that was not taken. Everything comes back except the headers, which were borrowed.
#[derive(Debug)]
pub(crate) struct Rejected<T> {
    pub(crate) code: i32,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) user: T,
}

/// A record that `poll` never reported.
#[derive(Debug)]
pub(crate) struct Orphan<T> {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) user: T,
    pub(crate) headers: HeaderList,
    /// Code and status, if librdkafka still gave them while it was closed. Else the outcome is unknown.
    pub(crate) report: Option<(i32, Status)>,
}

impl<T: Send + 'static> Client<T> {
    /// Starts librdkafka with properties under its own names. Reports, errors, logs and statistics come as events.
    ///
    /// Refused: `delivery.report.only.error`, since every record needs its report.
    pub(crate) fn new(conf: &[(String, String)]) -> Result<Self, NewError> {
        Self::start(conf, None)
    }

    /// As [`new`](Self::new), with a partitioner in place of librdkafka's. It is asked once for each record that goes in
    /// without a partition.
    pub(crate) fn with_partitioner(
        conf: &[(String, String)],
        partitioner: Arc<dyn Partitioner>,
        see: See<T>,
    ) -> Result<Self, NewError> {
        Self::start(conf, Some((partitioner, see)))
    }

    fn start(
        conf: &[(String, String)],
        partitioner: Option<(Arc<dyn Partitioner>, See<T>)>,
    ) -> Result<Self, NewError> {
        let slots = Arc::new(Mutex::new(Slab::new()));
        let chooser = partitioner.map(|(partitioner, see)| {
            Box::new(Chooser {
                partitioner,
                see,
                slots: Arc::clone(&slots),
            })
        });
        Ok(Self {
            topics: Topics::new(),
            handle: Handle::new(conf, chooser.as_deref())?,
            chooser,
            slots,
            pool: HeaderPool::default(),
            scratch: Mutex::new(Scratch::new()),
        })
    }

    /// The topic of this name, for [`produce`](Self::produce), or the code of the error.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic, i32> {
        self.topics.get(&self.handle, name)
    }

    /// Hands the record to librdkafka without copying the payload: key and value live in the slot until the report,
    /// which may come before this returns. Says how many records have no report yet, this one included.
    ///
    /// Partition -1 leaves the choice to the partitioner. A timestamp is in milliseconds; `None` is the time of the
    /// call, and so is 0, which librdkafka cannot tell from none.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call site, and a record's parts have no common type below it"
    )]
    pub(crate) fn produce(
        &self,
        topic: Topic,
        partition: i32,
        timestamp: Option<i64>,
        key: Option<Bytes>,
        value: Option<Bytes>,
        headers: &Headers,
        user: T,
    ) -> Result<usize, Rejected<T>> {
        let topic = self.topics.raw(topic);
        let list = self.pool.take(headers);
        let raw_list = list.as_ptr();

        // The memory that these point to does not move with its `Bytes`.
        let (key_mem, value_mem) = (mem(key.as_ref()), mem(value.as_ref()));
        let slot = Slot {
            key,
            value,
            user,
            headers: list.lend(),
        };
        let (id, in_flight) = {
            let mut slots = self.lock();
            (slots.insert(slot), slots.live())
        };

        let headers = raw_list.map(|list| {
            let headers = list.as_ptr();
            argument(Type::RD_KAFKA_VTYPE_HEADERS, Value { headers })
        });
        let timestamp =
            timestamp.map(|i64_| argument(Type::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_ }));
        let (last, count) = match (headers, timestamp) {
            (Some(headers), Some(timestamp)) => ([headers, timestamp], 8),
            (Some(one), None) | (None, Some(one)) => ([one, one], 7),
            (None, None) => ([argument(Type::RD_KAFKA_VTYPE_END, Value { i: 0 }); 2], 6),
        };
        // Written where it is read: an argument has 72 bytes, of which a few count.
        let arguments = [
            argument(
                Type::RD_KAFKA_VTYPE_RKT,
                Value {
                    rkt: topic.as_ptr(),
                },
            ),
            argument(Type::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
            // Neither copy nor free: the memory is the slot's.
            argument(Type::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: 0 }),
            argument(Type::RD_KAFKA_VTYPE_KEY, Value { mem: key_mem }),
            argument(Type::RD_KAFKA_VTYPE_VALUE, Value { mem: value_mem }),
            argument(
                Type::RD_KAFKA_VTYPE_OPAQUE,
                Value {
                    ptr: id.to_opaque(),
                },
            ),
            last[0],
            last[1],
        ];
        // SAFETY: the first `count` arguments have the members that their types name. The topic handle is
        // alive as long as `self`. Key and value are owned by the slot, which stays until librdkafka reports the
        // record, fails this call, or is destroyed, so they outlive every read. The header list is ours; if the call
        // succeeds it belongs to librdkafka, and if it fails it is still ours.
        let error = unsafe { rd::rd_kafka_produceva(self.handle.raw(), arguments.as_ptr(), count) };
        if error.is_null() {
            // The record may have been reported by now: its slot and its list may belong to somebody else.
            return Ok(in_flight);
        }
        // SAFETY: the error is valid and ours, and used for the last time by the second call.
        let code = unsafe {
            let code = sys::rd_kafka_error_code(error);
            rd::rd_kafka_error_destroy(error);
            code
        };
        let slot = {
            let mut slots = self.lock();
            slots.take(id).and_then(|mut place| {
                let slot = place.slot.take();
                slots.keep(iter::once(place));
                slot
            })
        };
        match slot {
            Some(Slot {
                key,
                value,
                user,
                headers,
            }) => {
                // SAFETY: the call failed.
                let list = unsafe { HeaderList::reclaim(headers) };
                self.pool.put(&mut vec![list]);
                Err(Rejected {
                    code,
                    key,
                    value,
                    user,
                })
            }
            // Not seen: librdkafka does not report what it rejects. If it did, the report has been given already.
            None => Ok(in_flight),
        }
    }

    /// Waits up to `timeout` for events and gives at most one batch to `on`; `true` if there was one.
    ///
    /// For one thread only, and not from inside `on`: a second caller gets `false` at once (and a panic in a debug
    /// build). No lock that another method takes is held while `on` runs.
    pub(crate) fn poll(&self, timeout: Duration, on: impl FnMut(Event<'_, T>)) -> bool {
        let mut scratch = match self.scratch.try_lock() {
            Ok(scratch) => scratch,
            // Whatever a panicking `on` left is cleared before use.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                debug_assert!(false, "two threads poll one client");
                return false;
            }
        };
        let Some(event) = self.handle.next_event(timeout) else {
            return false;
        };
        events::give(event, &self.slots, &self.pool, &mut scratch, on);
        true
    }

    /// Ends a waiting poll, or else the next one that would wait.
    pub(crate) fn wake(&self) {
        self.handle.wake();
    }

    /// The error after which this client takes no record any more: the first one's code and text.
    ///
    /// Without one it costs a single atomic read-modify-write (librdkafka reads its atomics with a fetch-and-add of
    /// 0), and no lock: a few nanoseconds. With one it takes a read lock and allocates.
    pub(crate) fn fatal(&self) -> Option<(i32, String)> {
        self.handle.fatal()
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends without lingering, and waits until librdkafka holds no record; `true` if so.
    ///
    /// Blocks. A record counts until its report was given by `poll`, so another thread has to poll meanwhile.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.handle.flush(timeout)
    }

    /// Fails what is queued or in flight. Does not wait for it: the reports come as events.
    pub(crate) fn purge(&self) {
        self.handle.purge(true);
    }

    /// Fails what is queued, and lets what is in flight have its answer.
    pub(crate) fn purge_queue(&self) {
        self.handle.purge(false);
    }

    /// How many records have no report yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().live()
    }

    /// Whether a broker is connected, logged in and all. Does not wait. If none is, librdkafka connects to one.
    pub(crate) fn is_connected(&self) -> bool {
        let mut metadata = ptr::null();
        // SAFETY: the instance is alive as long as `self`; the result goes to a valid place. No topic handle is for those
        // that librdkafka knows already.
        let code = unsafe {
            sys::rd_kafka_metadata(self.handle.raw(), 0, ptr::null_mut(), &mut metadata, 0)
        };
        if !metadata.is_null() {
            // SAFETY: it is valid, ours, and used for the last time.
            unsafe { rd::rd_kafka_metadata_destroy(metadata) };
        }
        // No time to wait is enough to find out: a question to a connected broker times out, and where there is none, the
        // answer is another.
        code == 0 || code == TIMED_OUT
    }

    /// How many partitions the topic has, asked from a broker. Blocks.
    pub(crate) fn partitions(&self, topic: &str, timeout: Duration) -> Result<usize, i32> {
        let topic = self.topics.raw(self.topic(topic)?);
        let mut metadata = ptr::null();
        // SAFETY: the instance and the topic handle are alive as long as `self`; the result goes to a valid place.
        let code = unsafe {
            sys::rd_kafka_metadata(
                self.handle.raw(),
                0,
                topic.as_ptr(),
                &mut metadata,
                millis(timeout),
            )
        };
        if code != 0 || metadata.is_null() {
            return Err(code);
        }
        // SAFETY: on success the metadata is valid until destroyed below, with `topic_cnt` topics at `topics`. Its
        // error is read as a number, without a reference to a structure whose enum may hold any value.
        let (code, count) = unsafe {
            let found = if (*metadata).topic_cnt > 0 {
                let topic = (*metadata).topics;
                (
                    ptr::addr_of!((*topic).err).cast::<i32>().read(),
                    (*topic).partition_cnt,
                )
            } else {
                (UNKNOWN_TOPIC, 0)
            };
            rd::rd_kafka_metadata_destroy(metadata);
            found
        };
        if code == 0 {
            Ok(usize::try_from(count).unwrap_or(0))
        } else {
            Err(code)
        }
    }

    /// Destroys librdkafka and gives back every record that `poll` has not reported.
    ///
    /// Purges first, and waits up to 2 s for the reports of that, since what librdkafka still knows is better than
    /// "unknown"; with nothing in flight it does not wait. An engine that cares for the outcomes flushes, purges and
    /// polls before. Blocks. It takes the client by value, so it cannot be called while `poll` runs.
    pub(crate) fn close(self) -> Vec<Orphan<T>> {
        let mut orphans = Vec::new();
        let deadline = Instant::now() + CLOSING;
        self.purge();
        while self.in_flight() > 0 && Instant::now() < deadline {
            let told = self.poll(Duration::from_millis(50), |event| {
                if let Event::Reports(reports) = event {
                    orphans.extend(reports.filter_map(|mut report| {
                        let slot = report.place.slot.take()?;
                        Some(Orphan {
                            key: slot.key,
                            value: slot.value,
                            user: slot.user,
                            headers: report.headers,
                            report: Some((report.code, report.status)),
                        })
                    }));
                }
            });
            if !told {
                // A record may have gone into a queue that was purged just before.
                self.purge();
            }
        }

        orphans.extend(self.abandon());
        orphans
    }

    /// Destroys librdkafka and gives back the records that are in its slots.
    pub(super) fn abandon(self) -> Vec<Orphan<T>> {
        // Declared before the handle, so that not even a panic drops the payloads first.
        let held: Vec<_>;
        let Self {
            topics,
            handle,
            chooser,
            slots,
            ..
        } = self;
        let slots = std::mem::replace(
            &mut *slots.lock().unwrap_or_else(PoisonError::into_inner),
            Slab::new(),
        );
        held = slots.into_live().collect();
        let lists: Vec<_> = held
            .iter()
            .map(|slot: &Slot<T>| match &slot.headers {
                // SAFETY: the slot is live, so its message had no report, and librdkafka is destroyed only below.
                Some(lent) => unsafe { HeaderList::copy_of(lent) },
                None => HeaderList::EMPTY,
            })
            .collect();
        drop(topics);
        // librdkafka's threads end here. `held` keeps the payloads until then.
        drop(handle);
        drop(chooser);
        let orphan = |(slot, headers): (Slot<T>, _)| Orphan {
            key: slot.key,
            value: slot.value,
            user: slot.user,
            headers,
            report: None,
        };
        held.into_iter().zip(lists).map(orphan).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<T>> {
        // Nothing of a user's runs under this lock, so a poisoned one is still whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn raw(&self) -> *mut rd::rd_kafka_t {
        self.handle.raw()
    }
}

/// `RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART`.
const UNKNOWN_TOPIC: i32 = 3;

/// `RD_KAFKA_RESP_ERR__TIMED_OUT`.
const TIMED_OUT: i32 = -185;

type Value = rd::rd_kafka_vu_s__bindgen_ty_1;

/// An argument of `rd_kafka_produceva`.
fn argument(vtype: Type, u: Value) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

/// Where the bytes are. librdkafka writes null for a null pointer and an empty field for a length of 0 at any other,
/// so an empty `Bytes`, which may have any address, gets a real one.
fn mem(bytes: Option<&Bytes>) -> rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    static EMPTY: u8 = 0;
    let (pointer, size) = match bytes {
        None => (ptr::null(), 0),
        Some(bytes) if bytes.is_empty() => (ptr::from_ref(&EMPTY), 0),
        Some(bytes) => (bytes.as_ptr(), bytes.len()),
    };
    // Mutable by C's prototype only: librdkafka reads a payload that it does not own.
    rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: pointer.cast_mut().cast::<c_void>(),
        size,
    }
}

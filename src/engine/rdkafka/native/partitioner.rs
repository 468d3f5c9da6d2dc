//! A partitioner of the user's, called by librdkafka.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use franking_core::{HeadersView, Partitioner, Topic, View};
use rdkafka_sys as rd;

use super::headers::{Lent, Peeked};
use super::slots::{Slab, SlotId};

/// No topic has so many partitions. A negative answer would leave the record without a partition, and without an
/// outcome until its time-out; this one makes librdkafka fail it at once.
const NONE: i32 = i32::MAX;

/// What librdkafka calls, with the records it can be asked about.
pub(super) struct Chooser<T> {
    pub(super) partitioner: Arc<dyn Partitioner>,
    pub(super) see: See<T>,
    pub(super) slots: Arc<Mutex<Slab<T>>>,
}

/// Reads the topic and the time from what the engine keeps of a record.
pub(crate) type See<T> = fn(&T) -> (&Topic, Option<i64>);

impl<T> Chooser<T> {
    /// Asks for the partition of the record in this slot; `None` if there is none.
    ///
    /// # Safety
    /// If the slot is live, its message is alive for as long as this runs.
    unsafe fn choose(&self, id: SlotId, partitions: i32) -> Option<i32> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(id)?;
        let (topic, timestamp) = (self.see)(&slot.user);
        let (topic, key, value, list) = (
            topic.clone(),
            slot.key.clone(),
            slot.value.clone(),
            slot.headers.as_ref().map(Lent::list),
        );
        // The partitioner is somebody else's code: no lock is held while it runs.
        drop(slots);
        // SAFETY: the message is alive, as the caller says, and with it the list.
        let headers = unsafe { Peeked::new(list) };
        let record = View {
            topic: &topic,
            partition: None,
            timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: HeadersView::Foreign(&headers),
        };
        let partition = self.partitioner.partition(&record, partitions);
        (0..partitions).contains(&partition).then_some(partition)
    }
}

/// What librdkafka calls: on the thread that produces, or on its own for records that were queued before the topic's
/// partitions were known.
///
/// # Safety
/// `chooser` is a `Chooser<T>` that lives as long as the client, and `opaque` the opaque value of a message that is alive.
pub(super) unsafe extern "C" fn choose<T>(
    _topic: *const rd::rd_kafka_topic_t,
    _key: *const c_void,
    _key_len: usize,
    partitions: i32,
    chooser: *mut c_void,
    opaque: *mut c_void,
) -> i32 {
    // SAFETY: as this function's own.
    let chooser = unsafe { &*chooser.cast::<Chooser<T>>() };
    // SAFETY: librdkafka asks for a message's partition before it lets go of it, so the message is alive.
    let chosen = || unsafe { chooser.choose(SlotId::from_opaque(opaque)?, partitions) };
    // A panic must not unwind into C.
    match catch_unwind(AssertUnwindSafe(chosen)) {
        Ok(Some(partition)) => partition,
        Ok(None) => NONE,
        Err(_) => {
            tracing::error!("a partitioner panicked; its record fails");
            NONE
        }
    }
}

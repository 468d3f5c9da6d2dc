//! librdkafka's topic handles, one for each topic that was named.
//!
//! With a handle a record skips the lookup under librdkafka's own lock. Handles stay until the client goes.

use std::collections::HashMap;
use std::ffi::CString;
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use franking_core::Topic as Name;
use rdkafka_sys as rd;

use super::codes::INVALID_ARG;
use super::handle::Handle;
use super::sys;

/// A handle that lives as long as its [`Topics`], and counts for nothing after.
#[derive(Clone, Copy)]
pub(crate) struct Topic {
    raw: NonNull<rd::rd_kafka_topic_t>,
    /// Which topics it is of.
    owner: u64,
}

// SAFETY: without its topics it is a number. With them it is as `Owned`.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

struct Owned(NonNull<rd::rd_kafka_topic_t>);

// SAFETY: a topic handle is a counted, locked object of librdkafka, usable from any thread.
unsafe impl Send for Owned {}
// SAFETY: as above; `&Owned` gives no more than the pointer.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_topic_new`, is released only here, and `Client` drops its topics
        // before librdkafka.
        unsafe { rd::rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

/// The topic handles of one client.
pub(crate) struct Topics {
    /// No two have the same.
    id: u64,
    handles: RwLock<HashMap<Box<str>, Owned, BuildHasherDefault<Mix>>>,
}

/// A hash of eight bytes at a time, for each record: the standard library's takes 40 ns. Names come from the application,
/// so nobody makes them collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some((word, rest)) = bytes.split_first_chunk::<8>() {
            self.write_u64(u64::from_le_bytes(*word));
            bytes = rest;
        }
        let last = bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.write_u64(last);
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Topics {
    pub(super) fn new() -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            handles: RwLock::new(HashMap::default()),
        }
    }

    /// librdkafka's handle, which lives as long as these topics.
    ///
    /// # Panics
    /// It is one of other topics, which may be gone.
    pub(super) fn raw(&self, topic: Topic) -> NonNull<rd::rd_kafka_topic_t> {
        assert!(topic.owner == self.id, "a topic of another client");
        topic.raw
    }

    fn of(&self, raw: NonNull<rd::rd_kafka_topic_t>) -> Topic {
        Topic {
            raw,
            owner: self.id,
        }
    }

    /// The handle for `name`, or the code of the error. `handle` must be the same at every call: `Client` sees to it.
    pub(super) fn get(&self, handle: &Handle, name: &str) -> Result<Topic, i32> {
        if let Some(owned) = self
            .handles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
        {
            return Ok(self.of(owned.0));
        }
        // A broker says of such a name that it is not valid, but librdkafka tells that to its first records only, and the
        // later ones that there is no such topic yet: those would be sent again and again.
        if !Name::from(name.to_owned()).is_legal() {
            return Err(INVALID_ARG);
        }
        let text = CString::new(name).map_err(|_| INVALID_ARG)?;
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = handles.get(name) {
            return Ok(self.of(owned.0));
        }
        // SAFETY: librdkafka is alive while `handle` is, the name is a C string that it copies, and null asks for the
        // client's own topic configuration.
        let raw = unsafe { rd::rd_kafka_topic_new(handle.raw(), text.as_ptr(), ptr::null_mut()) };
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: reads a number that the failed call left for this thread.
            return Err(unsafe { sys::rd_kafka_last_error() });
        };
        handles.insert(name.into(), Owned(raw));
        Ok(self.of(raw))
    }
}

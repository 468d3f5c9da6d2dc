//! librdkafka's topic handles, one for each topic that was named.
//!
//! With a handle a record skips the lookup under librdkafka's own lock. Handles stay until the client goes.

use std::collections::HashMap;
use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{PoisonError, RwLock};

use franking_core::Topic as Name;
use rdkafka_sys as rd;

use super::codes::INVALID_ARG;
use super::handle::Handle;
use super::sys;

/// A handle that lives as long as its [`Topics`].
#[derive(Clone, Copy)]
pub(super) struct Topic<'t> {
    pub(super) raw: NonNull<rd::rd_kafka_topic_t>,
    owner: PhantomData<&'t Topics>,
}

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
pub(super) struct Topics {
    handles: RwLock<HashMap<Box<str>, Owned>>,
}

impl Topics {
    pub(super) fn new() -> Self {
        Self {
            handles: RwLock::new(HashMap::new()),
        }
    }

    /// The handle for `name`, or the code of the error. `handle` must be the same at every call: `Client` sees to it.
    pub(super) fn get(&self, handle: &Handle, name: &str) -> Result<Topic<'_>, i32> {
        if let Some(owned) = self
            .handles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
        {
            return Ok(Topic {
                raw: owned.0,
                owner: PhantomData,
            });
        }
        // A broker says of such a name that it is not valid, but librdkafka tells that to its first records only, and the
        // later ones that there is no such topic yet: those would be sent again and again.
        if !Name::from(name.to_owned()).is_legal() {
            return Err(INVALID_ARG);
        }
        let text = CString::new(name).map_err(|_| INVALID_ARG)?;
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = handles.get(name) {
            return Ok(Topic {
                raw: owned.0,
                owner: PhantomData,
            });
        }
        // SAFETY: librdkafka is alive while `handle` is, the name is a C string that it copies, and null asks for the
        // client's own topic configuration.
        let raw = unsafe { rd::rd_kafka_topic_new(handle.raw(), text.as_ptr(), ptr::null_mut()) };
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: reads a number that the failed call left for this thread.
            return Err(unsafe { sys::rd_kafka_last_error() });
        };
        handles.insert(name.into(), Owned(raw));
        Ok(Topic {
            raw,
            owner: PhantomData,
        })
    }
}

//! The headers of a message that rust-rdkafka consumed, with names that need not be text.

use std::{
    ffi::CStr,
    fmt,
    ptr::{self, NonNull},
    slice,
};

use rdkafka::message::BorrowedHeaders;
use rdkafka_sys as rd;

use super::sys;

/// Goes through the headers in their order.
#[derive(Clone)]
pub(crate) struct ConsumedHeaders<'m> {
    list: &'m BorrowedHeaders,
    index: usize,
}

// It has no fields: a reference to it is librdkafka's pointer to the list, and rust-rdkafka turns one into the other.
// If that changes, this does not compile any more.
const _: () = assert!(size_of::<BorrowedHeaders>() == 0);

impl<'m> ConsumedHeaders<'m> {
    pub(crate) fn new(list: &'m BorrowedHeaders) -> Self {
        Self { list, index: 0 }
    }
}

// Values can be confidential.
impl fmt::Debug for ConsumedHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumedHeaders").finish_non_exhaustive()
    }
}

impl<'m> Iterator for ConsumedHeaders<'m> {
    /// Name and value; `None` for null.
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let list = NonNull::from(self.list).cast::<rd::rd_kafka_headers_t>();
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the reference is librdkafka's pointer (above), and its message, which owns the list, lives as long as
        // the borrow. The list is only read, as rust-rdkafka does behind the same reference. librdkafka checks the index.
        let code = unsafe {
            sys::rd_kafka_header_get_all(
                list.as_ptr(),
                self.index,
                &mut name,
                &mut value,
                &mut size,
            )
        };
        if code != 0 {
            return None;
        }
        self.index += 1;
        // SAFETY: on success the name is inside the list and ends with a NUL, whatever its own bytes are; nobody changes
        // the list while it is borrowed.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let value = (!value.is_null()).then(|| {
            // SAFETY: a value that is not null has `size` bytes inside the list, as long as the name.
            unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }
        });
        Some((name, value))
    }
}

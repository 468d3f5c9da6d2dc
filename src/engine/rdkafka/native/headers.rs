//! A record's headers in librdkafka's form.

use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use rdkafka_sys as rd;

use super::sys;

/// Owns a header list, or is empty.
///
/// Dropping it frees the list. Given to `Reports::recycle` it is used again for a record of the same shape, which is
/// far cheaper: librdkafka allocates once for each header.
#[derive(Debug)]
pub(crate) struct HeaderList {
    raw: Option<Raw>,
}

/// A list and what the pool files it under.
#[derive(Clone, Copy, Debug)]
struct Raw {
    list: NonNull<rd::rd_kafka_headers_t>,
    shape: Shape,
}

/// A list that librdkafka owns: where it is and its shape, without the right to touch it.
#[derive(Clone, Copy)]
pub(super) struct Lent(Raw);

// SAFETY: a list is plain memory without ties to a thread. `HeaderList` changes it through `&mut` only, and `Lent`
// gives no access outside the unsafe functions of this file.
unsafe impl Send for Raw {}
// SAFETY: as above; reading a list does not change it.
unsafe impl Sync for Raw {}

/// What two header lists have in common when the values of one can be written over the other's: the names and the
/// lengths of the values, in order, where null is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A fingerprint. Not proof: two shapes may share it.
    pub(super) hash: u64,
    pub(super) count: usize,
    /// About what the list takes in memory.
    pub(super) bytes: usize,
}

/// Memory of one header besides name and value: its C structure and the allocator's share.
const HEADER_BYTES: usize = 64;
/// Memory of an empty list with its array.
const LIST_BYTES: usize = 128;

/// A name that librdkafka would cut off at its first NUL.
pub(super) struct NulInName;

impl Shape {
    pub(super) fn of<'h>(
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> Result<Self, NulInName> {
        let mut shape = Self {
            hash: 0,
            count: 0,
            bytes: LIST_BYTES,
        };
        for (name, value) in headers {
            let mut rest = name.as_bytes();
            if rest.contains(&0) {
                return Err(NulInName);
            }
            while let Some((head, tail)) = rest.split_first_chunk::<8>() {
                shape.mix(u64::from_le_bytes(*head));
                rest = tail;
            }
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            shape.mix(u64::from_le_bytes(last));
            shape.mix(value.map_or(u64::MAX, |value| value.len() as u64));
            shape.count += 1;
            shape.bytes = shape
                .bytes
                .saturating_add(HEADER_BYTES + name.len() + value.map_or(0, <[u8]>::len));
        }
        Ok(shape)
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93;
        self.hash = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl HeaderList {
    /// The list without headers, which costs nothing.
    pub(crate) const EMPTY: Self = Self { raw: None };

    /// A new list. `shape` is that of `headers`.
    pub(super) fn build<'h>(
        shape: Shape,
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> Self {
        // SAFETY: takes a number and allocates.
        let list = unsafe { rd::rd_kafka_headers_new(shape.count) };
        let Some(list) = NonNull::new(list) else {
            return Self::EMPTY;
        };
        for (name, value) in headers {
            let (value, size) = match value {
                None => (ptr::null(), 0),
                Some(value) => (value.as_ptr().cast::<c_void>(), value.len().cast_signed()),
            };
            let (name, name_size) = (name.as_ptr().cast::<c_char>(), name.len().cast_signed());
            // SAFETY: the list is ours and valid. Name and value are readable for their lengths, which fit `isize` as
            // those of all slices do; both are copied. A name of length 0 or a null value is allowed.
            unsafe { sys::rd_kafka_header_add(list.as_ptr(), name, name_size, value, size) };
        }
        Self {
            raw: Some(Raw { list, shape }),
        }
    }

    /// Writes the values over this list's; `false` if names, lengths or nulls differ anywhere, and then the list's
    /// values are of no use any more.
    pub(super) fn overwrite<'h>(
        &mut self,
        mut headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) -> bool {
        let Some(raw) = &self.raw else {
            return headers.next().is_none();
        };
        let mut index = 0;
        for (name, value) in headers {
            let Some(old) = raw.entry(index) else {
                return false;
            };
            if old.name.to_bytes() != name.as_bytes() {
                return false;
            }
            match value {
                None if old.value.is_null() => {}
                Some(value) if !old.value.is_null() && value.len() == old.size => {
                    // SAFETY: librdkafka allocated each header with its value inside, `size` bytes of it at `value`,
                    // and gives it as const only to callers that do not own it. This list is ours alone: `&mut self`,
                    // and no message refers to it. `headers` cannot borrow from it for the same reason.
                    unsafe {
                        ptr::copy_nonoverlapping(
                            value.as_ptr(),
                            old.value.cast::<u8>().cast_mut(),
                            old.size,
                        )
                    };
                }
                _ => return false,
            }
            index += 1;
        }
        raw.entry(index).is_none()
    }

    /// How many headers there are.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the list is valid as long as `self` owns it.
        self.raw.as_ref().map_or(0, |raw| unsafe {
            rd::rd_kafka_header_cnt(raw.list.as_ptr())
        })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let entry = self.raw.as_ref()?.entry(index)?;
        let value = (!entry.value.is_null()).then(|| {
            // SAFETY: a value that is not null has `size` bytes inside the list, which `self` owns and nobody changes
            // while it is borrowed.
            unsafe { std::slice::from_raw_parts(entry.value.cast::<u8>(), entry.size) }
        });
        // Names go in as `&str`; only a librdkafka plug-in could have put another one there.
        Some((entry.name.to_str().unwrap_or_default(), value))
    }

    /// All headers, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> + Clone {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        self.raw.map(|raw| raw.shape)
    }

    pub(super) fn as_ptr(&self) -> Option<NonNull<rd::rd_kafka_headers_t>> {
        self.raw.map(|raw| raw.list)
    }

    /// What the slot keeps while librdkafka owns the list.
    pub(super) fn lend(&self) -> Option<Lent> {
        self.raw.map(Lent)
    }

    /// Gives the list up: librdkafka owns it from here on.
    pub(super) fn release(self) {
        std::mem::forget(self);
    }

    /// Takes over a list that `rd_kafka_message_detach_headers` gave. `lent` is what the record's slot kept.
    ///
    /// # Safety
    /// `list` is a valid list that nobody else owns.
    pub(super) unsafe fn detached(
        list: NonNull<rd::rd_kafka_headers_t>,
        lent: Option<Lent>,
    ) -> Self {
        // Only a plug-in can have swapped the list. The shape is a hint for the pool, `overwrite` checks it.
        let shape = match lent {
            Some(Lent(raw)) if raw.list == list => raw.shape,
            _ => Shape {
                hash: 0,
                count: 0,
                bytes: LIST_BYTES,
            },
        };
        Self {
            raw: Some(Raw { list, shape }),
        }
    }

    /// A list that librdkafka owns, to look at.
    ///
    /// # Safety
    /// The record's message is alive for as long as this is used.
    pub(super) unsafe fn peek(lent: Option<Lent>) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self {
            raw: lent.map(|lent| lent.0),
        })
    }

    /// A copy of a list that librdkafka owns.
    ///
    /// # Safety
    /// The record's message is alive: it had no report yet, and librdkafka is not destroyed.
    pub(super) unsafe fn copy_of(lent: Lent) -> Self {
        // SAFETY: the list is valid because its message is. No thread changes a message's list, so several may read.
        let copy = unsafe { rd::rd_kafka_headers_copy(lent.0.list.as_ptr()) };
        Self {
            raw: NonNull::new(copy).map(|list| Raw {
                list,
                shape: lent.0.shape,
            }),
        }
    }
}

/// One header as librdkafka gives it.
struct Entry<'l> {
    name: &'l CStr,
    /// Null for a null value.
    value: *const c_void,
    size: usize,
}

impl Raw {
    fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a `Raw` is looked into only by the `HeaderList` that owns it, so the list is valid. The index is
        // checked by librdkafka.
        let code = unsafe {
            sys::rd_kafka_header_get_all(
                self.list.as_ptr(),
                index,
                &mut name,
                &mut value,
                &mut size,
            )
        };
        // SAFETY: on success the name is inside the list and ends with a NUL, whatever its own bytes are.
        (code == 0).then(|| Entry {
            name: unsafe { CStr::from_ptr(name) },
            value,
            size,
        })
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            // SAFETY: the list is ours and this is its last use.
            unsafe { rd::rd_kafka_headers_destroy(raw.list.as_ptr()) };
        }
    }
}

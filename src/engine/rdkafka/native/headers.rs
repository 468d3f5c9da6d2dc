//! A record's headers in librdkafka's form.

use std::ffi::{CStr, c_char, c_void};
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use franking_core::Headers;
use rdkafka_sys as rd;
use smallvec::SmallVec;

use super::prefetch::{prefetch, prefetch_at};
use super::sys;

/// Owns a header list, or is empty.
///
/// Dropping it frees the list. Given to `Reports::recycle` it is used again for a record of the same shape, which is
/// far cheaper: librdkafka allocates once for each header.
#[derive(Debug)]
pub(crate) struct HeaderList {
    // A pointer, since it passes through many hands. To read what was just written in other pieces makes the processor wait
    // until all that was written before is in the caches, and the values of a header list are not.
    raw: Option<Box<Raw>>,
}

#[derive(Debug)]
struct Raw {
    list: List,
    /// `None` if it cannot be used again.
    reuse: Option<Reuse>,
}

/// Where a list is, without the right to touch it.
#[derive(Clone, Copy, Debug)]
pub(super) struct List(NonNull<rd::rd_kafka_headers_t>);

/// What it takes to write other values over a list's, without looking at the list: another core wrote or read it last.
#[derive(Debug)]
struct Reuse {
    shape: Arc<Shape>,
    /// Which of the shape's lists this is.
    number: usize,
    /// Where the list keeps each value that is not null. Of most records they fit here.
    values: SmallVec<[NonNull<u8>; 6]>,
}

/// A list that librdkafka owns, and what it takes to use it again.
pub(super) struct Lent(Box<Raw>);

// SAFETY: a list is plain memory without ties to a thread. `HeaderList` changes it through `&mut` only; `Lent` and `List`
// give no access outside the unsafe functions of this file.
unsafe impl Send for List {}
// SAFETY: as above; reading a list does not change it.
unsafe impl Sync for List {}
// SAFETY: the pointers lead into the list.
unsafe impl Send for Reuse {}
// SAFETY: as above.
unsafe impl Sync for Reuse {}

/// What two records' headers have in common when the values of one can be written over the other's: the names and the
/// lengths of the values, in order, where null is not empty.
#[derive(Debug)]
pub(super) struct Shape {
    /// The first such record's headers, of which all but the values counts.
    wire: Box<[u8]>,
    /// Where its values lie in that, those that are not null.
    values: Box<[Range<usize>]>,
    /// About what a list takes in memory.
    pub(super) bytes: usize,
}

/// Memory of one header besides name and value: its C structure and the allocator's share.
const HEADER_BYTES: usize = 64;
/// What librdkafka reads of a list itself.
const LIST: usize = 64;
/// Beyond this the processor sees by itself where a copy goes on.
const LONG: usize = 256;
/// Memory of an empty list with its array, and of what leads to it here.
const LIST_BYTES: usize = 224;

impl Shape {
    pub(super) fn of(headers: &Headers) -> Self {
        let wire = headers.wire();
        let values = headers
            .iter()
            .filter_map(|(_, value)| {
                let value = value?;
                let start = value.as_ptr().addr() - wire.as_ptr().addr();
                Some(start..start + value.len())
            })
            .collect();
        Self {
            wire: wire.into(),
            values,
            bytes: LIST_BYTES + HEADER_BYTES * headers.len() + wire.len(),
        }
    }

    /// Whether this is the shape of these headers: whether all but their values is the same, byte by byte.
    pub(super) fn fits(&self, wire: &[u8]) -> bool {
        if wire.len() != self.wire.len() {
            return false;
        }
        let mut at = 0;
        for value in &self.values {
            if wire[at..value.start] != self.wire[at..value.start] {
                return false;
            }
            at = value.end;
        }
        wire[at..] == self.wire[at..]
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        ptr::eq(self, other) || self.fits(&other.wire)
    }
}

impl HeaderList {
    /// The list without headers, which costs nothing.
    pub(crate) const EMPTY: Self = Self { raw: None };

    /// A new list. With the headers' own shape, and a number among its lists, it can be used again.
    pub(super) fn build(headers: &Headers, reuse: Option<(Arc<Shape>, usize)>) -> Self {
        // SAFETY: takes a number and allocates.
        let list = unsafe { rd::rd_kafka_headers_new(headers.len()) };
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
            // those of all slices do; both are copied. A null value is allowed.
            unsafe { sys::rd_kafka_header_add(list.as_ptr(), name, name_size, value, size) };
        }
        let list = List(list);
        let reuse = reuse.map(|(shape, number)| Reuse {
            shape,
            number,
            values: (0..headers.len())
                .filter_map(|index| NonNull::new(list.entry(index)?.value.cast::<u8>().cast_mut()))
                .collect(),
        });
        // As many as the shape has, so that each is written over with its own.
        let reuse = reuse.filter(|reuse| reuse.values.len() == reuse.shape.values.len());
        Self {
            raw: Some(Box::new(Raw { list, reuse })),
        }
    }

    /// Writes the values of these headers over this list's.
    ///
    /// # Safety
    /// The list's shape [`fits`](Shape::fits) them.
    pub(super) unsafe fn overwrite(&mut self, wire: &[u8]) {
        let Some(Reuse { shape, values, .. }) =
            self.raw.as_ref().and_then(|raw| raw.reuse.as_ref())
        else {
            return;
        };
        debug_assert!(shape.fits(wire) && values.len() == shape.values.len());
        for (range, value) in shape.values.iter().zip(values) {
            // SAFETY: librdkafka allocated each header with its value inside, as many bytes as the shape says, for the list
            // was built of headers of this shape; it gives them as const only to callers that do not own them. This list
            // is ours alone: `&mut self`, and no message refers to it. So `wire` does not lie in it either.
            unsafe {
                ptr::copy_nonoverlapping(wire[range.clone()].as_ptr(), value.as_ptr(), range.len())
            };
        }
    }

    /// Asks for what this points to.
    pub(super) fn prefetch(&self) {
        if let Some(raw) = &self.raw {
            prefetch(&**raw);
        }
    }

    /// Asks for librdkafka's list, and for the memory of its values. Best some time after [`prefetch`](Self::prefetch).
    pub(super) fn prefetch_list(&self) {
        let Some(raw) = &self.raw else { return };
        prefetch_at(raw.list.0.as_ptr().cast(), LIST);
        if let Some(Reuse { shape, values, .. }) = &raw.reuse {
            for (range, value) in shape.values.iter().zip(values) {
                prefetch_at(value.as_ptr(), range.len().min(LONG));
            }
        }
    }

    /// Whether there are no headers.
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_none()
    }

    /// The header at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.raw.as_ref()?.list.get(index)
    }

    /// All headers, in order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> + Clone {
        (0..).map_while(|index| self.get(index))
    }

    /// What a pool files the list under, if it can be used again.
    pub(super) fn number(&self) -> Option<(&Arc<Shape>, usize)> {
        let reuse = self.raw.as_ref()?.reuse.as_ref()?;
        Some((&reuse.shape, reuse.number))
    }

    pub(super) fn as_ptr(&self) -> Option<NonNull<rd::rd_kafka_headers_t>> {
        self.raw.as_ref().map(|raw| raw.list.0)
    }

    /// Gives the list up, to librdkafka: what the slot keeps meanwhile.
    pub(super) fn lend(mut self) -> Option<Lent> {
        self.raw.take().map(Lent)
    }

    /// Takes back a list that librdkafka did not take after all.
    ///
    /// # Safety
    /// The call that would have given it to librdkafka failed.
    pub(super) unsafe fn reclaim(lent: Option<Lent>) -> Self {
        Self {
            raw: lent.map(|lent| lent.0),
        }
    }

    /// Takes over a list that `rd_kafka_message_detach_headers` gave. `lent` is what the record's slot kept.
    ///
    /// # Safety
    /// `list` is a valid list that nobody else owns.
    pub(super) unsafe fn detached(
        list: NonNull<rd::rd_kafka_headers_t>,
        lent: Option<Lent>,
    ) -> Self {
        // It is as it was given: only a plug-in could change or swap it, and `Handle` takes none.
        let raw = match lent {
            Some(Lent(raw)) if raw.list.0 == list => raw,
            _ => Box::new(Raw {
                list: List(list),
                reuse: None,
            }),
        };
        Self { raw: Some(raw) }
    }

    /// A copy of a list that librdkafka owns.
    ///
    /// # Safety
    /// The record's message is alive: it had no report yet, and librdkafka is not destroyed.
    pub(super) unsafe fn copy_of(lent: &Lent) -> Self {
        // SAFETY: the list is valid because its message is. No thread changes a message's list, so several may read.
        let copy = unsafe { rd::rd_kafka_headers_copy(lent.0.list.0.as_ptr()) };
        Self {
            raw: NonNull::new(copy).map(|list| {
                Box::new(Raw {
                    list: List(list),
                    reuse: None,
                })
            }),
        }
    }
}

impl Lent {
    /// As [`HeaderList::prefetch`].
    pub(super) fn prefetch(&self) {
        prefetch(&*self.0);
    }

    pub(super) fn list(&self) -> List {
        self.0.list
    }
}

/// A list that librdkafka owns, to look at.
pub(super) struct Peeked(Option<List>);

impl Peeked {
    /// # Safety
    /// The record's message is alive for as long as this is used.
    pub(super) unsafe fn new(list: Option<List>) -> Self {
        Self(list)
    }
}

impl franking_core::HeaderList for Peeked {
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.0.as_ref()?.get(index)
    }
}

/// One header as librdkafka gives it.
struct Entry<'l> {
    name: &'l CStr,
    /// Null for a null value.
    value: *const c_void,
    size: usize,
}

// For who owns the list, or knows that its message is alive.
impl List {
    fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let entry = self.entry(index)?;
        let value = (!entry.value.is_null()).then(|| {
            // SAFETY: a value that is not null has `size` bytes inside the list, which nobody changes while it is borrowed.
            unsafe { std::slice::from_raw_parts(entry.value.cast::<u8>(), entry.size) }
        });
        // Names go in as `&str`.
        Some((entry.name.to_str().unwrap_or_default(), value))
    }

    fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is looked into only by the `HeaderList` that owns it, or by a `Peeked` that was told that its message
        // is alive, so it is valid. The index is checked by librdkafka.
        let code = unsafe {
            sys::rd_kafka_header_get_all(self.0.as_ptr(), index, &mut name, &mut value, &mut size)
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
            unsafe { rd::rd_kafka_headers_destroy(raw.list.0.as_ptr()) };
        }
    }
}

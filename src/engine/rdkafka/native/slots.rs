//! Where a record lives while librdkafka has it.
//!
//! A slab: librdkafka carries a number, not a pointer, so a wrong one can at worst miss. And it can be enumerated,
//! which librdkafka cannot: what never gets a report is found here when the client is closed.

use std::ffi::c_void;
use std::ptr;

use bytes::Bytes;

use super::headers::Lent;

/// Entries of one chunk. Chunks are added and never moved, so growing costs the same small step at any size. They are
/// kept until the client goes: the slab's size is that of the largest backlog there was.
const CHUNK: usize = 512;

/// What is kept of one record.
pub(super) struct Slot<T> {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) user: T,
    /// The record's header list, which librdkafka owns meanwhile.
    pub(super) headers: Option<Lent>,
}

/// The number of a live slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotId(usize);

impl SlotId {
    /// As librdkafka carries it. Never null, since null is what a message without an opaque value has.
    pub(super) fn to_opaque(self) -> *mut c_void {
        ptr::without_provenance_mut(self.0 + 1)
    }

    pub(super) fn from_opaque(opaque: *mut c_void) -> Option<Self> {
        opaque.addr().checked_sub(1).map(Self)
    }
}

enum Entry<T> {
    /// Free, with the next free entry.
    Free(Option<usize>),
    Live(Slot<T>),
}

/// All slots of a client.
pub(super) struct Slab<T> {
    chunks: Vec<Box<[Entry<T>]>>,
    free: Option<usize>,
    live: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: None,
            live: 0,
        }
    }

    pub(super) fn insert(&mut self, slot: Slot<T>) -> SlotId {
        let index = match self.free {
            Some(index) => index,
            None => self.grow(),
        };
        let entry = &mut self.chunks[index / CHUNK][index % CHUNK];
        if let Entry::Free(next) = *entry {
            self.free = next;
        }
        *entry = Entry::Live(slot);
        self.live += 1;
        SlotId(index)
    }

    /// Takes the slot out; `None` if it is not live.
    pub(super) fn take(&mut self, id: SlotId) -> Option<Slot<T>> {
        let entry = self.chunks.get_mut(id.0 / CHUNK)?.get_mut(id.0 % CHUNK)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let Entry::Live(slot) = std::mem::replace(entry, Entry::Free(self.free)) else {
            return None;
        };
        // The one freed last is used next: its memory is warm.
        self.free = Some(id.0);
        self.live -= 1;
        Some(slot)
    }

    /// Looks into the slot; `None` if it is not live.
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot<T>> {
        match self.chunks.get(id.0 / CHUNK)?.get(id.0 % CHUNK)? {
            Entry::Live(slot) => Some(slot),
            Entry::Free(_) => None,
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Everything that is still live.
    pub(super) fn into_live(self) -> impl Iterator<Item = Slot<T>> {
        self.chunks
            .into_iter()
            .flat_map(|chunk| chunk.into_vec())
            .filter_map(|entry| match entry {
                Entry::Live(slot) => Some(slot),
                Entry::Free(_) => None,
            })
    }

    /// Adds a chunk and gives its first entry, which heads the free list now.
    fn grow(&mut self) -> usize {
        let first = self.chunks.len() * CHUNK;
        let end = first + CHUNK;
        self.chunks.push(
            (first + 1..=end)
                .map(|next| Entry::Free((next < end).then_some(next)))
                .collect(),
        );
        self.free = Some(first);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(user: usize) -> Slot<usize> {
        Slot {
            key: None,
            value: None,
            user,
            headers: None,
        }
    }

    #[test]
    fn a_slot_is_taken_once_and_the_rest_is_enumerated() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..3 * CHUNK).map(|user| slab.insert(slot(user))).collect();
        assert_eq!(slab.live(), 3 * CHUNK);
        for (user, id) in ids.iter().enumerate().step_by(2) {
            assert_eq!(slab.take(*id).map(|slot| slot.user), Some(user));
            assert!(slab.take(*id).is_none());
        }
        let again = slab.insert(slot(7));
        assert_eq!(slab.take(again).map(|slot| slot.user), Some(7));
        assert_eq!(slab.chunks.len(), 3);
        let mut rest: Vec<_> = slab.into_live().map(|slot| slot.user).collect();
        rest.sort_unstable();
        assert_eq!(rest, (1..3 * CHUNK).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn an_opaque_value_that_is_no_slot_finds_nothing() {
        let mut slab = Slab::<()>::new();
        assert!(SlotId::from_opaque(ptr::null_mut()).is_none());
        assert!(slab.take(SlotId(0)).is_none());
        assert!(slab.take(SlotId(usize::MAX - 1)).is_none());
        assert_eq!(SlotId::from_opaque(SlotId(0).to_opaque()), Some(SlotId(0)));
    }
}

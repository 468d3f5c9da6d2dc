//! Where a record lives while librdkafka has it.
//!
//! A slab: librdkafka carries a number, not a pointer, so a wrong one can at worst miss. And it can be enumerated,
//! which librdkafka cannot: what never gets a report is found here when the client is closed.

use std::ffi::c_void;
use std::ptr;

use bytes::Bytes;

use super::headers::Lent;
use super::lots::Lots;
use super::prefetch::prefetch;

/// Entries of one chunk. Chunks are added and never moved, so growing costs the same small step at any size. They are
/// kept until the client goes, as are places: the slab's size is that of the largest backlog there was, and up to a seventh more.
const CHUNK: usize = 512;

/// What is kept of one record.
pub(crate) struct Slot<T> {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) user: T,
    /// The record's header list, which librdkafka owns meanwhile.
    pub(super) headers: Option<Lent>,
}

/// The number of a live slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(usize);

impl SlotId {
    /// As librdkafka carries it. Never null, since null is what a message without an opaque value has.
    pub(super) fn to_opaque(self) -> *mut c_void {
        ptr::without_provenance_mut(self.0 + 1)
    }

    pub(super) fn from_opaque(opaque: *mut c_void) -> Option<Self> {
        opaque.addr().checked_sub(1).map(Self)
    }
}

/// The memory of a slot, which is used again and again: a slot is written once, where it stays until its report, and passed
/// on as a pointer. It is some 380 bytes, and each copy on the way costs as much as a small allocation.
pub(crate) type Place<T> = Box<Home<T>>;

/// A slot's memory with its number in the slab.
pub(crate) struct Home<T> {
    id: SlotId,
    pub(crate) slot: Option<Slot<T>>,
}

/// All slots of a client.
pub(super) struct Slab<T> {
    /// The place of each live slot, by its number.
    chunks: Vec<Box<[Option<Place<T>>]>>,
    /// Places without a slot.
    spare: Lots<Place<T>>,
    live: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            spare: Lots::new(),
            live: 0,
        }
    }

    // What is written here may be cold, and is not read, but for the number, which was asked for a record ahead: the processor
    // waits for what it reads. Place and entry are empty, so there is nothing to drop, and to look would be to read them.
    pub(super) fn insert(&mut self, slot: Slot<T>) -> SlotId {
        let mut place = match self.spare.take() {
            Some(place) => place,
            None => self.grow(),
        };
        let id = place.id;
        let entry = &mut self.chunks[id.0 / CHUNK][id.0 % CHUNK];
        debug_assert!(place.slot.is_none() && entry.is_none());
        std::mem::forget(place.slot.replace(slot));
        std::mem::forget(entry.replace(place));
        self.live += 1;
        if let Some(next) = self.spare.coming().next() {
            prefetch(&**next);
        }
        id
    }

    /// Takes the slot out, with its place; `None` if it is not live.
    pub(super) fn take(&mut self, id: SlotId) -> Option<Place<T>> {
        let chunk = self.chunks.get_mut(id.0 / CHUNK)?;
        let place = chunk.get_mut(id.0 % CHUNK)?.take()?;
        self.live -= 1;
        Some(place)
    }

    /// Keeps places of this slab for later slots. They are empty, so that nothing of a user's is dropped in here. A place that
    /// is dropped instead takes its number with it.
    pub(super) fn keep(&mut self, places: impl Iterator<Item = Place<T>>) {
        for place in places {
            self.spare.put(place.id.0, place);
        }
    }

    /// Looks into the slot; `None` if it is not live.
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot<T>> {
        let place = self.chunks.get(id.0 / CHUNK)?.get(id.0 % CHUNK)?.as_ref()?;
        place.slot.as_ref()
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Everything that is still live.
    pub(super) fn into_live(self) -> impl Iterator<Item = Slot<T>> {
        self.chunks
            .into_iter()
            .flat_map(|chunk| chunk.into_vec())
            .filter_map(|place| place?.slot)
    }

    /// A new place, and room for its number.
    fn grow(&mut self) -> Place<T> {
        let id = SlotId(self.spare.number());
        if self.chunks.len() <= id.0 / CHUNK {
            self.chunks.push((0..CHUNK).map(|_| None).collect());
        }
        Box::new(Home { id, slot: None })
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
            let mut place = slab.take(*id).unwrap();
            assert_eq!(place.slot.take().map(|slot| slot.user), Some(user));
            slab.keep(std::iter::once(place));
            assert!(slab.take(*id).is_none());
        }
        let again = slab.insert(slot(7));
        let place = slab.take(again).unwrap();
        assert_eq!(place.slot.map(|slot| slot.user), Some(7));
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

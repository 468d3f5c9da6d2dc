//! Bytes that mostly fit where they are.

use std::ops::{Deref, DerefMut};

use arrayvec::ArrayVec;

/// So many bytes lie in the record's own memory: the stamps of a whole stack are about 310 with the default layers, and
/// then need no allocation of their own.
const INLINE: usize = 384;

/// A growing list of bytes, the first [`INLINE`] of them in place. Only appended to, mostly, so an append is one copy.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    inline: ArrayVec<u8, INLINE>,
    /// Everything, once it did not fit.
    spilled: Option<Vec<u8>>,
}

impl Wire {
    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if self.spilled.is_some() || self.inline.try_extend_from_slice(bytes).is_err() {
            self.spill(bytes);
        }
    }

    /// So many zeros, to be written to.
    #[inline]
    pub(crate) fn extend_with_zeros(&mut self, len: usize) -> &mut [u8] {
        // Of a known size, so that it is a few moves and no call.
        const BLOCK: [u8; 64] = [0; 64];
        let before = self.len();
        let fits = self.spilled.is_none() && len <= BLOCK.len();
        if fits && self.inline.try_extend_from_slice(&BLOCK).is_ok() {
            self.inline.truncate(before + len);
        } else {
            self.extend(&vec![0; len]);
        }
        &mut self[before..]
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        if self.spilled.is_some() || self.inline.try_push(byte).is_err() {
            self.spill(&[byte]);
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        let spilled = self.spilled.get_or_insert_with(|| {
            let mut all = Vec::with_capacity(2 * (self.inline.len() + bytes.len()));
            all.extend_from_slice(&self.inline);
            all
        });
        spilled.extend_from_slice(bytes);
    }

    /// Empties it, and keeps no memory that is not its own.
    pub(crate) fn clear(&mut self) {
        self.inline.clear();
        self.spilled = None;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.spilled {
            Some(spilled) => spilled.truncate(len),
            None => self.inline.truncate(len),
        }
    }
}

impl Deref for Wire {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.spilled {
            Some(spilled) => spilled,
            None => &self.inline,
        }
    }
}

impl DerefMut for Wire {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.spilled {
            Some(spilled) => spilled,
            None => &mut self.inline,
        }
    }
}

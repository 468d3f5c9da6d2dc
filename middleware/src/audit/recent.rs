//! What a thread knows of the topics that it sent to last, so that it needs no lock.

use std::{
    cell::RefCell,
    sync::{Arc, atomic::AtomicU64},
};

use franking_core::Topic;

/// How many topics a thread finds without a lock.
const RECENT: usize = 16;

/// Where a thread counted a record to this topic last.
pub(super) struct Recent {
    pub(super) audit: u64,
    pub(super) topic: Topic,
    /// Of the bucket.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) cell: u32,
    pub(super) generation: u64,
    pub(super) sequence: Arc<AtomicU64>,
}

impl Recent {
    pub(super) fn is_for(&self, audit: u64, topic: &str, at: i64) -> bool {
        self.audit == audit && self.start <= at && at < self.end && same(&self.topic, topic)
    }
}

thread_local! {
    static RECENTLY: RefCell<[Option<Recent>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

/// Topics of one service mostly differ in length, or at the end or in the middle.
pub(super) fn index(audit: u64, topic: &str) -> usize {
    let bytes = topic.as_bytes();
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| usize::from(*byte));
    let mixed = bytes.len() * 7 + byte(bytes.len() / 2) * 5 + byte(bytes.len().wrapping_sub(1));
    (mixed + audit as usize) % RECENT
}

/// What the thread remembers there, if it leads to something.
pub(super) fn look<T>(index: usize, found: impl FnOnce(&Recent) -> Option<T>) -> Option<T> {
    let looked = RECENTLY.try_with(|recent| recent.borrow()[index].as_ref().and_then(found));
    looked.ok().flatten()
}

pub(super) fn remember(index: usize, entry: Recent) {
    // Not at the end of a thread, when there is nothing to remember it in.
    let _ = RECENTLY.try_with(|recent| recent.borrow_mut()[index] = Some(entry));
}

/// Mostly it is one and the same name, and no look at its letters is needed.
fn same(known: &str, topic: &str) -> bool {
    std::ptr::eq(known, topic) || known == topic
}

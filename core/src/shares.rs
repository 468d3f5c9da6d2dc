//! References that one thread hands out and another gives back.

use std::{ops::Deref, sync::Arc};

use crate::{Failed, Recover};

/// Hands out references to something shared, for records that settle on another thread.
///
/// A reference count that a sender raises and the engine's thread lowers passes its cache line between two cores for
/// every record, 50 to 100 ns each time. So a handle gives the references out in lots, each with a count of its own: by
/// the time the engine gives the first ones back, the sender counts elsewhere.
#[derive(Debug)]
pub struct Shares<T> {
    all: Arc<T>,
    lot: Arc<Share<T>>,
    left: u32,
}

/// References in a lot: one allocation for so many.
const LOT: u32 = 512;

impl<T> Shares<T> {
    /// For what is behind this reference.
    pub fn of(all: Arc<T>) -> Self {
        Self {
            lot: Arc::new(Share(Arc::clone(&all))),
            all,
            left: LOT,
        }
    }

    /// What is shared.
    pub fn all(&self) -> &Arc<T> {
        &self.all
    }

    /// One more reference.
    pub fn share(&mut self) -> Arc<Share<T>> {
        if self.left == 0 {
            self.lot = Arc::new(Share(Arc::clone(&self.all)));
            self.left = LOT;
        }
        self.left -= 1;
        Arc::clone(&self.lot)
    }
}

/// A clone of a handle hands out lots of its own.
impl<T> Clone for Shares<T> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.all))
    }
}

/// A reference from a lot of [`Shares`].
#[derive(Debug)]
pub struct Share<T>(Arc<T>);

impl<T> Share<T> {
    /// What is shared.
    pub fn all(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T> Deref for Share<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Recover> Recover for Share<T> {
    fn recover(self: Arc<Self>, failed: Failed) {
        Arc::clone(&self.0).recover(failed);
    }
}

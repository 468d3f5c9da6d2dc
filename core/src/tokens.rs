//! The tokens of interceptors, from the send of their records to the outcome.

use std::sync::Arc;

use smallbox::{SmallBox, smallbox};

use crate::{Hook, Interceptor, Outcome, Share, guard::guarded};

/// A token in the memory of its record. One that takes more than six words as an `Option`, or is aligned to more than one, is
/// in a box instead.
///
/// A box for each was the dearest thing that a layer did: one thread allocated it and another gave it back, which took both
/// together 500 ns a record with a real engine.
pub(crate) type InPlace = SmallBox<dyn Settle, [usize; 7]>;

/// A token with its interceptor, to a record that does not know of which type they are.
pub(crate) trait Settle: Send + Sync {
    /// Gives the token to its interceptor, with the outcome. The first time; then it is gone.
    fn settle(&mut self, outcome: &Outcome<'_>);
}

/// A token with its interceptor.
pub(crate) struct Paired<I: Interceptor> {
    interceptor: Arc<Share<I>>,
    token: Option<I::Token>,
}

impl<I: Interceptor> Paired<I> {
    pub(crate) fn new(interceptor: Arc<Share<I>>, token: I::Token) -> Self {
        let token = Some(token);
        Self { interceptor, token }
    }

    // The macro makes the library's unsafe call, with a pointer to the value of which only the vtable is used, as stable Rust
    // cannot yet coerce the library's boxes to `dyn`. There is no unsafe code of our own.
    #[inline(always)]
    pub(crate) fn in_place(self) -> InPlace {
        smallbox!(self)
    }
}

impl<I: Interceptor> Settle for Paired<I> {
    #[inline]
    fn settle(&mut self, outcome: &Outcome<'_>) {
        if let Some(token) = self.token.take() {
            self.interceptor.on_outcome(token, outcome);
        }
    }
}

/// Where there is no place left.
impl<I: Interceptor> Hook for Paired<I> {
    fn on_outcome(mut self: Box<Self>, outcome: &Outcome<'_>) {
        // By itself, so that what ends with the box may panic as well.
        guarded(|| self.settle(outcome));
    }
}

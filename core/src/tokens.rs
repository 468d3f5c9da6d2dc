//! Where the tokens of interceptors wait for the outcomes of their records.

use std::{
    ptr,
    sync::{Arc, PoisonError},
};

use crate::{Interceptor, Outcome, delivery::next_lot, sync::Mutex};

/// Keeps an interceptor's tokens in lots, and so costs a record a fraction of an allocation.
///
/// A box for each was the dearest thing that a layer did to a producer with a large backlog: the sender waited for the
/// allocator's list, which runs through the memory that the engine's thread gave back, 100 ns and more, and that thread
/// paid half as much to give it back. A lot is written in order and given back once.
pub(crate) struct Tokens<I: Interceptor> {
    interceptor: Arc<I>,
    lot: Option<Arc<Lot<I>>>,
    next: usize,
}

struct Lot<I: Interceptor> {
    interceptor: Arc<I>,
    tokens: Box<[Mutex<Option<I::Token>>]>,
}

/// Tokens that are kept, to a record that does not know of whom.
pub(crate) trait Kept: Send + Sync {
    /// Gives the token to its interceptor, with the outcome. Once for each.
    fn settle(&self, index: usize, outcome: &Outcome<'_>);

    /// Where the token is, and its size.
    fn memory(&self, index: usize) -> (*const u8, usize);
}

impl<I: Interceptor> Tokens<I> {
    pub(crate) fn of(interceptor: Arc<I>) -> Self {
        Self {
            interceptor,
            lot: None,
            next: 0,
        }
    }

    pub(crate) fn interceptor(&self) -> &I {
        &self.interceptor
    }

    /// Keeps a token: who settles it, and by which number.
    pub(crate) fn keep(&mut self, token: I::Token) -> (Arc<dyn Kept>, u32) {
        let used = self.lot.as_ref().map_or(0, |lot| lot.tokens.len());
        if self.next == used {
            self.next = 0;
            self.lot = Some(Arc::new(Lot {
                interceptor: Arc::clone(&self.interceptor),
                tokens: (0..next_lot(used)).map(|_| Mutex::default()).collect(),
            }));
        }
        let lot = self.lot.as_ref();
        let lot = lot.expect("a lot was made if there was none");
        let index = self.next;
        self.next += 1;
        *lock(&lot.tokens[index]) = Some(token);
        (Arc::clone(lot) as Arc<dyn Kept>, index as u32)
    }
}

/// A clone of a handle keeps tokens in lots of its own.
impl<I: Interceptor> Clone for Tokens<I> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.interceptor))
    }
}

impl<I: Interceptor> Kept for Lot<I> {
    fn settle(&self, index: usize, outcome: &Outcome<'_>) {
        let token = lock(&self.tokens[index]).take();
        if let Some(token) = token {
            self.interceptor.on_outcome(token, outcome);
        }
    }

    fn memory(&self, index: usize) -> (*const u8, usize) {
        let token = &self.tokens[index];
        (ptr::from_ref(token).cast(), size_of_val(token))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> crate::sync::MutexGuard<'_, T> {
    // Nothing of anybody else's runs under this lock, so what is in it is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Parts, Placed, Snapshot};

    /// Hears what it kept.
    #[derive(Default)]
    struct Hears(Mutex<Vec<String>>);

    impl Interceptor for Hears {
        type Token = String;

        fn on_send(&self, _: &mut Parts) -> Result<String, Failure> {
            Ok(String::new())
        }

        fn on_outcome(&self, token: String, _: &Outcome<'_>) {
            lock(&self.0).push(token);
        }
    }

    #[test]
    fn each_token_comes_back_once_whatever_the_order_and_outlives_its_handle() {
        let hears = Arc::new(Hears::default());
        let mut tokens = Tokens::of(Arc::clone(&hears));
        let mut kept: Vec<_> = (0..500).map(|n| tokens.keep(n.to_string())).collect();
        assert!(Arc::ptr_eq(&kept[498].0, &kept[499].0), "one lot");
        drop(tokens);
        kept.reverse();
        let parts = Parts::default();
        let outcome = Outcome {
            result: Ok(Placed {
                partition: 0,
                offset: None,
                timestamp: None,
            }),
            record: parts.view(),
            attempts: 1,
            at: std::time::Instant::now(),
        };
        for (kept, number) in &kept {
            kept.settle(*number as usize, &outcome);
            kept.settle(*number as usize, &outcome);
        }
        drop(kept);
        let expected: Vec<_> = (0..500).rev().map(|n| n.to_string()).collect();
        assert_eq!(*lock(&hears.0), expected);
        assert_eq!(Arc::strong_count(&hears), 1, "no lot is left");
    }
}

//! What threads share in `order`: std's. The model (`model.rs`) puts loom's in its place, which runs a test in every order
//! that its threads can take.

#[cfg(not(all(test, loom)))]
pub(super) use std::{sync::atomic::AtomicU64, thread, thread_local as local};

#[cfg(all(test, loom))]
pub(super) use self::modelled::{AtomicU64, local};
#[cfg(all(test, loom))]
pub(super) use loom::thread;

#[cfg(all(test, loom))]
mod modelled {
    use std::sync::atomic::Ordering::{self, SeqCst};

    use loom::sync::atomic::fence;

    /// loom takes `SeqCst` for acquire and release, and would show two threads that each write and then read the other's
    /// as missing each other. A fence behind each `SeqCst` write says what it means, and no more: none stands before a
    /// read, nor behind any other write.
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.0.store(value, order);
            fence_behind(order);
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            let before = self.0.fetch_add(value, order);
            fence_behind(order);
            before
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_max(value, order)
        }

        pub(crate) fn compare_exchange(
            &self,
            old: u64,
            new: u64,
            order: Ordering,
            failed: Ordering,
        ) -> Result<u64, u64> {
            let result = self.0.compare_exchange(old, new, order, failed);
            if result.is_ok() {
                fence_behind(order);
            }
            result
        }
    }

    /// loom's takes no `const` block.
    macro_rules! local {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = const $value:block;) => {
            loom::thread_local! { static $name: $type = $value; }
        };
    }
    pub(crate) use local;

    fn fence_behind(order: Ordering) {
        if order == SeqCst {
            fence(SeqCst);
        }
    }
}

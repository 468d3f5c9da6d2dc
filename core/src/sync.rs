//! Locks and atomics: std's. The models (`src/models`) put loom's in their place, which run a test in every order that
//! its threads can take.

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

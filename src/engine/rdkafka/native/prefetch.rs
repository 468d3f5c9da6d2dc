//! Memory that is needed soon.

use std::ptr;

/// Asks the processor for the memory of this value, without waiting for it. Stable Rust has a word for that on x86-64 only;
/// elsewhere it does nothing.
///
/// Of a producer that is ahead of its brokers everything is cold: a hundred thousand records take more memory than any
/// cache has, and another core touched them last. What the next record needs is known while the one before it is handled.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    prefetch_at(ptr::from_ref(value).cast(), size_of_val(value));
}

/// As [`prefetch`], for memory that is not ours to look at.
#[inline]
pub(crate) fn prefetch_at(start: *const u8, size: usize) {
    const LINE: usize = 64;
    let before = start.addr() % LINE;
    for offset in (0..before + size).step_by(LINE) {
        let line = start.wrapping_sub(before).wrapping_add(offset).cast::<i8>();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which reads nothing and takes any address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

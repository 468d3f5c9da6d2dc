//! Names and texts of error codes.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::sys;

/// `RD_KAFKA_RESP_ERR__INVALID_ARG`.
pub(super) const INVALID_ARG: i32 = -186;
/// `RD_KAFKA_RESP_ERR__FATAL`.
pub(super) const FATAL: i32 = -150;

/// The name of a code, as in `NOT_ENOUGH_REPLICAS`; librdkafka's own begin with an underscore.
pub(crate) fn error_name(code: i32) -> &'static str {
    find(code).map_or("UNLISTED", |(name, _)| name)
}

/// What a code means, in librdkafka's words.
pub(crate) fn error_text(code: i32) -> &'static str {
    find(code).map_or(
        "an error code that librdkafka does not list",
        |(_, text)| text,
    )
}

/// Looks into librdkafka's table. Not `rd_kafka_err2name` and `rd_kafka_err2str`: for a code without an entry they
/// give a buffer of the calling thread that their next call overwrites.
fn find(code: i32) -> Option<(&'static str, &'static str)> {
    let mut descs = ptr::null();
    let mut count = 0;
    // SAFETY: both pointers are valid for a write; the function does nothing else.
    unsafe { sys::rd_kafka_get_err_descs(&mut descs, &mut count) };
    // SAFETY: the function gives the address and the length of a constant table of this layout.
    let table: &'static [sys::ErrDesc] = unsafe { std::slice::from_raw_parts(descs, count) };
    // Entry `i` is for the first code + `i`; holes are zeroed, so the code must be compared too.
    let index = usize::try_from(code.checked_sub(table.first()?.code)?).ok()?;
    let entry = table
        .get(index)
        .filter(|entry| entry.code == code && !entry.desc.is_null())?;
    Some((text(entry.name)?, text(entry.desc)?))
}

fn text(pointer: *const c_char) -> Option<&'static str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: names and descriptions in the table are C string literals.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

//! Prototypes of librdkafka functions whose results are enums there.
//!
//! `rdkafka-sys` makes Rust enums of them, and a value that such an enum does not list is undefined behaviour. Error
//! codes come from brokers, which are newer than any list. In C these enums are plain `int`, so these prototypes are
//! the same functions to the linker.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys as rd;

/// `rd_kafka_message_t`, with its error as a number.
#[repr(C)]
pub(super) struct Message {
    pub(super) err: i32,
    pub(super) rkt: *mut rd::rd_kafka_topic_t,
    pub(super) partition: i32,
    pub(super) payload: *mut c_void,
    pub(super) len: usize,
    pub(super) key: *mut c_void,
    pub(super) key_len: usize,
    pub(super) offset: i64,
    /// The opaque value given to `rd_kafka_produceva`.
    pub(super) opaque: *mut c_void,
}

const _: () = assert!(size_of::<Message>() == size_of::<rd::rd_kafka_message_t>());

/// `struct rd_kafka_err_desc`, with its code as a number.
#[repr(C)]
pub(super) struct ErrDesc {
    pub(super) code: i32,
    pub(super) name: *const c_char,
    pub(super) desc: *const c_char,
}

const _: () = assert!(size_of::<ErrDesc>() == size_of::<rd::rd_kafka_err_desc>());

unsafe extern "C" {
    pub(super) fn rd_kafka_get_err_descs(descs: *mut *const ErrDesc, count: *mut usize);
    pub(super) fn rd_kafka_last_error() -> i32;
    pub(super) fn rd_kafka_error_code(error: *const rd::rd_kafka_error_t) -> i32;
    pub(super) fn rd_kafka_fatal_error(
        rk: *mut rd::rd_kafka_t,
        text: *mut c_char,
        size: usize,
    ) -> i32;

    pub(super) fn rd_kafka_conf_set(
        conf: *mut rd::rd_kafka_conf_t,
        name: *const c_char,
        value: *const c_char,
        text: *mut c_char,
        size: usize,
    ) -> c_int;
    pub(super) fn rd_kafka_conf_get(
        conf: *const rd::rd_kafka_conf_t,
        name: *const c_char,
        dest: *mut c_char,
        size: *mut usize,
    ) -> c_int;
    pub(super) fn rd_kafka_set_log_queue(
        rk: *mut rd::rd_kafka_t,
        queue: *mut rd::rd_kafka_queue_t,
    ) -> i32;
    pub(super) fn rd_kafka_flush(rk: *mut rd::rd_kafka_t, timeout_ms: c_int) -> i32;
    pub(super) fn rd_kafka_purge(rk: *mut rd::rd_kafka_t, flags: c_int) -> i32;
    pub(super) fn rd_kafka_metadata(
        rk: *mut rd::rd_kafka_t,
        all_topics: c_int,
        only: *mut rd::rd_kafka_topic_t,
        metadata: *mut *const rd::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> i32;

    pub(super) fn rd_kafka_oauthbearer_set_token(
        rk: *mut rd::rd_kafka_t,
        token: *const c_char,
        lifetime_ms: i64,
        principal: *const c_char,
        extensions: *mut *const c_char,
        extension_size: usize,
        text: *mut c_char,
        size: usize,
    ) -> i32;
    pub(super) fn rd_kafka_oauthbearer_set_token_failure(
        rk: *mut rd::rd_kafka_t,
        reason: *const c_char,
    ) -> i32;

    pub(super) fn rd_kafka_event_error(event: *mut rd::rd_kafka_event_t) -> i32;
    pub(super) fn rd_kafka_event_message_array(
        event: *mut rd::rd_kafka_event_t,
        messages: *mut *const Message,
        size: usize,
    ) -> usize;
    pub(super) fn rd_kafka_message_status(message: *const Message) -> c_int;
    pub(super) fn rd_kafka_message_timestamp(message: *const Message, kind: *mut c_int) -> i64;
    pub(super) fn rd_kafka_message_detach_headers(
        message: *mut Message,
        headers: *mut *mut rd::rd_kafka_headers_t,
    ) -> i32;

    pub(super) fn rd_kafka_header_add(
        headers: *mut rd::rd_kafka_headers_t,
        name: *const c_char,
        name_size: isize,
        value: *const c_void,
        value_size: isize,
    ) -> i32;
    pub(super) fn rd_kafka_header_get_all(
        headers: *const rd::rd_kafka_headers_t,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> i32;
}

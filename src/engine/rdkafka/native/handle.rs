//! librdkafka's handle: made from properties, destroyed with its threads.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys as rd;

use super::certificates::verify;
use super::openssl::keep_until_exit;
use super::partitioner::{Chooser, choose};
use super::sys;

/// Room for librdkafka's messages, which it cuts to fit.
const TEXT: usize = 512;

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewError {
    /// The property at fault, where librdkafka says so.
    pub(crate) property: Option<String>,
    pub(crate) message: String,
}

/// Properties that would break what this module rests on, with the reason.
///
/// One more is checked by its value: `delivery.report.only.error`.
const REFUSED: [(&str, &str); 2] = [
    // A header list that is used again must be as it was given.
    (
        "plugin.library.paths",
        "would load code that may change what librdkafka holds",
    ),
    // The one function pointer that librdkafka lets a text property set. It would call the text.
    ("ut_handle_ProduceResponse", "is for librdkafka's own tests"),
];

/// An instance of librdkafka's producer and its main queue.
pub(super) struct Handle {
    rk: NonNull<rd::rd_kafka_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's instance and queue lock themselves; every function used here may be called from any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// `chooser`, if there is one, must outlive what this returns: `Client` sees to it.
    pub(super) fn new<T>(
        properties: &[(String, String)],
        chooser: Option<&Chooser<T>>,
    ) -> Result<Self, NewError> {
        keep_until_exit();
        let mut conf = Conf::new(properties)?;
        if let Some(chooser) = chooser {
            conf.partition_with(chooser)?;
        }
        let mut text = Text::new();
        // SAFETY: `conf` is valid and is given up below if this succeeds, as the function then owns it.
        let rk = unsafe {
            rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                conf.0.as_ptr(),
                text.as_mut_ptr(),
                TEXT,
            )
        };
        let Some(rk) = NonNull::new(rk) else {
            return Err(NewError {
                property: None,
                message: text.read(),
            });
        };
        std::mem::forget(conf);
        // SAFETY: the instance is valid, and a null queue stands for its main queue.
        unsafe { sys::rd_kafka_set_log_queue(rk.as_ptr(), ptr::null_mut()) };
        // SAFETY: the instance is valid. The result is a new reference and never null for a producer.
        let queue = unsafe { rd::rd_kafka_queue_get_main(rk.as_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: the instance is valid, nothing refers to it and this is its last use.
            unsafe { rd::rd_kafka_destroy(rk.as_ptr()) };
            return Err(NewError {
                property: None,
                message: "librdkafka gave no queue".into(),
            });
        };
        Ok(Self { rk, queue })
    }

    pub(super) fn raw(&self) -> *mut rd::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// The next event, with a wait for it.
    pub(super) fn next_event(&self, timeout: Duration) -> Option<RawEvent> {
        // SAFETY: the queue is valid as long as `self`. The event, if there is one, is ours to destroy.
        NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), millis(timeout)) })
            .map(RawEvent)
    }

    pub(super) fn wake(&self) {
        // SAFETY: the queue is valid as long as `self`.
        unsafe { rd::rd_kafka_queue_yield(self.queue.as_ptr()) };
    }

    pub(super) fn fatal(&self) -> Option<(i32, String)> {
        let mut text = Text::new();
        // SAFETY: the instance is valid, and `text` has room for the size that is given.
        let code = unsafe { sys::rd_kafka_fatal_error(self.raw(), text.as_mut_ptr(), TEXT) };
        (code != 0).then(|| (code, text.read()))
    }

    /// The texts are C strings without a NUL inside; `extensions` are names, each followed by its value.
    pub(super) fn set_token(
        &self,
        token: &CStr,
        lifetime_ms: i64,
        principal: &CStr,
        extensions: &[CString],
    ) -> Result<(), String> {
        let mut extensions: Vec<_> = extensions.iter().map(|text| text.as_ptr()).collect();
        let mut text = Text::new();
        // SAFETY: the instance is valid; all texts are C strings that outlive the call, which copies them; the array has as
        // many as is said, and `text` room for the size that is given.
        let code = unsafe {
            sys::rd_kafka_oauthbearer_set_token(
                self.raw(),
                token.as_ptr(),
                lifetime_ms,
                principal.as_ptr(),
                extensions.as_mut_ptr(),
                extensions.len(),
                text.as_mut_ptr(),
                TEXT,
            )
        };
        (code == 0).then_some(()).ok_or_else(|| text.read())
    }

    pub(super) fn token_failed(&self, reason: &CStr) {
        // SAFETY: the instance is valid, and the reason a C string that is copied.
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(self.raw(), reason.as_ptr()) };
    }

    pub(super) fn flush(&self, timeout: Duration) -> bool {
        // SAFETY: the instance is valid. With reports as events, flush calls nothing of ours.
        unsafe { sys::rd_kafka_flush(self.raw(), millis(timeout)) == 0 }
    }

    pub(super) fn purge(&self, in_flight: bool) {
        let mut flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_NON_BLOCKING;
        if in_flight {
            flags |= rd::RD_KAFKA_PURGE_F_INFLIGHT;
        }
        // SAFETY: the instance is valid.
        unsafe { sys::rd_kafka_purge(self.raw(), flags) };
    }
}

impl Drop for Handle {
    /// Waits until librdkafka's threads are gone: nothing reads a payload after this.
    fn drop(&mut self) {
        // SAFETY: both are valid and used for the last time. `Client` has released its topic handles before, and a
        // reference to `self` is what every other use needs, so no other thread is inside librdkafka.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_destroy(self.rk.as_ptr());
        }
    }
}

/// An event, and with it the memory of everything it refers to.
pub(super) struct RawEvent(NonNull<rd::rd_kafka_event_t>);

impl RawEvent {
    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for RawEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours and used for the last time.
        unsafe { rd::rd_kafka_event_destroy(self.as_ptr()) };
    }
}

/// librdkafka's configuration until a producer takes it.
struct Conf(NonNull<rd::rd_kafka_conf_t>);

impl Conf {
    fn new(properties: &[(String, String)]) -> Result<Self, NewError> {
        // SAFETY: allocates; takes nothing.
        let raw = unsafe { rd::rd_kafka_conf_new() };
        let Some(raw) = NonNull::new(raw) else {
            return Err(NewError {
                property: None,
                message: "librdkafka gave no configuration".into(),
            });
        };
        let mut conf = Self(raw);
        for (name, value) in properties {
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(NewError {
                    property: Some(name.clone()),
                    message: format!("{name} {reason}"),
                });
            }
            conf.set(name, value)?;
        }
        // A record without a report would never leave its slot, and its header list would be freed behind the slot.
        for name in [c"delivery.report.only.error"] {
            if conf.get(name) != "false" {
                let name = name.to_string_lossy().into_owned();
                let message = format!("{name} is not possible: every record needs its report");
                return Err(NewError {
                    property: Some(name),
                    message,
                });
            }
        }
        if conf.get(c"enable.ssl.certificate.verification") == "true" {
            // SAFETY: the configuration is ours and valid, and the callback a function. It is refused by a build without
            // TLS, which is no matter.
            unsafe { rd::rd_kafka_conf_set_ssl_cert_verify_cb(conf.0.as_ptr(), Some(verify)) };
        }
        // Last, so that no property can take them back.
        conf.set("log.queue", "true")?;
        let events = rd::RD_KAFKA_EVENT_DR
            | rd::RD_KAFKA_EVENT_ERROR
            | rd::RD_KAFKA_EVENT_LOG
            | rd::RD_KAFKA_EVENT_STATS
            | rd::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        // SAFETY: the configuration is ours and valid.
        unsafe { rd::rd_kafka_conf_set_events(conf.0.as_ptr(), events) };
        Ok(conf)
    }

    /// Has records partitioned by this, in place of what `partitioner` says.
    fn partition_with<T>(&mut self, chooser: &Chooser<T>) -> Result<(), NewError> {
        // Or else records without a key go past it.
        self.set("sticky.partitioning.linger.ms", "0")?;
        // A topic's property: so that there is a configuration for topics to write to.
        self.set("partitioner", "murmur2_random")?;
        // SAFETY: the configuration is ours and valid. What it gives is its own part, which all topics will copy.
        let topics = unsafe { rd::rd_kafka_conf_get_default_topic_conf(self.0.as_ptr()) };
        if topics.is_null() {
            return Err(NewError {
                property: None,
                message: "librdkafka gave no configuration for topics".into(),
            });
        }
        // SAFETY: `topics` is valid. The function expects the chooser that is given with it, which outlives librdkafka
        // (see `Handle::new`), and is only read.
        unsafe {
            rd::rd_kafka_topic_conf_set_partitioner_cb(topics, Some(choose::<T>));
            rd::rd_kafka_topic_conf_set_opaque(
                topics,
                ptr::from_ref(chooser).cast_mut().cast::<c_void>(),
            );
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), NewError> {
        let fail = |message| NewError {
            property: Some(name.to_owned()),
            message,
        };
        let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
            // Without the value, which may be a secret.
            return Err(fail("a property with a NUL byte".into()));
        };
        let mut text = Text::new();
        // SAFETY: the configuration is ours and valid, name and value are C strings that are copied, and `text` has
        // room for the size that is given.
        let result = unsafe {
            sys::rd_kafka_conf_set(
                self.0.as_ptr(),
                c_name.as_ptr(),
                c_value.as_ptr(),
                text.as_mut_ptr(),
                TEXT,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(fail(text.read()))
        }
    }

    fn get(&self, name: &CStr) -> String {
        let mut text = Text::new();
        let mut size = TEXT;
        // SAFETY: the configuration is ours and valid, the name is a C string, and `text` has room for `size`.
        unsafe {
            sys::rd_kafka_conf_get(self.0.as_ptr(), name.as_ptr(), text.as_mut_ptr(), &mut size)
        };
        text.read()
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: the configuration is ours and used for the last time; a producer that took it forgot this.
        unsafe { rd::rd_kafka_conf_destroy(self.0.as_ptr()) };
    }
}

/// A buffer for one of librdkafka's messages. Only its first byte is set at first: `fatal` makes one for each record.
struct Text([std::mem::MaybeUninit<u8>; TEXT]);

impl Text {
    fn new() -> Self {
        let mut bytes = [std::mem::MaybeUninit::uninit(); TEXT];
        bytes[0].write(0);
        Self(bytes)
    }

    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    fn read(&self) -> String {
        // SAFETY: begins with a NUL or with what librdkafka wrote, which it ends with a NUL inside the buffer.
        let text = unsafe { CStr::from_ptr(self.0.as_ptr().cast()) };
        text.to_string_lossy().into_owned()
    }
}

/// Milliseconds for librdkafka, rounded up so that a short wait is no busy loop, and never -1, which is for ever.
pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_and_bounded() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(20)), 20);
        assert_eq!(millis(Duration::MAX), c_int::MAX);
    }
}

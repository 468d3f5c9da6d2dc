//! What is wrong with a broker's certificate.
//!
//! librdkafka says that a certificate "could not be verified", and not why: expired, another host's and unknown
//! authority's look the same. It tells OpenSSL's number to a callback only, and logs what that answers.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys as rd;

/// Stands before the number in the log line. [`number`] reads it back.
const BEFORE: &str = "X509 error ";

/// The facility of librdkafka's line.
const FACILITY: &str = "SSLCERTVRFY";

/// librdkafka's verification callback: takes what OpenSSL takes, and nothing else.
///
/// It is asked for each certificate of the chain, after OpenSSL's own checks, on a thread of librdkafka's.
///
/// # Safety
/// As librdkafka calls it: `error` is valid, and `text` has room for `size` bytes, or is null.
pub(super) unsafe extern "C" fn verify(
    _client: *mut rd::rd_kafka_t,
    _broker: *const c_char,
    _id: i32,
    error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _length: usize,
    text: *mut c_char,
    size: usize,
    _opaque: *mut c_void,
) -> c_int {
    // SAFETY: as this function's own.
    let error = unsafe { *error };
    if error == 0 {
        return 1;
    }
    let said = format!("{BEFORE}{error}\0");
    if !text.is_null() && said.len() <= size {
        // SAFETY: there is room for it, and the two do not overlap.
        unsafe { text.copy_from_nonoverlapping(said.as_ptr().cast(), said.len()) };
    }
    0
}

/// The broker and OpenSSL's number, if this log line is what [`verify`] refused.
pub(crate) fn number<'m>(facility: &str, message: &'m str) -> Option<(&'m str, i32)> {
    if facility != FACILITY {
        return None;
    }
    // `[thrd:NAME]: NAME: Certificate (subject=…, issuer=…) verification callback failed: X509 error N`. The certificate's
    // own words stand in the middle.
    let message = match message.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ")?.1,
        None => message,
    };
    let (broker, rest) = message.split_once(": ")?;
    let (_, number) = rest.rsplit_once(BEFORE)?;
    Some((broker, number.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    fn asked(mut error: c_int, size: usize) -> (c_int, String) {
        let mut text = [b'.' as c_char; 64];
        // SAFETY: `error` and `text` are valid, and `size` is at most the room there.
        let answer = unsafe {
            let text = text.as_mut_ptr();
            verify(
                ptr::null_mut(),
                ptr::null(),
                1,
                &mut error,
                0,
                ptr::null(),
                0,
                text,
                size,
                ptr::null_mut(),
            )
        };
        let text = text.iter().map(|&c| char::from(c as u8)).collect();
        (answer, text)
    }

    #[test]
    fn takes_what_openssl_takes_and_nothing_else() {
        assert_eq!(asked(0, 64).0, 1);
        for error in [1, 10, 62, -1, i32::MAX] {
            let (answer, text) = asked(error, 64);
            assert_eq!(answer, 0);
            assert!(
                text.starts_with(&format!("X509 error {error}\0.")),
                "{text:?}"
            );
            let (answer, text) = asked(error, 5);
            assert_eq!((answer, text), (0, ".".repeat(64)));
        }
    }

    #[test]
    fn reads_the_line_back_whatever_the_certificate_says() {
        let line = "[thrd:ssl://h:1/bootstrap]: ssl://h:1/bootstrap: Certificate (subject=/CN=a: X509 error 7, issuer=/CN=]: b) verification callback failed: X509 error 10";
        assert_eq!(
            number("SSLCERTVRFY", line),
            Some(("ssl://h:1/bootstrap", 10))
        );
        let (_, bare) = line.split_once("]: ").unwrap();
        assert_eq!(
            number("SSLCERTVRFY", bare),
            Some(("ssl://h:1/bootstrap", 10))
        );
        assert_eq!(number("FAIL", line), None);
        assert_eq!(
            number(
                "SSLCERTVRFY",
                "ssl://h:1/1: Unable to convert certificate to X509 format"
            ),
            None
        );
    }
}

//! OpenSSL's state, which belongs to the process.
//!
//! Left to itself OpenSSL frees it when `main` has returned. librdkafka's threads may still be at work then: an engine whose
//! records all have their outcomes takes its connections down in the background, for nobody waits. They then work with what
//! was freed, and the process dies of a segmentation fault after all was well: so did `franking send`, once in 400 times.

/// Has OpenSSL keep its state until the process is gone, as the crate `openssl` does. Who is first in a process decides,
/// so this comes before librdkafka's first call.
pub(super) fn keep_until_exit() {
    #[cfg(any(feature = "tls", feature = "tls-vendored"))]
    openssl_sys::init();
}

#[cfg(all(test, any(feature = "tls", feature = "tls-vendored")))]
mod tests {
    use std::env;
    use std::ffi::c_int;
    use std::process::Command;

    use super::super::Client;

    /// Tells this test that it is the process that ends.
    const ENDS: &str = "FRANKING_TEST_ENDS";

    unsafe extern "C" {
        fn OPENSSL_atexit(handler: extern "C" fn()) -> c_int;
    }

    extern "C" fn freed() {
        eprintln!("OpenSSL's state was freed");
    }

    #[test]
    fn openssls_state_outlives_main() {
        if env::var_os(ENDS).is_some() {
            let conf = [("security.protocol".to_owned(), "ssl".to_owned())];
            let client = Client::<()>::new(&conf).unwrap();
            // SAFETY: the function may be called at any time, and the handler does nothing with OpenSSL.
            assert_eq!(unsafe { OPENSSL_atexit(freed) }, 1);
            drop(client);
            return;
        }
        let (_, path) = module_path!().split_once("::").unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args([&format!("{path}::openssls_state_outlives_main"), "--exact"])
            .env(ENDS, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{output:?}"
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("was freed"), "{said}");
    }
}

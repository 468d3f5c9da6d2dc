//! Canaries: a secret, a key or a value that stands in something that is logged, said, spanned or measured is found here.

#[path = "../support/mod.rs"]
mod support;

mod properties;
mod records;
#[cfg(any(feature = "tls", feature = "tls-vendored"))]
mod secured;

use std::error::Error;
use std::fmt::{Debug, Display};
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use support::Log;

/// The log of the process, librdkafka's included.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(Log::install)
}

/// What panics said, in every thread.
fn panics() -> &'static Mutex<Vec<String>> {
    static PANICS: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    PANICS.get_or_init(|| {
        let printing = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let mut panics = panics().lock().unwrap_or_else(PoisonError::into_inner);
            panics.push(panic.to_string());
            drop(panics);
            printing(panic);
        }));
        Mutex::default()
    })
}

/// Collects what is shown, and looks for secrets in it.
#[derive(Default)]
struct Shown(Vec<(String, String)>);

impl Shown {
    fn text(&mut self, what: &str, text: impl Display) {
        self.0.push((what.to_owned(), text.to_string()));
    }

    fn debug(&mut self, what: &str, value: &impl Debug) {
        self.text(what, format!("{value:?}"));
        self.text(what, format!("{value:#?}"));
    }

    /// Its texts and those of its causes.
    fn error(&mut self, what: &str, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.text(what, error);
            self.debug(what, &error);
            next = error.source();
        }
    }

    /// What was logged until now.
    fn log(&mut self) {
        for entry in log().entries() {
            self.text("the log", entry);
        }
    }

    /// Panics if one of these stands in it: as it is, in hexadecimal digits, or in one of base64's alphabets.
    fn must_not_hold<'s>(&self, secrets: impl IntoIterator<Item = &'s str>) {
        for secret in secrets {
            assert!(secret.len() >= 8, "long enough to be no accident: {secret}");
            for form in forms(secret) {
                for (what, text) in &self.0 {
                    assert!(!text.contains(&form), "{what} shows {secret}: {text}");
                }
            }
        }
    }
}

fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        secret.to_owned(),
        secret.escape_debug().to_string(),
        hex.clone(),
        hex.to_uppercase(),
    ];
    // Wherever it stands in what is encoded: its own whole groups of three.
    for before in 0..3 {
        let inner = &secret.as_bytes()[before..];
        let inner = &inner[..inner.len() / 3 * 3];
        forms.push(BASE64_STANDARD.encode(inner));
        forms.push(BASE64_URL_SAFE_NO_PAD.encode(inner));
    }
    forms
}

#[test]
fn a_secret_is_found_in_every_form() {
    for shown in [
        "password=tweety-canary!",
        "bytes: 7477656574792d63616e617279",
        &BASE64_STANDARD.encode("\0alice\0tweety-canary"),
        &BASE64_STANDARD.encode("\0bob\0tweety-canary"),
        &BASE64_URL_SAFE_NO_PAD.encode("x:tweety-canary"),
    ] {
        let mut all = Shown::default();
        all.text("a test", shown);
        let found = std::panic::catch_unwind(|| all.must_not_hold(["tweety-canary"]));
        assert!(found.is_err(), "{shown}");
    }
}

//! Baggage, as far as it is allowed out.

use franking_core::{HeaderName, Headers, History};
use opentelemetry::{Context, baggage::BaggageExt};

use crate::provenance::percent;

const NAME: &str = "baggage";
/// W3C's limits.
const MOST: usize = 64;
const LONGEST: usize = 8192;

/// The keys that may go out; none unless they are named.
#[derive(Default)]
pub(super) struct Baggage(Option<(HeaderName, Vec<String>)>);

impl Baggage {
    pub(super) fn allow(&mut self, keys: impl IntoIterator<Item = String>) {
        let name = || HeaderName::new(NAME).expect("W3C's name is printable");
        let (_, allowed) = self.0.get_or_insert_with(|| (name(), Vec::new()));
        allowed.extend(keys.into_iter().filter(|key| is_token(key)));
    }

    /// Writes what is allowed of the current baggage, and of a consumed record's. An application's own header stays as it
    /// is, but not one that was forwarded.
    pub(super) fn write(
        &self,
        headers: &mut Headers,
        current: &Context,
        history: Option<&History>,
    ) {
        let forwarded = history.is_some_and(History::is_forwarded);
        if forwarded {
            headers.remove(NAME);
        }
        let Some((name, allowed)) = &self.0 else {
            return;
        };
        if headers.get(NAME).is_some() {
            return;
        }
        let consumed = history.and_then(|history| history.headers().get_str(NAME));
        let consumed = consumed.filter(|text| text.len() <= LONGEST);
        let current = current.baggage();
        if current.is_empty() && consumed.is_none() {
            return;
        }
        let mut members = Members::default();
        for key in allowed {
            if let Some(value) = current.get(key) {
                let mut encoded = String::new();
                percent::encode(value.as_str(), &mut encoded);
                members.add(key, &encoded);
            } else if let Some(value) = consumed.and_then(|text| find(text, key)) {
                members.add(key, value);
            }
        }
        if members.count > 0 {
            headers.stamp(name, members.text.as_bytes());
        }
    }
}

#[derive(Default)]
struct Members {
    text: String,
    count: usize,
}

impl Members {
    /// Unless there is no room left for it.
    fn add(&mut self, key: &str, value: &str) {
        let comma = usize::from(self.count > 0);
        let length = self.text.len() + comma + key.len() + 1 + value.len();
        if self.count == MOST || length > LONGEST {
            return;
        }
        if comma > 0 {
            self.text.push(',');
        }
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(value);
        self.count += 1;
    }
}

/// The value of this key, encoded as it is, without its properties: nobody allowed those.
fn find<'h>(text: &'h str, key: &str) -> Option<&'h str> {
    let member = text.split(',').take(MOST).find_map(|member| {
        let (name, value) = member.split_once('=')?;
        (name.trim() == key).then_some(value)
    })?;
    let value = member.split(';').next().unwrap_or_default().trim();
    value.bytes().all(is_octet).then_some(value)
}

/// W3C's baggage-octets.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// A key is one of HTTP's tokens.
fn is_token(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !key.is_empty() && key.bytes().all(legal)
}

//! The CloudEvents profile: headers of its Kafka binding's binary mode.

use std::fmt::Write as _;

use franking_core::{HeaderName, Headers};

/// Stamps what CloudEvents requires. The value is the data as it is; its `content-type` is the application's.
pub(super) struct CloudEvents {
    version: HeaderName,
    id: HeaderName,
    source: HeaderName,
    event_type: HeaderName,
    our_source: String,
    our_type: String,
}

impl CloudEvents {
    pub(super) fn new(namespace: Option<&str>, service: &str, event_type: &str) -> Self {
        let name = |name| HeaderName::new(name).expect("a name of letters is a header's name");
        Self {
            version: name("ce_specversion"),
            id: name("ce_id"),
            source: name("ce_source"),
            event_type: name("ce_type"),
            our_source: source(namespace, service),
            our_type: event_type.to_owned(),
        }
    }

    /// With the source that the origin names, if it is not ours.
    pub(super) fn stamp(&self, headers: &mut Headers, id: &[u8], origin: Option<&str>) {
        let content = headers.get_str("content-type").unwrap_or_default();
        if content.starts_with("application/cloudevents") {
            // Structured mode: the value holds the attributes.
            return;
        }
        let has = |headers: &Headers, name: &HeaderName| headers.get(name.as_str()).is_some();
        if has(headers, &self.version) || has(headers, &self.id) {
            return;
        }
        headers.stamp(&self.version, b"1.0");
        headers.stamp(&self.id, id);
        if !has(headers, &self.event_type) {
            headers.stamp(&self.event_type, self.our_type.as_bytes());
        }
        match origin.and_then(source_of) {
            None => headers.stamp(&self.source, self.our_source.as_bytes()),
            Some(source) => headers.stamp(&self.source, source.as_bytes()),
        }
    }
}

fn source_of(origin: &str) -> Option<String> {
    let attributes = super::parse(origin);
    let get = |name| {
        let found = attributes.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    };
    Some(source(get("service.namespace"), get("service.name")?))
}

/// A URI reference: `//namespace/name`, or `/name`.
fn source(namespace: Option<&str>, service: &str) -> String {
    let mut source = String::new();
    if let Some(namespace) = namespace {
        source.push_str("//");
        encode(namespace, &mut source);
    }
    source.push('/');
    encode(service, &mut source);
    source
}

/// Percent-encodes what URIs do not have everywhere.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
    }
}

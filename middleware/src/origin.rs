//! The origin layer: who a record is, and who wrote it.
//!
//! # Example
//! ```
//! use franking_core::{InterceptorLayer, Record, testing::{Scripted, send}};
//! use franking_middleware::origin::{self, Origin};
//! use tower_layer::Layer;
//!
//! let engine = Scripted::new();
//! let origin = Origin::builder()
//!     .service_namespace("shop")
//!     .service_name("checkout")
//!     .environment("prod")
//!     .build()?;
//! let mut stack = InterceptorLayer::new(origin).layer(engine.clone());
//! send(&mut stack, Record::new("orders").value("{}"))?;
//!
//! let headers = &engine.stored()[0].parts.headers;
//! assert_eq!(headers.get_str("prov-id").unwrap().len(), 36);
//! let wrote = origin::parse(headers.get_str("prov-origin").unwrap());
//! assert_eq!(wrote[0], ("service.namespace".into(), "shop".into()));
//! assert_eq!(wrote[1], ("service.name".into(), "checkout".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it stamps
//! - `prov-id`: a UUIDv7 as lower-case text, 36 bytes: the record's identity, and when it was made. Ids of one thread
//!   grow, unless the clock is set back; those of several threads interleave.
//! - `prov-origin`: the syntax of `OTEL_RESOURCE_ATTRIBUTES` with OpenTelemetry's resource names, encoded once, when the
//!   [`Origin`] is built; at most 1,024 bytes. [`parse`] reads it. Names of hosts and pods can be confidential, so
//!   nothing beyond the five attributes with a setter goes in unless it is asked for.
//! - The record's timestamp, if it has none: the same millisecond that is in `prov-id`. An engine would take the time a
//!   moment later; so the clock is read once, and a record that is sent again keeps its time.
//!
//! # Special cases
//! - A header `prov-…` that is on the record already is removed and counted ([`Origin::reserved_removed`]): those names
//!   are the stack's. So this layer stands outside of every other that stamps one, and a failed record that the
//!   *application* sends again is a new record with a new id. What a retry layer further in sends again keeps its id.
//! - Two processes, threads or restarts never share an id: each thread draws 73 random bits from a seeded generator
//!   for each millisecond, and counts within it.
//! - It leaves no hook, refuses nothing, and needs no runtime.
//!
//! # Cost
//! No allocation: the headers lie in the record's own memory. 45 ns over an engine that does nothing, 20 of them for the
//! clock, which is read once a record for all layers (`Uuid::now_v7` alone takes 90).
//!
//! # What it does not do
//! It does not forward: a consumed record that is sent on is a new one here. It does not sign: whoever can write to
//! the topic can write these headers.

use std::{
    cell::RefCell,
    error::Error,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use franking_core::{Failure, HeaderName, Interceptor, Parts};
use uuid::{Builder, Uuid};

const RESERVED: &str = "prov-";
/// Every record carries it, so it must not be what fills the batches.
const LONGEST: usize = 1024;

const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const VERSION: &str = "service.version";
const INSTANCE: &str = "service.instance.id";
const ENVIRONMENT: &str = "deployment.environment.name";
/// The name before semantic conventions 1.27, which much of the field still sets.
const OLD_ENVIRONMENT: &str = "deployment.environment";
/// In the order of `prov-origin`.
const KNOWN: [&str; 5] = [NAMESPACE, NAME, VERSION, INSTANCE, ENVIRONMENT];

/// Stamps `prov-id` and `prov-origin`. See the [module's documentation](self).
pub struct Origin {
    id: HeaderName,
    origin: HeaderName,
    value: String,
    instance_id: String,
    removed: AtomicU64,
}

impl Origin {
    /// The origin of a service about which only its name is known; the instance gets a random id.
    ///
    /// # Errors
    /// [`OriginError`] for an empty name, or one too long for a header on every record.
    pub fn new(service_name: impl Into<String>) -> Result<Self, OriginError> {
        Self::builder().service_name(service_name).build()
    }

    /// What OpenTelemetry's environment says: `OTEL_SERVICE_NAME`, and from `OTEL_RESOURCE_ATTRIBUTES` the five
    /// attributes that have a setter on the [builder](OriginBuilder).
    ///
    /// # Errors
    /// [`OriginError`] if neither names the service, or the attributes cannot be read.
    pub fn from_env() -> Result<Self, OriginError> {
        OriginBuilder::from_env()?.build()
    }

    /// Sets each attribute by itself.
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// The value of `prov-origin`, as every record carries it.
    pub fn header(&self) -> &str {
        &self.value
    }

    /// The id of this instance.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// How many headers with a reserved name were on records that came in.
    pub fn reserved_removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    fn remove_reserved(&self, record: &mut Parts) {
        if record.headers.is_empty() {
            return;
        }
        let removed = record.headers.remove_prefixed(RESERVED);
        if removed > 0 {
            self.removed.fetch_add(removed as u64, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("header", &self.value)
            .field("reserved_removed", &self.reserved_removed())
            .finish_non_exhaustive()
    }
}

impl Interceptor for Origin {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        self.remove_reserved(record);
        let now = record.wall();
        record.time();
        IDS.with_borrow_mut(|ids| record.headers.stamp(&self.id, ids.next(now as u64)));
        record.headers.stamp(&self.origin, self.value.as_bytes());
        Ok(())
    }
}

/// What an [`Origin`] says; only the service's name is needed.
///
/// An attribute that is set twice has the later value; one that is set to the empty text is left out.
#[derive(Clone, Debug, Default)]
pub struct OriginBuilder {
    attributes: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl OriginBuilder {
    /// Begins with what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
    ///
    /// # Errors
    /// [`OriginError::Malformed`] if the attributes cannot be read: a part of them would be a wrong origin.
    pub fn from_env() -> Result<Self, OriginError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, OriginError> {
        let attributes = var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut builder = Self {
            environment: read(&attributes).ok_or(OriginError::Malformed)?,
            ..Self::default()
        };
        builder = builder.include(OLD_ENVIRONMENT);
        if let Some((name, _)) = builder.attributes.first_mut() {
            *name = ENVIRONMENT.to_owned();
        }
        for name in KNOWN {
            builder = builder.include(name);
        }
        match var("OTEL_SERVICE_NAME") {
            // As OpenTelemetry: it goes before the attribute, and empty is as good as not set.
            Some(name) if !name.is_empty() => Ok(builder.service_name(name)),
            _ => Ok(builder),
        }
    }

    /// `service.name`: the one that is needed.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.attribute(NAME, name)
    }

    /// `service.namespace`: what the service belongs to.
    pub fn service_namespace(self, namespace: impl Into<String>) -> Self {
        self.attribute(NAMESPACE, namespace)
    }

    /// `service.version`.
    pub fn service_version(self, version: impl Into<String>) -> Self {
        self.attribute(VERSION, version)
    }

    /// `service.instance.id`; a random UUID if it is not set.
    pub fn instance_id(self, id: impl Into<String>) -> Self {
        self.attribute(INSTANCE, id)
    }

    /// `deployment.environment.name`, as `prod`.
    pub fn environment(self, name: impl Into<String>) -> Self {
        self.attribute(ENVIRONMENT, name)
    }

    /// Any other attribute; it stands behind those with a setter of their own.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.attributes.retain(|(other, _)| *other != name);
        self.attributes.push((name, value));
        self
    }

    /// Takes an attribute over from `OTEL_RESOURCE_ATTRIBUTES` that is not taken by itself, as `host.name`. Nothing
    /// happens if it is not there, or the builder was not made [from the environment](Self::from_env).
    pub fn include(self, name: &str) -> Self {
        let found = self.environment.iter().rfind(|(other, _)| other == name);
        match found.cloned() {
            Some((name, value)) => self.attribute(name, value),
            None => self,
        }
    }

    /// Encodes it all.
    ///
    /// # Errors
    /// [`OriginError`] if the service has no name, an attribute has none, or all of them are longer than 1,024 bytes.
    pub fn build(mut self) -> Result<Origin, OriginError> {
        self.attributes.retain(|(_, value)| !value.is_empty());
        if !self.attributes.iter().any(|(name, _)| name == NAME) {
            return Err(OriginError::MissingServiceName);
        }
        if self.attributes.iter().any(|(name, _)| name.is_empty()) {
            return Err(OriginError::MissingAttributeName);
        }
        let given = self.attributes.iter().find(|(name, _)| name == INSTANCE);
        let instance_id = match given {
            Some((_, id)) => id.clone(),
            None => {
                let id = Uuid::new_v4().to_string();
                self.attributes.push((INSTANCE.to_owned(), id.clone()));
                id
            }
        };
        // A stable sort: those that are not known keep their order.
        self.attributes.sort_by_key(|(name, _)| {
            let known = KNOWN.iter().position(|known| known == name);
            known.unwrap_or(KNOWN.len())
        });
        let value = write(&self.attributes);
        if value.len() > LONGEST {
            return Err(OriginError::TooLong { bytes: value.len() });
        }
        Ok(Origin {
            id: reserved("prov-id"),
            origin: reserved("prov-origin"),
            value,
            instance_id,
            removed: AtomicU64::new(0),
        })
    }
}

fn reserved(name: &str) -> HeaderName {
    HeaderName::new(name).expect("a name of letters is a header's name")
}

/// Why there is no [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginError {
    /// Nothing names the service.
    MissingServiceName,
    /// An attribute has no name.
    MissingAttributeName,
    /// `OTEL_RESOURCE_ATTRIBUTES` is not a list of `key=value`, or not percent-encoded UTF-8.
    Malformed,
    /// Longer than 1,024 bytes, and every record would carry it.
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginError::MissingServiceName => f.write_str(
                "nothing names the service that writes; set OTEL_SERVICE_NAME, or service.name in OTEL_RESOURCE_ATTRIBUTES or in the code",
            ),
            OriginError::MissingAttributeName => {
                f.write_str("an attribute of the origin has an empty name; give it one")
            }
            OriginError::Malformed => f.write_str(
                "OTEL_RESOURCE_ATTRIBUTES cannot be read; write it as key=value,key=value with percent-encoded UTF-8",
            ),
            OriginError::TooLong { bytes } => write!(
                f,
                "the origin takes {bytes} bytes, and at most {LONGEST} may go on every record; shorten its attributes"
            ),
        }
    }
}

impl Error for OriginError {}

// === prov-origin ===

/// Reads a `prov-origin` header: its attributes in order, decoded.
///
/// It takes what it can get, for a reader cannot mend what somebody else wrote: a member without `=` is left out, an
/// escape that is none stays as it is, bytes that are not UTF-8 become U+FFFD.
///
/// ```
/// use franking_middleware::origin::parse;
///
/// let read = parse("service.name=check%20out,nonsense,host.name=a%3Db");
/// assert_eq!(read, [
///     ("service.name".to_owned(), "check out".to_owned()),
///     ("host.name".to_owned(), "a=b".to_owned()),
/// ]);
/// ```
pub fn parse(origin: &str) -> Vec<(String, String)> {
    let text = |part: &str| String::from_utf8_lossy(&decode(part).0).into_owned();
    members(origin)
        .filter_map(|member| member.split_once('='))
        .filter(|(name, _)| !name.trim().is_empty())
        .map(|(name, value)| (text(name.trim()), text(value.trim())))
        .collect()
}

/// As [`parse`], for what must be right.
fn read(attributes: &str) -> Option<Vec<(String, String)>> {
    let text = |part: &str| match decode(part.trim()) {
        (bytes, true) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    members(attributes)
        .map(|member| {
            let (name, value) = member.split_once('=')?;
            let name = text(name).filter(|name| !name.is_empty())?;
            Some((name, text(value)?))
        })
        .collect()
}

fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|member| !member.trim().is_empty())
}

fn write(attributes: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in attributes {
        if !out.is_empty() {
            out.push(',');
        }
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Percent-encodes what is no baggage-octet, and what has a meaning here: `,`, `;`, `=`, `%`.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'"' | b',' | b';' | b'\\' | b'=' | b'%' => escape(byte, out),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => escape(byte, out),
        }
    }
}

fn escape(byte: u8, out: &mut String) {
    out.push('%');
    out.push(char::from(UPPER[usize::from(byte >> 4)]));
    out.push(char::from(UPPER[usize::from(byte & 15)]));
}

/// The bytes behind the escapes, and whether every `%` was one.
fn decode(text: &str) -> (Vec<u8>, bool) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut whole = true;
    let mut at = 0;
    while at < bytes.len() {
        let digit = |index: usize| char::from(*bytes.get(index)?).to_digit(16);
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                whole &= byte != b'%';
                out.push(byte);
                at += 1;
            }
        }
    }
    (out, whole)
}

// === prov-id ===

thread_local! {
    static IDS: RefCell<Ids> = const { RefCell::new(Ids::new()) };
}

/// UUIDv7 as text, cheaply: a new millisecond is drawn and written whole; within it only the last group counts up.
struct Ids {
    millis: u64,
    /// The last group, 48 bits. Drawn with its first bit unset, so that it never overflows within a millisecond.
    tail: u64,
    text: [u8; 36],
}

impl Ids {
    const fn new() -> Self {
        Self {
            millis: u64::MAX,
            tail: 0,
            text: [0; 36],
        }
    }

    fn next(&mut self, millis: u64) -> &[u8; 36] {
        if millis == self.millis {
            self.tail += 1;
            write_tail(self.tail, &mut self.text);
        } else {
            self.draw(millis);
        }
        &self.text
    }

    /// Also when the clock went back: then the ids do not grow, but they stay unique.
    #[cold]
    fn draw(&mut self, millis: u64) {
        self.millis = millis;
        // A UUIDv4 for its random bits: the ten bytes behind the time, whose six fixed bits are overwritten.
        let mut random = [0; 10];
        random.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
        random[4] &= 0x7f;
        let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        id.hyphenated().encode_lower(&mut self.text);
        self.tail = id.as_u64_pair().1 & 0xffff_ffff_ffff;
    }
}

fn write_tail(tail: u64, text: &mut [u8; 36]) {
    let mut left = tail;
    for digit in text[24..].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vars<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn from(env: &[(&str, &str)]) -> Result<Origin, OriginError> {
        OriginBuilder::from_vars(vars(env))?
            .instance_id("i")
            .build()
    }

    #[test]
    fn the_environment_names_the_service() {
        let origin = from(&[
            ("OTEL_SERVICE_NAME", "checkout"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=other, service.namespace=shop%20eu,host.name=secret,deployment.environment.name=prod,",
            ),
        ])
        .unwrap();
        assert_eq!(
            origin.header(),
            "service.namespace=shop%20eu,service.name=checkout,service.instance.id=i,deployment.environment.name=prod"
        );
    }

    #[test]
    fn an_old_environment_name_is_understood() {
        let old = "service.name=a,deployment.environment=test";
        let origin = from(&[("OTEL_RESOURCE_ATTRIBUTES", old)]).unwrap();
        assert!(
            origin
                .header()
                .ends_with(",deployment.environment.name=test")
        );
        let both = "deployment.environment.name=new,service.name=a,deployment.environment=old";
        let origin = from(&[("OTEL_RESOURCE_ATTRIBUTES", both)]).unwrap();
        assert!(origin.header().ends_with("=new"), "{origin:?}");
    }

    #[test]
    fn a_host_goes_out_only_on_request() {
        let env = [(
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a,host.name=h,k8s.pod.name=p",
        )];
        let builder = OriginBuilder::from_vars(vars(&env)).unwrap();
        let origin = builder
            .include("host.name")
            .include("absent")
            .instance_id("i")
            .build()
            .unwrap();
        assert_eq!(
            origin.header(),
            "service.name=a,service.instance.id=i,host.name=h"
        );
    }

    #[test]
    fn what_cannot_be_an_origin_says_why() {
        let none = from(&[]).unwrap_err();
        assert_eq!(none, OriginError::MissingServiceName);
        assert!(none.to_string().contains("OTEL_SERVICE_NAME"));
        let empty = [("OTEL_SERVICE_NAME", "")];
        assert_eq!(from(&empty).unwrap_err(), OriginError::MissingServiceName);
        for malformed in ["service.name", "=a", "service.name=%zz", "service.name=%ff"] {
            let env = [("OTEL_RESOURCE_ATTRIBUTES", malformed)];
            assert_eq!(from(&env).unwrap_err(), OriginError::Malformed);
        }
        assert_eq!(
            Origin::new("é".repeat(200)).unwrap_err(),
            OriginError::TooLong {
                // service.name= and six bytes for each letter, and the instance's id.
                bytes: 13 + 1200 + 1 + 20 + 36
            }
        );
        let nameless = Origin::builder().service_name("a").attribute("", "b");
        assert_eq!(
            nameless.build().unwrap_err(),
            OriginError::MissingAttributeName
        );
    }

    #[test]
    fn ids_are_version_7_and_grow_within_a_millisecond() {
        let mut ids = Ids::new();
        let mut last = Uuid::nil();
        for millis in [5, 5, 5, 6, 6, 1_700_000_000_000, 1_700_000_000_000] {
            let text = std::str::from_utf8(ids.next(millis)).unwrap();
            let id = Uuid::try_parse(text).unwrap();
            assert_eq!(text, id.to_string());
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            assert_eq!(seconds * 1000 + u64::from(nanos / 1_000_000), millis);
            assert!(last < id, "{last} {id}");
            last = id;
        }
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_id_twice() {
        let mut ids = Ids::new();
        let mut seen = std::collections::HashSet::new();
        for millis in [7, 7, 6, 7, 6, 7, 7] {
            assert!(seen.insert(*ids.next(millis)));
        }
    }

    #[test]
    fn the_last_group_carries_over() {
        let mut text = [b'x'; 36];
        write_tail(0x7fff_ffff_ffff + 1, &mut text);
        assert_eq!(&text[23..], b"x800000000000");
    }

    proptest! {
        /// What is written is read back, whatever it holds, and only with the octets that are allowed.
        #[test]
        fn attributes_come_back(attributes in proptest::collection::vec((".+", ".*"), 0..6)) {
            let value = write(&attributes);
            prop_assert!(value.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~' | b',')), "{value}");
            prop_assert_eq!(&parse(&value), &attributes);
            prop_assert_eq!(read(&value), Some(attributes));
        }

        #[test]
        fn any_text_can_be_parsed(text in ".*", escapes in "([%,=a-f0-9é ]{0,3})*") {
            let (_, _) = (parse(&text), read(&text));
            let (_, _) = (parse(&escapes), read(&escapes));
        }
    }
}

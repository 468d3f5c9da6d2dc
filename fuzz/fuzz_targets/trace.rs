//! What the trace layer reads of a record's headers, and what it writes: on new, forwarded and derived records, with W3C's
//! headers, with B3 and with OpenTelemetry's own propagator.
//!
//! The first byte says what the record is, the second what writes; the rest are headers, see `input.rs`.
#![no_main]

#[expect(dead_code, reason = "it is an example, with a main of its own")]
#[path = "../../middleware/examples/b3.rs"]
mod b3;
mod input;

use std::sync::LazyLock;

use franking::{
    ConsumerRecord, Headers, Interceptor, Record,
    middleware::{
        provenance::Provenance,
        trace::{HeaderExtractor, Trace},
    },
};
use libfuzzer_sys::fuzz_target;
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt, TracerProvider},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

const NAMES: [&str; 5] = ["traceparent", "tracestate", "baggage", "b3", "TraceParent"];
const ALLOWED: [&str; 2] = ["user", "tenant"];

type Given<'d> = Vec<(&'d str, Option<&'d [u8]>)>;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    New,
    Forwarded,
    Derived,
}

/// One for each way to write.
static TRACES: LazyLock<[Trace<SdkTracer>; 3]> = LazyLock::new(|| {
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .build();
    let trace = || Trace::new(provider.tracer("fuzz")).baggage(ALLOWED);
    [
        trace(),
        trace().propagator(b3::B3),
        trace().propagator(TraceContextPropagator::new()),
    ]
});

fuzz_target!(|data: &[u8]| {
    let Some(([kind, carrier], rest)) = data.split_first_chunk() else {
        return;
    };
    let kind = [Kind::New, Kind::Forwarded, Kind::Derived][usize::from(kind % 3)];
    let given = input::headers(rest, &NAMES);
    extracts_the_last(&given);

    let mut record = Record::new("out");
    match kind {
        Kind::New => {
            for (name, value) in &given {
                record
                    .headers
                    .append(name, *value)
                    .expect("known names are fine");
            }
        }
        Kind::Forwarded => record = record.forward(ConsumerRecord::new("in", 0, 1, given.clone())),
        Kind::Derived => record = record.derive(ConsumerRecord::new("in", 0, 1, given.clone())),
    }
    let trace = &TRACES[usize::from(carrier % 3)];
    trace.on_send(&mut record).expect("tracing refuses nothing");
    let written = &record.headers;
    match carrier % 3 {
        0 => w3c(kind, &given, written),
        1 => other(&b3::B3, "b3", kind, &given, written),
        _ => other(
            &TraceContextPropagator::new(),
            "traceparent",
            kind,
            &given,
            written,
        ),
    }
    baggage(kind, &given, written);
    // What is nobody's goes through, but not into a record of other content. What a consumer that ignores case may take for
    // the context stays only beside an application's own that is not W3C's to us.
    let context = other_context(&given);
    let own = kind == Kind::New && (carrier % 3 == 1 || carrier % 3 == 2 && context.is_valid());
    let goes_on = |(name, _): &(&str, _)| *name == "x-other" || own && *name == "TraceParent";
    let others = |(name, _): &(&str, _)| ["x-other", "TraceParent"].contains(name);
    if kind != Kind::Derived {
        let given = given.iter().copied().filter(goes_on);
        assert!(written.iter().filter(others).eq(given));
    }
});

// === W3C ===

fn w3c(kind: Kind, given: &Given, written: &Headers) {
    let parent = last(given, "traceparent").and_then(parent);
    let read = Provenance::read(given.iter().copied());
    let ids = |(trace, span, flags): Parent| (trace, span, flags);
    assert_eq!(
        read.trace.map(|it| (it.trace_id, it.span_id, it.flags)),
        parent.map(ids)
    );

    let out = all(written, "traceparent");
    let state = all(written, "tracestate");
    assert_eq!(out.len(), 1, "exactly one");
    assert!(state.len() <= 1);
    if kind == Kind::New && parent.is_some() {
        // The application's own stays as it is.
        assert_eq!(Some(out[0]), last(given, "traceparent"));
        let own: Option<_> = given.iter().rfind(|(name, _)| *name == "tracestate");
        assert_eq!(written.get("tracestate"), own.map(|(_, value)| *value));
        return;
    }
    let (trace_id, span_id, _) = self::parent(out[0]).expect("what is written is valid");
    assert_eq!(&out[0][..3], b"00-");
    let Some(consumed) = parent.filter(|_| kind != Kind::New) else {
        assert!(state.is_empty(), "the state of nothing");
        return;
    };
    assert_eq!(trace_id, consumed.0, "it goes on");
    assert_ne!(span_id, consumed.1, "in a span of its own");
    if let Some(state) = state.first() {
        let out = members(state).expect("what is written is valid");
        assert_eq!(Some(out), last(given, "tracestate").and_then(members));
    }
}

type Parent = (u128, u64, u8);

/// `traceparent` field by field.
fn parent(text: &[u8]) -> Option<Parent> {
    if text.len() > 8192 || str::from_utf8(text).is_err() {
        return None;
    }
    let fields: Vec<_> = text.splitn(5, |byte| *byte == b'-').collect();
    let number = |at: usize, digits: usize| -> Option<u128> {
        let field = fields.get(at)?;
        let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let whole = field.len() == digits && field.iter().all(hex);
        u128::from_str_radix(str::from_utf8(field).ok()?, 16)
            .ok()
            .filter(|_| whole)
    };
    let version = number(0, 2)?;
    let read = (number(1, 32)?, number(2, 16)? as u64, number(3, 2)? as u8);
    let known = version != 0xff && (version != 0 || fields.len() == 4);
    (known && read.0 != 0 && read.1 != 0).then_some(read)
}

/// The members of a `tracestate` that W3C allows.
fn members(text: &[u8]) -> Option<Vec<(&str, &str)>> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in str::from_utf8(text)
        .ok()?
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
    {
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let legal = |byte: u8| first(byte) || b"_-*/@".contains(&byte);
        let known = members.iter().any(|(known, _)| *known == key);
        let is_key = key.len() <= 256 && first(*key.as_bytes().first()?) && key.bytes().all(legal);
        let is_value = (1..=256).contains(&value.len())
            && value
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
        if known || !is_key || !is_value || members.len() == 32 {
            return None;
        }
        members.push((key, value));
    }
    Some(members)
}

// === other propagators ===

/// As OpenTelemetry's own propagator reads it.
fn other_context(given: &Given) -> SpanContext {
    let headers = HeaderExtractor::new(given.iter().copied());
    let context = TraceContextPropagator::new().extract(&headers);
    context.span().span_context().clone()
}

fn other(
    propagator: &dyn TextMapPropagator,
    name: &str,
    kind: Kind,
    given: &Given,
    written: &Headers,
) {
    let context =
        |headers: HeaderExtractor| propagator.extract(&headers).span().span_context().clone();
    let consumed = context(HeaderExtractor::new(given.iter().copied()));
    let out = context(HeaderExtractor::new(written));
    assert!(out.is_valid());
    if kind == Kind::New && consumed.is_valid() {
        assert_eq!(out, consumed, "the application's own stays");
        return;
    }
    // Some propagators read names in any case, and so `TraceParent`, which nobody here writes.
    assert_eq!(all(written, name).len(), 1, "exactly one");
    if kind != Kind::New
        && consumed.is_valid()
        && !given.iter().any(|(name, _)| *name == "TraceParent")
    {
        assert_eq!(out.trace_id(), consumed.trace_id(), "it goes on");
        assert_ne!(out.span_id(), consumed.span_id(), "in a span of its own");
    }
    if kind == Kind::Forwarded && name == "b3" {
        assert!(
            all(written, "traceparent").is_empty(),
            "a context that stayed behind"
        );
    }
}

fn extracts_the_last(given: &Given) {
    let headers = HeaderExtractor::new(given.iter().copied());
    for name in NAMES {
        let text = |(known, value): &(&str, Option<&'_ [u8]>)| {
            let text = value.and_then(|value| str::from_utf8(value).ok().map(str::to_owned));
            text.filter(|_| known.eq_ignore_ascii_case(name))
        };
        assert_eq!(
            headers.get(name).map(str::to_owned),
            given.iter().rev().find_map(text)
        );
    }
}

// === baggage ===

fn baggage(kind: Kind, given: &Given, written: &Headers) {
    let out: Vec<_> = written
        .iter()
        .filter(|(name, _)| *name == "baggage")
        .collect();
    if kind == Kind::New {
        let own = given.iter().copied().filter(|(name, _)| *name == "baggage");
        assert!(own.eq(out), "the application's own stays");
        return;
    }
    assert!(out.len() <= 1);
    let Some((_, value)) = out.first() else {
        return;
    };
    let text = str::from_utf8(value.expect("not null")).expect("text");
    assert!(text.len() <= 8192);
    let consumed = last(given, "baggage")
        .and_then(|value| str::from_utf8(value).ok())
        .unwrap_or_default();
    let mut left = ALLOWED.to_vec();
    for member in text.split(',') {
        let (key, value) = member.split_once('=').expect("a member");
        assert!(
            left.contains(&key),
            "{key:?} is not allowed, or there twice"
        );
        left.retain(|known| *known != key);
        assert!(
            value
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)),
            "{value:?}"
        );
        // It was there, whatever properties it had.
        let was = |member: &str| {
            let (name, rest) = member.split_once('=')?;
            Some(name.trim() == key && rest.split(';').next()?.trim() == value)
        };
        assert!(
            consumed.split(',').any(|member| was(member) == Some(true)),
            "{member:?}"
        );
    }
}

// === headers ===

/// The values of this name that are not null.
fn all<'h>(headers: &'h Headers, name: &str) -> Vec<&'h [u8]> {
    headers
        .iter()
        .filter(|(known, _)| *known == name)
        .filter_map(|(_, value)| value)
        .collect()
}

fn last<'d>(headers: &Given<'d>, name: &str) -> Option<&'d [u8]> {
    headers.iter().rfind(|(known, _)| *known == name)?.1
}

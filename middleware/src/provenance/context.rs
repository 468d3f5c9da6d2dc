//! `traceparent` and `tracestate`: the trace that it was sent in.

use super::{Header, Notes, Problem, origin::trim};

/// W3C's limit for the members of a state.
const MOST_MEMBERS: usize = 32;
/// And for a key and a value.
const LONGEST: usize = 256;

/// A W3C trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext<'h> {
    /// The trace's id, not 0.
    pub trace_id: u128,
    /// The id of the span that the record was sent in, not 0.
    pub span_id: u64,
    /// All eight flags, also those that mean nothing yet.
    pub flags: u8,
    /// The `tracestate`, of which every member is valid. Read it with [`members`](Self::members).
    state: &'h str,
}

impl<'h> TraceContext<'h> {
    /// Whether the sender may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Keys and values of the state.
    pub fn members(&self) -> impl Iterator<Item = (&'h str, &'h str)> + use<'h> {
        members(self.state).filter_map(|member| member.split_once('='))
    }

    pub(super) fn read(
        parent: Option<&str>,
        state: Option<&'h str>,
        notes: &mut Notes,
    ) -> Option<Self> {
        let context = parent.and_then(|parent| {
            Self::parse(parent.as_bytes())
                .map_err(|problem| notes.add(Some(Header::TraceParent), problem, 1))
                .ok()
        });
        match (context, state) {
            (Some(context), Some(state)) if is_state(state, notes) => {
                Some(Self { state, ..context })
            }
            (None, Some(_)) => {
                notes.add(Some(Header::TraceState), Problem::Orphan, 1);
                None
            }
            (context, _) => context,
        }
    }

    /// Of a version to come, what is known is read, as W3C asks.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Problem> {
        if text.starts_with(b"ff") {
            return Err(Problem::Version);
        }
        let (known, more) = text.split_at_checked(55).ok_or(Problem::Syntax)?;
        let goes_on = match more {
            [] => true,
            [b'-', ..] => !text.starts_with(b"00"),
            _ => false,
        };
        if !goes_on || [known[2], known[35], known[52]] != [b'-'; 3] {
            return Err(Problem::Syntax);
        }
        let number = |at: std::ops::Range<usize>| hex(&known[at]).ok_or(Problem::Syntax);
        number(0..2)?;
        let context = Self {
            trace_id: number(3..35)?,
            span_id: number(36..52)? as u64,
            flags: number(53..55)? as u8,
            state: "",
        };
        if context.trace_id == 0 || context.span_id == 0 {
            return Err(Problem::ZeroId);
        }
        Ok(context)
    }
}

/// Lower-case digits only, at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' | b'a'..=b'f' => {
            Some(number << 4 | u128::from(char::from(*digit).to_digit(16)?))
        }
        _ => None,
    })
}

fn members(state: &str) -> impl Iterator<Item = &str> {
    state
        .split(',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// Whether it can be taken as it is; a key may be there twice.
fn is_state(state: &str, notes: &mut Notes) -> bool {
    let mut note = |problem, count| notes.add(Some(Header::TraceState), problem, count);
    let count = members(state).count();
    if count > MOST_MEMBERS {
        note(Problem::TooMany, count);
        return false;
    }
    let bad = members(state).filter(|member| !is_member(member)).count();
    if bad > 0 {
        note(Problem::Syntax, bad);
        return false;
    }
    let mut keys: Vec<_> = members(state)
        .filter_map(|member| member.split_once('='))
        .map(|(key, _)| key)
        .collect();
    keys.sort_unstable();
    let again = keys.windows(2).filter(|pair| pair[0] == pair[1]).count();
    note(Problem::Duplicate, again);
    true
}

/// The members of a state, if it is one that W3C allows in everything. OpenTelemetry's parser lets some of it pass that W3C
/// does not, and counts empty members as if they were some.
#[cfg(feature = "trace")]
pub(crate) fn sound(state: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
    let mut notes = Notes::default();
    let sound = is_state(state, &mut notes) && notes.is_empty();
    sound.then(|| members(state).filter_map(|member| member.split_once('=')))
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let begins = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let goes_on = |byte: u8| begins(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    let is_value = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    let sizes = (1..=LONGEST).contains(&key.len()) && (1..=LONGEST).contains(&value.len());
    // A space at the value's end is not there any more: members are trimmed.
    sizes && begins(key.as_bytes()[0]) && key.bytes().all(goes_on) && value.bytes().all(is_value)
}

#[cfg(feature = "trace")]
mod opentelemetry {
    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
    };

    use super::TraceContext;

    impl TraceContext<'_> {
        /// The sender's span, as OpenTelemetry has it: remote. Of the flags only *sampled* goes on, as W3C asks.
        ///
        /// OpenTelemetry is stricter with a few keys than W3C; a state with one is left out.
        pub fn span_context(&self) -> SpanContext {
            SpanContext::new(
                TraceId::from(self.trace_id),
                SpanId::from(self.span_id),
                TraceFlags::new(self.flags) & TraceFlags::SAMPLED,
                true,
                TraceState::from_key_value(self.members()).unwrap_or_default(),
            )
        }

        /// The current context with the sender's span as its parent: start the consumer's span with it.
        pub fn context(&self) -> Context {
            Context::current().with_remote_span_context(self.span_context())
        }
    }
}

//! W3C's `traceparent`.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};

use crate::provenance::{LONGEST, TraceContext};

/// How long what [`encode`] writes is.
pub(super) const LEN: usize = 55;

/// What it writes.
pub(super) type TraceParent = [u8; LEN];

/// `00-{trace id}-{span id}-{flags}`, in the place of as many bytes.
#[inline]
pub(super) fn encode(context: &SpanContext, text: &mut [u8]) {
    text.copy_from_slice(b"00-00000000000000000000000000000000-0000000000000000-00");
    digits(&mut text[3..35], context.trace_id().to_bytes());
    digits(&mut text[36..52], context.span_id().to_bytes());
    // The other flags are not of this version, so they must be 0.
    text[54] += u8::from(context.is_sampled());
}

fn digits<const N: usize>(text: &mut [u8], bytes: [u8; N]) {
    const PAIRS: [[u8; 2]; 256] = {
        let digits = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
            byte += 1;
        }
        pairs
    };
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// What a valid `traceparent` says: one that the reader of provenance takes too. Of a later version it may hold more than
/// is known, but no less than text.
pub(super) fn decode(value: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = std::str::from_utf8(value).ok()?;
    if text.len() > LONGEST {
        return None;
    }
    let read = TraceContext::parse(text.as_bytes()).ok()?;
    Some((
        read.trace_id.into(),
        read.span_id.into(),
        TraceFlags::new(read.flags),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TraceState;
    use proptest::prelude::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_what_w3c_calls_valid() {
        let valid = [
            VALID.to_owned(),
            VALID.replacen("00", "cc", 1),
            VALID.replacen("00", "01", 1) + "-what-comes-later",
        ];
        for text in valid {
            let (trace_id, span_id, flags) = decode(text.as_bytes()).expect(&text);
            assert_eq!(trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(span_id.to_string(), "b7ad6b7169203331");
            assert!(flags.is_sampled());
        }
        let invalid = [
            String::new(),
            VALID[..54].to_owned(),
            VALID.to_uppercase(),
            VALID.replace('-', "_"),
            VALID.replacen("00", "ff", 1),
            VALID.to_owned() + "-more",
            VALID.replacen("00", "01", 1) + "more",
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace("b7ad", "g7ad"),
        ];
        for text in invalid {
            assert!(decode(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_later_version_is_text_of_a_length_that_is_read() {
        let later = VALID.replacen("00", "01", 1) + "-";
        let with = |more: &[u8]| [later.as_bytes(), more].concat();
        let most = LONGEST - later.len();
        assert!(decode(&with(&vec![b'a'; most])).is_some());
        assert!(decode(&with(&vec![b'a'; most + 1])).is_none());
        assert!(decode(&with(b"\xff")).is_none());
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled in any::<bool>()) {
            let context = SpanContext::new(
                TraceId::from(trace),
                SpanId::from(span),
                TraceFlags::default().with_sampled(sampled),
                false,
                TraceState::default(),
            );
            let mut text = [0; LEN];
            encode(&context, &mut text);
            let expected = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
            let read = (context.trace_id(), context.span_id(), context.trace_flags());
            prop_assert_eq!(decode(&text), Some(read));
        }
    }
}

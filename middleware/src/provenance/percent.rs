//! Percent-encoding, as baggage has it.

use std::borrow::Cow;

/// What stands behind the escapes of a text.
pub(crate) struct Decoded<'h> {
    pub(crate) bytes: Cow<'h, [u8]>,
    /// Whether every `%` began an escape.
    pub(crate) whole: bool,
}

/// Decodes; a `%` without two hexadecimal digits behind it stays.
pub(crate) fn decode(text: &str) -> Decoded<'_> {
    let encoded = text.as_bytes();
    let Some(first) = encoded.iter().position(|byte| *byte == b'%') else {
        return Decoded {
            bytes: encoded.into(),
            whole: true,
        };
    };
    let mut bytes = encoded[..first].to_vec();
    let mut rest = &encoded[first..];
    let mut whole = true;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match behind {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &behind[2..];
            }
            None => {
                whole &= byte != b'%';
                bytes.push(byte);
            }
        }
    }
    Decoded {
        bytes: bytes.into(),
        whole,
    }
}

/// Decodes what has to be right; `None` if it is not.
pub(crate) fn decode_strictly(text: &str) -> Option<Cow<'_, str>> {
    let decoded = decode(text);
    if !decoded.whole {
        return None;
    }
    match decoded.bytes {
        // It is `text` itself.
        Cow::Borrowed(_) => Some(text.into()),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Whether nothing in it had to be encoded and was not. A `%` is another matter.
pub(crate) fn is_encoded(text: &str) -> bool {
    text.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'=' | b'\\')
}

/// Percent-encodes what is no baggage-octet, and what has a meaning here: `,`, `;`, `=`, `%`.
#[cfg(any(feature = "origin", feature = "audit", feature = "trace"))]
pub(crate) fn encode(text: &str, out: &mut String) {
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte != b'%' && is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(UPPER[usize::from(byte >> 4)]));
            out.push(char::from(UPPER[usize::from(byte & 15)]));
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

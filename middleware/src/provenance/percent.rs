//! Percent-encoding, as baggage has it.

use std::borrow::Cow;

/// What stands behind the escapes of a text.
pub(super) struct Decoded<'h> {
    pub(super) bytes: Cow<'h, [u8]>,
    /// Whether every `%` began an escape.
    pub(super) whole: bool,
}

/// Decodes; a `%` without two hexadecimal digits behind it stays.
pub(super) fn decode(text: &str) -> Decoded<'_> {
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
pub(super) fn decode_strictly(text: &str) -> Option<Cow<'_, str>> {
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
pub(super) fn is_encoded(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'=' | b'\\'))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

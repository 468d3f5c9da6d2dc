//! `prov-sig`: what the writer signed it with.

use super::{Header, Notes, Problem, is_visible};

/// A signature of version 1, as it was read. Nothing here says whether it is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature<'h> {
    /// Which key it was made with.
    pub key_id: &'h str,
    /// The signature itself.
    pub bytes: Vec<u8>,
}

impl<'h> Signature<'h> {
    pub(super) fn read(text: &'h str, notes: &mut Notes) -> Option<Self> {
        let problem = match Self::parse(text) {
            Some((1, signature)) => return Some(signature),
            Some(_) => Problem::Version,
            None => Problem::Syntax,
        };
        notes.add(Some(Header::Signature), problem, 1);
        None
    }

    /// The version and the rest.
    fn parse(text: &'h str) -> Option<(u16, Self)> {
        let (version, rest) = text.strip_prefix('v')?.split_once(";kid=")?;
        let (key_id, signature) = rest.split_once(';')?;
        let digits =
            (1..=4).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !is_visible(key_id) {
            return None;
        }
        let bytes = base64url(signature).filter(|bytes| !bytes.is_empty())?;
        Some((version.parse().ok()?, Self { key_id, bytes }))
    }
}

/// Decodes base64url without padding. Bits that are left over must be 0, so that one signature has one text.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // Six bits over are a digit that gave no byte.
    (held < 6 && bits == 0).then_some(bytes)
}

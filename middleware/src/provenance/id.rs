//! `prov-id`: which record it is, and when it was made.

use std::fmt;

use super::{Header, Notes, Problem};

/// A record's identity, a UUID. As text: lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u128);

impl RecordId {
    /// Reads a UUID in its 36 characters, in lower or upper case.
    pub fn parse(text: &str) -> Option<Self> {
        let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
        let mut number = 0;
        for (at, byte) in text.iter().enumerate() {
            match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return None,
                (_, digit) => {
                    let digit = char::from(*digit).to_digit(16)?;
                    number = number << 4 | u128::from(digit);
                }
            }
        }
        Some(Self(number))
    }

    /// When the record was made, in milliseconds since the epoch; `None` if the UUID is not of version 7.
    pub fn millis(self) -> Option<u64> {
        let version = (self.0 >> 76) & 0xf;
        let variant = (self.0 >> 62) & 0b11;
        ((version, variant) == (7, 0b10)).then_some((self.0 >> 80) as u64)
    }

    /// The UUID's 128 bits.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// Its 36 characters.
    #[cfg(feature = "origin")]
    pub(crate) fn to_text(self) -> [u8; 36] {
        let mut text = [0; 36];
        text.copy_from_slice(self.to_string().as_bytes());
        text
    }

    pub(super) fn read(text: &str, notes: &mut Notes) -> Option<Self> {
        let mut note = |problem| notes.add(Some(Header::Id), problem, 1);
        let Some(id) = Self::parse(text) else {
            note(Problem::Syntax);
            return None;
        };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            note(Problem::UpperCase);
        }
        if id.millis().is_none() {
            note(Problem::Version);
        }
        Some(id)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [96, 80, 64, 48].map(|shift| self.0 >> shift);
        write!(
            f,
            "{a:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            b & 0xffff,
            c & 0xffff,
            d & 0xffff,
            self.0 & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

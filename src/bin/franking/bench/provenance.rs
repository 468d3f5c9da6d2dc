//! The headers of the full stack, written by hand: what a team does that has no layers.
//!
//! Names, sizes and content are those of the stack (`prov-origin` is made by its own code), and each record gets new ids.
//! It is as cheap as it can honestly be: no allocation, no formatting machinery, a clock read once for each record.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{SystemTime, UNIX_EPOCH},
};

use franking::middleware::origin::Origin;

use super::StackKind;
use crate::BoxError;

/// The origin of a bench, for the headers by hand and for the stack alike.
pub(super) fn origin() -> Result<Origin, BoxError> {
    Ok(Origin::builder()
        .service_namespace("shop")
        .service_name("bench")
        .service_version(env!("CARGO_PKG_VERSION"))
        .environment("prod")
        .build()?)
}

/// Makes the values of the four headers in buffers that it uses again.
pub(super) struct Stamps {
    origin: String,
    traceparent: [u8; 55],
    id: [u8; 36],
    seq: [u8; 20],
    n: u64,
    random: u64,
}

impl Stamps {
    pub(super) fn new() -> Result<Self, BoxError> {
        let mut stamps = Self {
            origin: origin()?.header().to_owned(),
            traceparent: *b"00-00000000000000000000000000000000-0000000000000000-00",
            id: *b"00000000-0000-7000-8000-000000000000",
            seq: [b'0'; 20],
            n: 0,
            random: RandomState::new().build_hasher().finish() | 1,
        };
        // The trace's ids below the record's own part.
        let random = stamps.random;
        hex(&mut stamps.traceparent[19..35], random);
        hex(&mut stamps.id[24..36], random);
        Ok(stamps)
    }

    /// For a stack that writes its headers by hand.
    pub(super) fn of(stack: StackKind) -> Result<Option<Self>, BoxError> {
        match stack {
            StackKind::Headers => Self::new().map(Some),
            StackKind::None | StackKind::Full => Ok(None),
        }
    }

    /// The names and values of the next record.
    pub(super) fn next(&mut self) -> [(&'static str, &[u8]); 4] {
        self.n += 1;
        // A trace and a span of its own for each record, as without a parent.
        let unique = self.random.wrapping_add(self.n);
        hex(&mut self.traceparent[3..19], unique);
        hex(&mut self.traceparent[36..52], unique);

        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        hex(&mut self.id[0..8], millis >> 16);
        hex(&mut self.id[9..13], millis & 0xffff);
        hex(&mut self.id[24..36], unique & 0xffff_ffff_ffff);

        let mut at = self.seq.len();
        let mut left = self.n;
        loop {
            at -= 1;
            self.seq[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        [
            ("traceparent", &self.traceparent),
            ("prov-id", &self.id),
            ("prov-origin", self.origin.as_bytes()),
            ("prov-seq", &self.seq[at..]),
        ]
    }
}

/// The lowest digits of a number, as many as there is room for.
fn hex(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_have_their_forms_and_differ() {
        let mut stamps = Stamps::new().unwrap();
        let mut read = || {
            stamps
                .next()
                .map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap()))
        };
        let (first, second) = (read(), read());
        assert_eq!(first[3], ("prov-seq", "1".to_owned()));
        assert_eq!(second[3], ("prov-seq", "2".to_owned()));
        assert_eq!(first[2], second[2]);
        for ((name, first), (_, second)) in first.iter().zip(&second).take(2) {
            assert_ne!(first, second, "{name}");
            assert_eq!(first.len(), second.len(), "{name}");
        }
        let id = &first[1].1;
        let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!(dashes, [8, 13, 18, 23]);
        assert_eq!(&id[14..15], "7");
    }
}

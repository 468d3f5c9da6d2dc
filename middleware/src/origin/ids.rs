//! `prov-id`: UUIDv7 as text, cheaply.

use std::cell::RefCell;

use uuid::{Builder, Uuid};

thread_local! {
    pub(super) static IDS: RefCell<Ids> = const { RefCell::new(Ids::new()) };
}

/// A new millisecond is drawn and written whole; within it only the last group counts up.
pub(super) struct Ids {
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

    /// An id of this millisecond.
    pub(super) fn next(&mut self, millis: u64) -> &[u8; 36] {
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
}

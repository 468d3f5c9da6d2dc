//! `prov-id`: UUIDv7 as text, cheaply.

use std::cell::RefCell;

use uuid::{Builder, Uuid};

thread_local! {
    pub(super) static IDS: RefCell<Ids> = const { RefCell::new(Ids::new()) };
}

/// A new millisecond is drawn and written whole; within it only the last group counts up.
pub(super) struct Ids {
    millis: u64,
    /// The next one. The last group, 48 bits, is drawn with its first bit unset, so that it never overflows within a
    /// millisecond.
    text: [u8; 36],
}

impl Ids {
    const fn new() -> Self {
        Self {
            millis: u64::MAX,
            text: [0; 36],
        }
    }

    /// An id of this millisecond: what it is used for is done before the next one is made, for a copy would wait until
    /// that is written.
    #[inline]
    pub(super) fn next<T>(&mut self, millis: u64, used: impl FnOnce(&[u8; 36]) -> T) -> T {
        if millis != self.millis {
            self.draw(millis);
        }
        let done = used(&self.text);
        count_up(&mut self.text);
        done
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
    }
}

/// Adds 1 to the last group, in the text: mostly that is its last digit.
fn count_up(text: &mut [u8; 36]) {
    for digit in text[24..].iter_mut().rev() {
        match digit {
            b'f' => *digit = b'0',
            b'9' => return *digit = b'a',
            _ => return *digit += 1,
        }
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
            let text = ids
                .next(millis, |id| String::from_utf8(id.to_vec()))
                .unwrap();
            let id = Uuid::try_parse(&text).unwrap();
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
            assert!(seen.insert(ids.next(millis, |id| *id)));
        }
    }

    #[test]
    fn the_last_group_carries_over() {
        let after = |tail: u64| {
            let mut text = [b'x'; 36];
            text[24..].copy_from_slice(format!("{tail:012x}").as_bytes());
            count_up(&mut text);
            String::from_utf8(text[23..].to_vec()).unwrap()
        };
        for tail in [0, 9, 0xf, 0x99, 0x9f, 0x0fff, 0x7fff_ffff_ffff] {
            assert_eq!(after(tail), format!("x{:012x}", tail + 1));
        }
    }
}

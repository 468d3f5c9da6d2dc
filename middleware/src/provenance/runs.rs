//! Which numbers were seen, in bounded memory.

use std::ops::RangeInclusive;

/// How many runs are kept.
pub(super) const MOST: usize = 1024;

/// What a number is to those that were seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    New,
    Known,
    /// From below the lowest gap that was closed for good.
    Unsure,
}

/// A set of numbers as runs without gaps, lowest first. Between two runs there is a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    runs: Vec<(u64, u64)>,
    /// Up to here, from the first number on, gaps were closed to save memory.
    closed: u64,
    distinct: u64,
}

impl Runs {
    pub(super) fn add(&mut self, number: u64) -> Number {
        // The run behind the one that could hold it. Mostly the number follows the last one.
        let after = self.runs.partition_point(|(start, _)| *start <= number);
        if after > 0 && number <= self.runs[after - 1].1 {
            return match number <= self.closed {
                true => Number::Unsure,
                false => Number::Known,
            };
        }
        self.distinct += 1;
        let joins_before = after > 0 && self.runs[after - 1].1 + 1 == number;
        let joins_after = after < self.runs.len() && number + 1 == self.runs[after].0;
        match (joins_before, joins_after) {
            (true, true) => {
                self.runs[after - 1].1 = self.runs[after].1;
                self.runs.remove(after);
            }
            (true, false) => self.runs[after - 1].1 = number,
            (false, true) => self.runs[after].0 = number,
            (false, false) => self.runs.insert(after, (number, number)),
        }
        if self.runs.len() > MOST {
            let (_, end) = self.runs.remove(1);
            let first = &mut self.runs[0];
            self.closed = self.closed.max(end);
            first.1 = end;
        }
        Number::New
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.0)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.1)
    }

    /// How many between the first and the last were not seen.
    pub(super) fn missing(&self) -> u64 {
        match (self.first(), self.last()) {
            // Numbers begin at 1, so this cannot overflow.
            (Some(first), Some(last)) => last - first + 1 - self.distinct,
            _ => 0,
        }
    }

    /// The gaps that are open.
    pub(super) fn gaps(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.runs
            .windows(2)
            .map(|pair| pair[0].1 + 1..=pair[1].0 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a plain set.
        #[test]
        fn behaves_like_a_set(numbers in proptest::collection::vec(1..200u64, 0..300)) {
            let mut runs = Runs::default();
            let mut set = BTreeSet::new();
            for number in numbers {
                let expected = if set.insert(number) { Number::New } else { Number::Known };
                prop_assert_eq!(runs.add(number), expected);
            }
            prop_assert_eq!(runs.first(), set.first().copied());
            prop_assert_eq!(runs.last(), set.last().copied());
            let missing: Vec<u64> = match (set.first(), set.last()) {
                (Some(first), Some(last)) => (*first..=*last).filter(|n| !set.contains(n)).collect(),
                _ => vec![],
            };
            prop_assert_eq!(runs.missing(), missing.len() as u64);
            prop_assert_eq!(runs.gaps().flatten().collect::<Vec<_>>(), missing);
        }

        /// However wild the numbers are, memory has a bound, and nothing that was not seen is called known.
        #[test]
        fn stays_small(start in 1..=u64::MAX, step in 2..1_000_000u64, down in any::<bool>()) {
            let mut runs = Runs::default();
            let mut number = start;
            let mut seen = 0;
            for _ in 0..3 * MOST {
                prop_assert_eq!(runs.add(number), Number::New);
                seen += 1;
                prop_assert!(runs.runs.len() <= MOST);
                let next = if down { number.checked_sub(step) } else { number.checked_add(step) };
                match next {
                    Some(next) if next > 0 => number = next,
                    _ => break,
                }
            }
            let span = runs.last().unwrap() - runs.first().unwrap() + 1;
            prop_assert_eq!(runs.missing(), span - seen);
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let mut runs = Runs::default();
        for number in [u64::MAX, 1, u64::MAX, u64::MAX - 1, 2] {
            runs.add(number);
        }
        assert_eq!(runs.missing(), u64::MAX - 4);
        assert_eq!(runs.gaps().collect::<Vec<_>>(), [3..=u64::MAX - 2]);
    }

    #[test]
    fn what_comes_from_a_closed_gap_is_unsure() {
        let mut runs = Runs::default();
        for number in (1..).step_by(2).take(MOST + 1) {
            assert_eq!(runs.add(number), Number::New);
        }
        // The gap of 2 was closed; that of 4 was not.
        assert_eq!(runs.add(2), Number::Unsure);
        assert_eq!(runs.add(1), Number::Unsure);
        assert_eq!(runs.add(5), Number::Known);
        assert_eq!(runs.add(4), Number::New);
        assert_eq!(runs.missing(), MOST as u64 - 1);
    }
}

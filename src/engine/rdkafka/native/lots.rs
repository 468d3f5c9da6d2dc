//! Things that were made together are used together.
//!
//! What a record takes (its slot, its headers) is made once and used again and again. A stack of what came back hands it out
//! in the order of the acknowledgements; those come partition by partition, and a few rounds later the order is none. Then
//! each record's memory is on pages that neither the processor's caches nor its page tables have at hand: with a hundred
//! thousand records in flight a sender waited 150 ns a record for the page tables alone, where it had asked for the memory
//! well ahead. So things have numbers, by lots of 64, and a lot is used from its first to its last before another one is.

use std::{collections::VecDeque, iter};

/// Things of a lot: as many as a word has bits.
const LOT: usize = 64;

/// While less than this part of all things is here, and no lot is whole, a new thing is made: so lots have the time to
/// become whole.
const SPARE: usize = 8;

/// Things that are taken and put back.
pub(super) struct Lots<T> {
    lots: Vec<Lot<T>>,
    /// What is taken comes from this one, while it has something.
    open: usize,
    /// New numbers are of this one, while it has some.
    filling: usize,
    /// Lots that have all of their things here, the latest on top: its memory is the warmest.
    whole: Vec<usize>,
    /// Lots that have some, in the order in which they got the first.
    partial: VecDeque<usize>,
    /// Lots whose things are all gone for good.
    vacant: Vec<usize>,
    here: usize,
    made: usize,
}

struct Lot<T> {
    things: Box<[Option<T>]>,
    /// A bit for each that is here.
    here: u64,
    /// A bit for each that there is, here or out.
    made: u64,
    in_whole: bool,
    in_partial: bool,
}

impl<T> Lots<T> {
    pub(super) const fn new() -> Self {
        Self {
            lots: Vec::new(),
            open: 0,
            filling: 0,
            whole: Vec::new(),
            partial: VecDeque::new(),
            vacant: Vec::new(),
            here: 0,
            made: 0,
        }
    }

    /// How many are here.
    pub(super) fn len(&self) -> usize {
        self.here
    }

    #[cfg(test)]
    fn made(&self) -> usize {
        self.made
    }

    /// The number of a new thing, which comes here when it is put. Numbers go up by one, but for those that were lost.
    pub(super) fn number(&mut self) -> usize {
        if self
            .lots
            .get(self.filling)
            .is_none_or(|lot| lot.made == u64::MAX)
        {
            self.filling = self.vacant.pop().unwrap_or_else(|| {
                self.lots.push(Lot::new());
                self.lots.len() - 1
            });
        }
        let lot = &mut self.lots[self.filling];
        let index = lot.made.trailing_ones() as usize;
        lot.made |= 1 << index;
        self.made += 1;
        self.filling * LOT + index
    }

    /// Takes one; `None` if there should be a new one.
    pub(super) fn take(&mut self) -> Option<T> {
        let has_many = self.here * SPARE >= self.made;
        if !self.is_open() && !self.open_next(has_many) {
            return None;
        }
        self.pop().map(|(_, thing)| thing)
    }

    /// Takes one for good.
    pub(super) fn forget(&mut self) -> Option<T> {
        if !self.is_open() && !self.open_next(true) {
            return None;
        }
        let (number, thing) = self.pop()?;
        self.lose(number);
        Some(thing)
    }

    /// Takes note that one does not come back.
    pub(super) fn lose(&mut self, number: usize) {
        let index = number / LOT;
        let lot = &mut self.lots[index];
        lot.made &= !(1 << (number % LOT));
        self.made -= 1;
        if lot.made == 0 && index != self.filling {
            self.vacant.push(index);
        }
    }

    /// Puts one back, or a new one for the first time.
    pub(super) fn put(&mut self, number: usize, thing: T) {
        let index = number / LOT;
        let lot = &mut self.lots[index];
        lot.things[number % LOT] = Some(thing);
        lot.here |= 1 << (number % LOT);
        self.here += 1;
        if index == self.open {
        } else if lot.here == lot.made {
            if !lot.in_whole {
                lot.in_whole = true;
                self.whole.push(index);
            }
        } else if !lot.in_partial {
            lot.in_partial = true;
            self.partial.push_back(index);
        }
    }

    /// Those that are taken next, as it looks now.
    pub(super) fn coming(&self) -> impl Iterator<Item = &T> {
        let then = self.whole.last().filter(|&&lot| lot != self.open);
        iter::once(&self.open)
            .chain(then)
            .filter_map(|&lot| self.lots.get(lot))
            .flat_map(|lot| bits(lot.here).filter_map(|index| lot.things[index].as_ref()))
    }

    fn is_open(&self) -> bool {
        self.lots.get(self.open).is_some_and(|lot| lot.here != 0)
    }

    /// Opens the next lot: a whole one, or else, if it may be, one that has some.
    fn open_next(&mut self, or_partial: bool) -> bool {
        loop {
            let index = if let Some(index) = self.whole.pop() {
                self.lots[index].in_whole = false;
                index
            } else if or_partial && let Some(index) = self.partial.pop_front() {
                self.lots[index].in_partial = false;
                index
            } else {
                return false;
            };
            if self.lots[index].here != 0 {
                self.open = index;
                return true;
            }
        }
    }

    /// The first of the open lot, and its number.
    fn pop(&mut self) -> Option<(usize, T)> {
        let lot = self.lots.get_mut(self.open)?;
        let index = bits(lot.here).next()?;
        lot.here &= !(1 << index);
        self.here -= 1;
        let thing = lot.things[index].take()?;
        Some((self.open * LOT + index, thing))
    }
}

impl<T> Lot<T> {
    fn new() -> Self {
        Self {
            things: (0..LOT).map(|_| None).collect(),
            here: 0,
            made: 0,
            in_whole: false,
            in_partial: false,
        }
    }
}

/// The places of the bits that are set, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let place = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Takes what is here, or makes one.
    fn next(lots: &mut Lots<usize>) -> usize {
        lots.take().unwrap_or_else(|| lots.number())
    }

    #[test]
    fn a_lot_that_came_back_is_used_in_order() {
        let mut lots = Lots::new();
        let out: Vec<_> = (0..4 * LOT).map(|_| next(&mut lots)).collect();
        assert_eq!(out, (0..4 * LOT).collect::<Vec<_>>());
        // As two partitions are acknowledged.
        for half in [0, 1] {
            for number in (LOT..3 * LOT).filter(|number| number % 2 == half) {
                lots.put(number, number);
            }
        }
        let again: Vec<_> = (0..2 * LOT).map(|_| next(&mut lots)).collect();
        let (latest, before) = again.split_at(LOT);
        assert_eq!(latest, (2 * LOT..3 * LOT).collect::<Vec<_>>());
        assert_eq!(before, (LOT..2 * LOT).collect::<Vec<_>>());
        assert_eq!(next(&mut lots), 4 * LOT, "nothing is here");
    }

    #[test]
    fn a_sender_that_waits_for_each_record_uses_one_thing() {
        let mut lots = Lots::new();
        for _ in 0..1000 {
            let number = next(&mut lots);
            assert_eq!(number, 0);
            lots.put(number, number);
            assert_eq!(lots.coming().count(), 1);
        }
    }

    #[test]
    fn lots_that_never_become_whole_are_used_all_the_same() {
        let mut lots = Lots::new();
        for _ in 0..100 * LOT {
            next(&mut lots);
        }
        // One of each lot stays out.
        for number in (0..100 * LOT).filter(|number| number % LOT != 7) {
            lots.put(number, number);
        }
        for _ in 0..10_000 {
            let number = next(&mut lots);
            lots.put(number, number);
        }
        let out: HashSet<_> = (0..100 * LOT).map(|_| next(&mut lots)).collect();
        assert_eq!(out.len(), 100 * LOT);
        // The hundred that stay out, and what is left to let lots become whole.
        let most = (100 * LOT + 100) * (SPARE + 1) / SPARE;
        assert!(lots.made() <= most, "{} made", lots.made());
    }

    #[test]
    fn numbers_of_forgotten_things_are_given_again() {
        let mut lots = Lots::new();
        for round in 0..5 {
            let out: Vec<_> = (0..10 * LOT).map(|_| next(&mut lots)).collect();
            assert!(out.iter().all(|number| *number < 11 * LOT), "round {round}");
            for number in out {
                lots.put(number, number);
            }
            while lots.forget().is_some() {}
            assert_eq!((lots.len(), lots.made()), (0, 0));
        }
    }

    proptest! {
        /// Whatever is taken, put back, forgotten and lost: nobody gets what somebody has, and all is counted.
        #[test]
        fn each_thing_is_in_one_hand(steps in prop::collection::vec((0..5_u8, any::<prop::sample::Index>()), 1..2000)) {
            let mut lots = Lots::new();
            let mut out = Vec::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        let number = next(&mut lots);
                        prop_assert!(!out.contains(&number));
                        out.push(number);
                    }
                    2 if !out.is_empty() => {
                        let number = out.swap_remove(which.index(out.len()));
                        lots.put(number, number);
                    }
                    3 if !out.is_empty() => lots.lose(out.swap_remove(which.index(out.len()))),
                    4 => {
                        if let Some(number) = lots.forget() {
                            prop_assert!(!out.contains(&number));
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(lots.made(), lots.len() + out.len());
                prop_assert!(lots.coming().all(|number| !out.contains(number)));
            }
        }
    }
}

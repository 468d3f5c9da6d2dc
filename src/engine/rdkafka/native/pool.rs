//! Header lists waiting for the next record of their shape.
//!
//! Records of one service tend to carry the same headers with values of the same lengths: identifiers, trace contexts,
//! time stamps. librdkafka allocates for each header of each record, on the sending thread, and frees on the polling
//! thread, which is the worst case for most allocators. A list that came back is written over instead.
//!
//! Whether a list can be used again is asked of the record's own header block, which is compared byte by byte with the shape's,
//! and the list itself is not looked at: librdkafka keeps each header elsewhere, in memory that another core used last. To
//! read them took 500 to 1,000 ns a record on a busy machine, as much as librdkafka takes to send one. Which list is used
//! again is no matter of chance either: see [`lots`](super::lots).
//!
//! Measured with glibc's malloc on 1 M records with five headers of 55 bytes, medians of 4: `produce` took 550 ns instead
//! of 779 (290 without headers), and the process 1,600 ns of processor time a record instead of 1,900, the mock broker's
//! share included.

use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use franking_core::Headers;

use super::headers::{HeaderList, Shape};
use super::lots::Lots;

/// Shapes kept at once. A service that needs more has values of changing lengths, and recycling cannot help it.
const SHAPES: usize = 64;
/// Lists kept at once.
const LISTS: usize = 131_072;
/// Memory kept at once.
const BYTES: usize = 64 << 20;
/// A shape that no record had for so many has had its time: when a list is built, one of its lists goes.
const OLD: u64 = 4096;
/// A larger list is not kept: a few of them would fill the pool, and its allocations are the smaller part of its cost.
const LARGEST: usize = BYTES / 1024;

/// Lists of one shape.
struct Shelf {
    shape: Arc<Shape>,
    lists: Lots<HeaderList>,
    /// When the shelf was last asked for.
    used: u64,
}

#[derive(Default)]
struct Shelves {
    shelves: Vec<Shelf>,
    /// Where the last record's shape was: the next one's is there too, mostly.
    latest: usize,
    clock: u64,
    /// What is on the shelves, and about how much memory that takes.
    lists: usize,
    bytes: usize,
}

/// What a pool has for a record.
enum Found {
    List(HeaderList),
    /// A shelf that should have one more: its number, and a list that nobody asks for any more.
    Shape(Arc<Shape>, usize, Option<HeaderList>),
    Nothing,
}

/// The header lists that a client keeps for reuse. They keep their old values until then.
#[derive(Default)]
pub(super) struct HeaderPool {
    shelves: Mutex<Shelves>,
}

impl HeaderPool {
    /// A list with these headers: a recycled one if there is one of the same shape, or else a new one.
    pub(super) fn take(&self, headers: &Headers) -> HeaderList {
        if headers.is_empty() {
            return HeaderList::EMPTY;
        }
        let wire = headers.wire();
        let found = self.lock().take(wire);
        match found {
            Found::List(mut list) => {
                // SAFETY: the list stood on the shelf of a shape that fits.
                unsafe { list.overwrite(wire) };
                list
            }
            Found::Shape(shape, number, unused) => {
                // Freed before the new one is made of its memory.
                drop(unused);
                HeaderList::build(headers, Some((shape, number)))
            }
            Found::Nothing => {
                let shape = Arc::new(Shape::of(headers));
                if shape.bytes > LARGEST {
                    return HeaderList::build(headers, None);
                }
                let (reuse, unused) = self.lock().shelve(shape);
                drop(unused);
                HeaderList::build(headers, reuse)
            }
        }
    }

    /// Takes lists back, all under one lock, and leaves `spent` empty.
    pub(super) fn put(&self, spent: &mut Vec<HeaderList>) {
        if spent.is_empty() {
            return;
        }
        // What is displaced is freed after the lock is released.
        let mut displaced = Vec::new();
        let mut shelves = self.lock();
        for list in spent.drain(..) {
            shelves.put(list, &mut displaced);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn take(&mut self, wire: &[u8]) -> Found {
        self.clock += 1;
        let Some(index) = self.find(|shape| shape.fits(wire)) else {
            return Found::Nothing;
        };
        self.latest = index;
        let shelf = &mut self.shelves[index];
        shelf.used = self.clock;
        match shelf.lists.take() {
            Some(list) => {
                self.lists -= 1;
                self.bytes -= shelf.shape.bytes;
                // A list is a pointer to what leads to librdkafka's list: each is asked for when the one before it is here.
                let mut coming = shelf.lists.coming();
                if let Some(next) = coming.next() {
                    next.prefetch_list();
                }
                if let Some(after) = coming.next() {
                    after.prefetch();
                }
                Found::List(list)
            }
            None => {
                let number = shelf.lists.number();
                let shape = Arc::clone(&shelf.shape);
                Found::Shape(shape, number, self.unused())
            }
        }
    }

    /// Makes a shelf for this shape, if there can be one, and gives the number of its first list. With it a list that makes
    /// room for it: no more than one, so no call is a long one.
    fn shelve(&mut self, shape: Arc<Shape>) -> (Option<(Arc<Shape>, usize)>, Option<HeaderList>) {
        // Another thread may have had the same to send.
        if let Some(index) = self.find(|other| other.is(&shape)) {
            let Shelf { shape, lists, .. } = &mut self.shelves[index];
            return (Some((Arc::clone(shape), lists.number())), None);
        }
        let unused = match self.shelves.len() < SHAPES {
            true => self.unused(),
            false => self.displace_oldest(),
        };
        if self.shelves.len() == SHAPES {
            return (None, unused);
        }
        let mut lists = Lots::new();
        let number = lists.number();
        self.shelves.push(Shelf {
            shape: Arc::clone(&shape),
            lists,
            used: self.clock,
        });
        (Some((shape, number)), unused)
    }

    /// The index of the shelf of this shape.
    fn find(&self, is: impl Fn(&Shape) -> bool) -> Option<usize> {
        match self.shelves.get(self.latest) {
            Some(shelf) if is(&shelf.shape) => Some(self.latest),
            _ => self.shelves.iter().position(|shelf| is(&shelf.shape)),
        }
    }

    /// Files a list. Where there is no room, one of the shape that was not asked for the longest goes first; if there still
    /// is none, or the list's shelf is gone, it goes too.
    fn put(&mut self, list: HeaderList, displaced: &mut Vec<HeaderList>) {
        let Some((shape, number)) = list.number() else {
            displaced.push(list);
            return;
        };
        // Not another shelf of the same shape: its lists have other numbers.
        let own = |other: &Shape| ptr::eq(other, &**shape);
        let shelf = self.find(own);
        if shelf.is_some() && !self.has_room(shape.bytes) && self.oldest() != shelf {
            displaced.extend(self.displace_oldest());
        }
        let has_room = self.has_room(shape.bytes);
        // Again: where a shelf was taken away, another stands now.
        match self.find(own) {
            Some(shelf) if has_room => {
                self.lists += 1;
                self.bytes += shape.bytes;
                self.shelves[shelf].lists.put(number, list);
            }
            Some(shelf) => {
                self.shelves[shelf].lists.lose(number);
                displaced.push(list);
            }
            None => displaced.push(list),
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.lists < LISTS && self.bytes + bytes <= BYTES
    }

    /// The shelf that was not asked for the longest.
    fn oldest(&self) -> Option<usize> {
        (0..self.shelves.len()).min_by_key(|&index| self.shelves[index].used)
    }

    /// A list that nobody asks for any more, if there is one: the numbers of a sequence have become longer, or a service sends
    /// something else now.
    fn unused(&mut self) -> Option<HeaderList> {
        let oldest = &self.shelves[self.oldest()?];
        // One whose lists are all out may be asked for again when they are back.
        let is_unused = self.clock - oldest.used > OLD && oldest.lists.len() > 0;
        is_unused.then(|| self.displace_oldest()).flatten()
    }

    /// Takes a list from the oldest shelf, and the shelf too once it is empty.
    fn displace_oldest(&mut self) -> Option<HeaderList> {
        let oldest = self.oldest()?;
        let shelf = &mut self.shelves[oldest];
        let list = shelf.lists.forget();
        if list.is_some() {
            self.lists -= 1;
            self.bytes -= shelf.shape.bytes;
        }
        if shelf.lists.len() == 0 {
            self.shelves.swap_remove(oldest);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'h> = Vec<(&'h str, Option<&'h [u8]>)>;

    fn headers(pairs: &Pairs<'_>) -> Headers {
        let mut headers = Headers::new();
        for &(name, value) in pairs {
            headers.append(name, value).unwrap();
        }
        headers
    }

    fn take(pool: &HeaderPool, pairs: &Pairs<'_>) -> HeaderList {
        pool.take(&headers(pairs))
    }

    fn kept(pool: &HeaderPool) -> (usize, usize, usize) {
        let shelves = pool.shelves.lock().unwrap();
        let counted: usize = shelves.shelves.iter().map(|shelf| shelf.lists.len()).sum();
        assert_eq!(shelves.lists, counted);
        (shelves.shelves.len(), shelves.lists, shelves.bytes)
    }

    #[test]
    fn a_list_of_the_same_shape_is_used_again() {
        let pool = HeaderPool::default();
        let first: Pairs<'_> = vec![
            ("a", Some(b"one")),
            ("n", None),
            ("a", Some(b"")),
            ("long-name", Some(b"x")),
        ];
        let second: Pairs<'_> = vec![
            ("a", Some(b"two")),
            ("n", None),
            ("a", Some(b"")),
            ("long-name", Some(b"y")),
        ];
        let list = take(&pool, &first);
        assert_eq!(list.iter().collect::<Vec<_>>(), first);
        let address = list.as_ptr();
        pool.put(&mut vec![list]);
        let list = take(&pool, &second);
        assert_eq!(list.as_ptr(), address);
        assert_eq!(list.iter().collect::<Vec<_>>(), second);
        assert_eq!(kept(&pool), (1, 0, 0));
    }

    #[test]
    fn every_other_shape_is_another() {
        let base: Pairs<'_> = vec![("a", Some(b"one")), ("b", None), ("c", Some(b""))];
        let others: Vec<Pairs<'_>> = vec![
            vec![],
            vec![("a", Some(b"one")), ("b", None)],
            vec![
                ("a", Some(b"one")),
                ("b", None),
                ("c", Some(b"")),
                ("d", None),
            ],
            vec![("x", Some(b"one")), ("b", None), ("c", Some(b""))],
            vec![("a", Some(b"one1")), ("b", None), ("c", Some(b""))],
            vec![("a", Some(b"one")), ("b", Some(b"")), ("c", Some(b""))],
            vec![("a", Some(b"one")), ("b", None), ("c", None)],
            vec![("b", None), ("a", Some(b"one")), ("c", Some(b""))],
        ];
        let shape = Shape::of(&headers(&base));
        assert!(shape.fits(headers(&base).wire()));
        let again: Pairs<'_> = vec![("a", Some(b"two")), ("b", None), ("c", Some(b""))];
        assert!(shape.fits(headers(&again).wire()));
        for other in &others {
            assert!(!shape.fits(headers(other).wire()), "{other:?}");
            assert!(!shape.is(&Shape::of(&headers(other))), "{other:?}");
        }
    }

    #[test]
    fn the_shape_asked_for_last_stays() {
        let pool = HeaderPool::default();
        let names: Vec<String> = (0..3 * SHAPES)
            .map(|number| format!("name-{number}"))
            .collect();
        let hot: Pairs<'_> = vec![("hot", Some(b"value"))];
        let list = take(&pool, &hot);
        let address = list.as_ptr();
        pool.put(&mut vec![list]);
        for name in &names {
            let list = take(&pool, &vec![(name.as_str(), None)]);
            pool.put(&mut vec![list]);
            let list = take(&pool, &hot);
            assert_eq!(list.as_ptr(), address);
            pool.put(&mut vec![list]);
        }
        let (shapes, lists, bytes) = kept(&pool);
        assert_eq!((shapes, lists), (SHAPES, SHAPES));
        assert!(bytes > SHAPES * 128);
    }

    #[test]
    fn memory_is_bounded() {
        let pool = HeaderPool::default();
        let value = vec![0; 48 << 10];
        let mut spent: Vec<_> = (0..2000)
            .map(|_| take(&pool, &vec![("n", Some(&value))]))
            .collect();
        pool.put(&mut spent);
        assert!(spent.is_empty());
        let (_, lists, bytes) = kept(&pool);
        assert!(
            lists > 1000 && bytes <= BYTES,
            "{lists} lists, {bytes} bytes"
        );
        // Another shape takes the room of the one nobody asks for.
        let other: Vec<_> = (0..4)
            .map(|_| take(&pool, &vec![("other", None)]))
            .collect();
        pool.put(&mut { other });
        assert_eq!(kept(&pool).0, 2);
        // A list that alone would fill much of the pool is not kept at all.
        let huge = vec![0; 1 << 20];
        let before = kept(&pool);
        pool.put(&mut vec![take(&pool, &vec![("n", Some(&huge))])]);
        assert_eq!(kept(&pool), before);
    }

    /// Values that read like the framing around them, and lengths beyond one byte.
    #[test]
    fn values_that_look_like_headers_are_values() {
        let pool = HeaderPool::default();
        let long = vec![2; 300];
        for values in [
            [&b"\x02b\x02x"[..], b"\x01\x01", &long],
            [b"\x02c\x02y", b"\x02a", &[1; 300]],
        ] {
            let pairs: Pairs<'_> = ["a", "b", "a"].into_iter().zip(values.map(Some)).collect();
            let list = take(&pool, &pairs);
            assert_eq!(list.iter().collect::<Vec<_>>(), pairs);
            pool.put(&mut vec![list]);
        }
        assert_eq!(kept(&pool).1, 1);
    }

    #[test]
    fn what_nobody_asks_for_any_more_makes_room_one_by_one() {
        let pool = HeaderPool::default();
        let (short, long): (Pairs<'_>, Pairs<'_>) =
            (vec![("seq", Some(b"9"))], vec![("seq", Some(b"10"))]);
        let mut lists: Vec<_> = (0..10).map(|_| take(&pool, &short)).collect();
        let last = lists.pop();
        pool.put(&mut lists);
        let take_long = |count| (0..count).map(|_| take(&pool, &long)).collect::<Vec<_>>();
        let _out = take_long(OLD);
        assert_eq!(kept(&pool), (2, 9, 9 * Shape::of(&headers(&short)).bytes));
        let _more = take_long(3);
        assert_eq!(kept(&pool).1, 6);
        let _most = take_long(100);
        assert_eq!((kept(&pool).0, kept(&pool).1), (1, 0));
        // Its shelf is gone, so it is freed.
        pool.put(&mut last.into_iter().collect());
        assert_eq!(kept(&pool).1, 0);
    }

    #[test]
    fn a_shape_whose_lists_are_all_out_is_not_forgotten() {
        let pool = HeaderPool::default();
        let (one, other): (Pairs<'_>, Pairs<'_>) = (vec![("a", None)], vec![("b", None)]);
        let list = take(&pool, &one);
        let _others: Vec<_> = (0..2 * OLD).map(|_| take(&pool, &other)).collect();
        pool.put(&mut vec![list]);
        assert_eq!(kept(&pool).1, 1);
    }

    /// Before the first list comes back there is nothing on the shelf.
    #[test]
    fn lists_that_are_built_one_after_the_other_share_their_shape() {
        let pool = HeaderPool::default();
        let (one, two): (Pairs<'_>, Pairs<'_>) = (vec![("a", Some(b"1"))], vec![("b", Some(b"1"))]);
        let mut lists: Vec<_> = [&one, &one, &two, &one]
            .into_iter()
            .map(|pairs| take(&pool, pairs))
            .collect();
        let shape = |list: &HeaderList| Arc::clone(list.number().unwrap().0);
        assert!(Arc::ptr_eq(&shape(&lists[0]), &shape(&lists[1])));
        pool.put(&mut lists);
        assert_eq!(kept(&pool).1, 4);
        assert_eq!(kept(&pool).0, 2);
        let (first, second) = (take(&pool, &one), take(&pool, &two));
        assert_eq!(first.iter().collect::<Vec<_>>(), one);
        assert_eq!(second.iter().collect::<Vec<_>>(), two);
    }
}

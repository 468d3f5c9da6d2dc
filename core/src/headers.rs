//! A record's headers: one buffer, in the encoding that goes to the broker.

use std::{error::Error, fmt};

use crate::wire::Wire;

/// The headers of a record: an ordered list in which a name may repeat, as in Kafka.
///
/// They lie in one contiguous buffer in Kafka's wire encoding (for each header: length of the name, name, length of the
/// value or -1 for null, value; lengths are zigzag varints), so that stamping is a copy, the size is exact, and an
/// engine can take the block as it is.
///
/// ```
/// use franking_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.append("hop", "a")?;
/// headers.append("hop", "b")?;
/// headers.append("seen", None::<&str>)?;
/// assert_eq!(headers.get("hop"), Some(Some(&b"b"[..]))); // the last one, as Java's lastHeader
/// headers.set("hop", "c")?; // exactly one is left
/// assert_eq!(headers.iter().count(), 2);
/// # Ok::<(), franking_core::InvalidHeaderName>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    wire: Wire,
    count: u32,
    /// Bits for each name that was ever here, see `mark` and `initial`: who looks for a name that never was, or for others
    /// like it, need not read the list.
    seen: u32,
    initials: u32,
}

impl Headers {
    /// No headers; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// As new.
    pub(crate) fn clear(&mut self) {
        let Self {
            wire,
            count,
            seen,
            initials,
        } = self;
        wire.clear();
        (*count, *seen, *initials) = (0, 0, 0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their bytes on the wire, without the count that stands before them.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Adds a header behind the others; others of the same name stay. `None` is Kafka's null value.
    ///
    /// # Errors
    /// [`InvalidHeaderName`] for an empty name or one with control characters; nothing is added.
    pub fn append(&mut self, name: &str, value: impl HeaderValue) -> Result<(), InvalidHeaderName> {
        check_name(name)?;
        let (name, value) = (name.as_bytes(), value.bytes());
        put(&mut self.wire, Some(name));
        put(&mut self.wire, value);
        self.count += 1;
        self.seen |= mark(name);
        self.initials |= initial(name);
        Ok(())
    }

    /// Leaves exactly one header of this name, with this value, as the last of all.
    ///
    /// # Errors
    /// [`InvalidHeaderName`]; nothing is changed then.
    pub fn set(&mut self, name: &str, value: impl HeaderValue) -> Result<(), InvalidHeaderName> {
        check_name(name)?;
        self.remove(name);
        self.append(name, value)
    }

    /// As [`set`](Self::set), for a name that was checked and encoded once: what layers stamp with. It cannot fail, and
    /// costs a look at the headers that are there and two copies.
    #[inline]
    pub fn stamp(&mut self, name: &HeaderName, value: &[u8]) {
        self.stamp_name(name);
        put(&mut self.wire, Some(value));
    }

    /// As [`stamp`](Self::stamp), for a value of this length that is written where it stays: `write` gets zeros.
    ///
    /// To copy what was written byte by byte a moment ago holds the processor up: 6 ns for a `traceparent`.
    #[inline]
    pub fn stamp_with(&mut self, name: &HeaderName, len: usize, write: impl FnOnce(&mut [u8])) {
        self.stamp_name(name);
        put_len(&mut self.wire, len);
        write(self.wire.extend_with_zeros(len));
    }

    #[inline]
    fn stamp_name(&mut self, name: &HeaderName) {
        if self.seen & name.mark != 0 {
            self.remove(name.as_str());
        }
        self.wire.extend(&name.encoded);
        self.count += 1;
        self.seen |= name.mark;
        self.initials |= name.initial;
    }

    /// `false`: no header's name begins with this letter of ASCII, nor, to who ignores case and blanks before it, with one
    /// that could be taken for it. So who looks for names like its own need not read the list. `true` says nothing.
    ///
    /// ```
    /// let mut headers = franking_core::Headers::new();
    /// headers.append("traceparent", "00-…")?;
    /// assert!(!headers.may_begin_with(b'p'));
    /// headers.append(" Prov-Id", "…")?;
    /// assert!(headers.may_begin_with(b'p'));
    /// # Ok::<(), franking_core::InvalidHeaderName>(())
    /// ```
    pub fn may_begin_with(&self, letter: u8) -> bool {
        self.initials & (initial(&[letter]) | ODD) != 0
    }

    /// Removes every header of this name and says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        if self.seen & mark(name.as_bytes()) == 0 {
            return 0;
        }
        self.remove_bytes(|candidate| candidate == name.as_bytes())
    }

    /// Removes every header that is picked, by its name and value, and says how many there were. One pass, whatever is
    /// picked.
    pub fn remove_where(&mut self, mut pick: impl FnMut(&str, Option<&[u8]>) -> bool) -> usize {
        self.sift(|wire, at| {
            let (name, value, next) = entry(wire, at);
            (pick(name, value), next)
        })
    }

    fn remove_bytes(&mut self, pick: impl Fn(&[u8]) -> bool) -> usize {
        self.sift(|wire, at| {
            let (name, next) = skip(wire, at);
            (pick(name), next)
        })
    }

    /// `judge` says of the header at an index whether it goes, and where the next one begins. What stays moves down, each
    /// byte once: a record can have ten thousand headers of one name.
    fn sift(&mut self, mut judge: impl FnMut(&[u8], usize) -> (bool, usize)) -> usize {
        let before = self.count;
        let (mut at, mut kept) = (0, 0);
        while at < self.wire.len() {
            let (goes, next) = judge(&self.wire, at);
            if goes {
                self.count -= 1;
            } else {
                if kept < at {
                    self.wire.copy_within(at..next, kept);
                }
                kept += next - at;
            }
            at = next;
        }
        self.wire.truncate(kept);
        (before - self.count) as usize
    }

    /// The last value of this name: `None` if there is no such header, `Some(None)` if its value is null.
    pub fn get(&self, name: &str) -> Option<Option<&[u8]>> {
        if self.seen & mark(name.as_bytes()) == 0 {
            return None;
        }
        self.iter()
            .filter(|(candidate, _)| *candidate == name)
            .last()
            .map(|(_, value)| value)
    }

    /// The last value of this name as text; `None` if it is absent, null or not UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)??).ok()
    }

    /// All headers in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            wire: &self.wire,
            at: 0,
            left: self.len(),
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        *self.wire == *other.wire
    }
}

impl Eq for Headers {}

// Values can be confidential: names only.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The headers of a record in order: name and value, `None` for null.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    wire: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name, value, next) = entry(self.wire, self.at);
        self.at = next;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// A header's name, checked and encoded once, for [`Headers::stamp`].
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderName {
    encoded: Box<[u8]>,
    skip: usize,
    mark: u32,
    initial: u32,
}

impl HeaderName {
    /// Checks and encodes a name.
    ///
    /// # Errors
    /// [`InvalidHeaderName`] for an empty name or one with control characters.
    pub fn new(name: &str) -> Result<Self, InvalidHeaderName> {
        check_name(name)?;
        let mut encoded = Wire::default();
        put(&mut encoded, Some(name.as_bytes()));
        Ok(Self {
            encoded: (*encoded).into(),
            skip: encoded.len() - name.len(),
            mark: mark(name.as_bytes()),
            initial: initial(name.as_bytes()),
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        text(&self.encoded[self.skip..])
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a header's value can be given as: text, bytes, or an `Option` of one, where `None` is Kafka's null.
pub trait HeaderValue {
    /// The bytes; `None` for null.
    fn bytes(&self) -> Option<&[u8]>;
}

impl<V: HeaderValue> HeaderValue for Option<V> {
    fn bytes(&self) -> Option<&[u8]> {
        self.as_ref().and_then(V::bytes)
    }
}

impl<V: HeaderValue + ?Sized> HeaderValue for &V {
    fn bytes(&self) -> Option<&[u8]> {
        (**self).bytes()
    }
}

macro_rules! header_values {
    ($($type:ty),+) => {$(
        impl HeaderValue for $type {
            fn bytes(&self) -> Option<&[u8]> {
                Some(self.as_ref())
            }
        }
    )+};
}

header_values!(str, String, [u8], Vec<u8>, bytes::Bytes);

impl<const N: usize> HeaderValue for [u8; N] {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// A header's name is empty or holds a control character (NUL among them, at which C readers stop).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHeaderName {
    name: String,
}

impl fmt::Display for InvalidHeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str("a header's name is empty; give it one")
        } else {
            write!(
                f,
                "the header name {:?} holds a control character; use printable text",
                self.name
            )
        }
    }
}

impl Error for InvalidHeaderName {}

fn check_name(name: &str) -> Result<(), InvalidHeaderName> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(InvalidHeaderName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

// === the encoding ===

/// The bit that a name sets in `seen`. Names that share one cost a look at the list, nothing else.
fn mark(name: &[u8]) -> u32 {
    let last = name.last().copied().unwrap_or_default();
    1 << ((name.len() as u32 * 7 + u32::from(last)) % 32)
}

/// The bit that the first letter of a name sets in `initials`, the same in either case.
fn initial(name: &[u8]) -> u32 {
    match name.first() {
        Some(byte @ b'!'..=b'~') => 1 << (byte & 31),
        _ => ODD,
    }
}

/// The bit of blanks and of what lies beyond ASCII, some of which are other forms of its letters. No letter has it.
const ODD: u32 = 1;

/// A name or a value behind its length, which is a zigzag varint; -1 says null.
#[inline]
fn put(wire: &mut Wire, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_len(wire, bytes.len());
            wire.extend(bytes);
        }
        None => wire.push(1),
    }
}

#[inline]
fn put_len(wire: &mut Wire, len: usize) {
    let mut zigzag = (len as u64) << 1;
    while zigzag >= 0x80 {
        wire.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    wire.push(zigzag as u8);
}

/// Reads such a length, and gives the index behind it.
#[inline]
fn varint(wire: &[u8], mut at: usize) -> (i64, usize) {
    // Names and most values are shorter than 64 bytes: one byte says so.
    let first = wire[at];
    if first < 0x80 {
        return (i64::from(first >> 1) ^ -i64::from(first & 1), at + 1);
    }
    let mut zigzag = 0u64;
    let mut shift = 0;
    loop {
        let byte = wire[at];
        at += 1;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return ((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64), at);
        }
        shift += 7;
    }
}

/// As `entry`, for who only looks at the name's bytes and goes on.
#[inline]
fn skip(wire: &[u8], at: usize) -> (&[u8], usize) {
    let (length, start) = varint(wire, at);
    let end = start + length as usize;
    let (length, value) = varint(wire, end);
    (&wire[start..end], value + length.max(0) as usize)
}

/// The header that begins at `at`, and the index behind it. The buffer holds only what this file wrote.
fn entry(wire: &[u8], at: usize) -> (&str, Option<&[u8]>, usize) {
    let (length, start) = varint(wire, at);
    let end = start + length as usize;
    let name = text(&wire[start..end]);
    let (length, start) = varint(wire, end);
    if length < 0 {
        return (name, None, start);
    }
    let end = start + length as usize;
    (name, Some(&wire[start..end]), end)
}

/// Names come in as `&str`, so this never fails; checking 10 ASCII bytes costs less than a nanosecond.
fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_as_kafka_does() {
        let mut headers = Headers::new();
        headers.append("k", "v").unwrap();
        headers.append("n", None::<&str>).unwrap();
        headers.append("e", "").unwrap();
        // Zigzag: 1 is 2, -1 is 1, 0 is 0.
        assert_eq!(headers.wire(), b"\x02k\x02v\x02n\x01\x02e\x00");
        let read: Vec<_> = headers.iter().collect();
        assert_eq!(
            read,
            [("k", Some(&b"v"[..])), ("n", None), ("e", Some(&b""[..]))]
        );
    }

    #[test]
    fn refuses_names_that_readers_stumble_over() {
        let mut headers = Headers::new();
        for name in ["", "a\0b", "line\nbreak"] {
            assert!(headers.append(name, "v").is_err(), "{name:?}");
            assert!(headers.set(name, "v").is_err(), "{name:?}");
            assert!(HeaderName::new(name).is_err(), "{name:?}");
        }
        assert!(headers.is_empty());
    }

    #[test]
    fn of_a_name_the_last_one_counts() {
        let mut headers = Headers::new();
        assert_eq!((headers.get("a"), headers.get_str("a")), (None, None));
        headers.append("a", "1").unwrap();
        assert_eq!(headers.get("a"), Some(Some(&b"1"[..])));
        headers.append("a", [2, 0xff]).unwrap();
        headers.append("b", None::<&str>).unwrap();
        assert_eq!(headers.get("a"), Some(Some(&[2, 0xff][..])));
        assert_eq!((headers.get_str("a"), headers.get("b")), (None, Some(None)));
        headers.append("a", "text").unwrap();
        assert_eq!(headers.get_str("a"), Some("text"));
        // A name that shares its bit with another one.
        assert_eq!(mark(b"a"), mark(b"A"));
        assert_eq!((headers.get("A"), headers.is_empty()), (None, false));
    }

    #[test]
    fn what_is_picked_goes_and_the_rest_stays_in_order() {
        let mut headers = Headers::new();
        for name in ["prov-id", "x-prov-id", "prov-", "prov", "prov-id"] {
            headers.append(name, "").unwrap();
        }
        let ours = |name: &str, _: Option<&[u8]>| name.starts_with("prov-");
        assert_eq!(headers.remove_where(ours), 3);
        let left: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["x-prov-id", "prov"]);
        assert_eq!(headers.remove_where(ours), 0);
    }

    #[test]
    fn equal_are_the_same_headers_in_the_same_order() {
        let headers = |names: &[&str]| {
            let mut headers = Headers::new();
            for name in names {
                headers.append(name, "v").unwrap();
            }
            headers
        };
        assert_eq!(headers(&["a", "b"]), headers(&["a", "b"]));
        assert_ne!(headers(&["a", "b"]), headers(&["b", "a"]));
        assert_ne!(headers(&["a"]), headers(&["a", "a"]));
        let three = headers(&["a", "b", "c"]);
        let mut iter = three.iter();
        iter.next();
        assert_eq!((iter.len(), iter.size_hint()), (2, (2, Some(2))));
        assert_eq!((&three).into_iter().count(), 3);
    }

    #[test]
    fn how_names_begin_is_known_in_every_form() {
        let begin = |name: &str, letter| {
            let (mut appended, mut stamped) = (Headers::new(), Headers::new());
            appended.append(name, "").unwrap();
            stamped.stamp(&HeaderName::new(name).unwrap(), b"");
            let may = appended.may_begin_with(letter);
            assert_eq!(stamped.may_begin_with(letter), may, "{name:?}");
            may
        };
        for letter in b'a'..=b'z' {
            assert!(!Headers::new().may_begin_with(letter));
            for other in b'a'..=b'z' {
                let names = [other, other.to_ascii_uppercase()].map(|c| char::from(c).to_string());
                for name in names {
                    assert_eq!(begin(&name, letter), other == letter, "{name:?} {letter}");
                }
            }
            for name in [" x", "\u{a0}x", "\u{212a}", "ſ", "ｐ"] {
                assert!(begin(name, letter), "{name:?} {letter}");
            }
        }
        let mut two = Headers::new();
        two.append("a", "").unwrap();
        two.append("b", "").unwrap();
        assert!(two.may_begin_with(b'a') && two.may_begin_with(b'b') && !two.may_begin_with(b'c'));
    }

    #[test]
    fn a_bad_name_is_told_escaped() {
        let told = |name| HeaderName::new(name).unwrap_err().to_string();
        assert_eq!(told(""), "a header's name is empty; give it one");
        assert!(told("a\x1b[2J").contains(r#""a\u{1b}[2J""#));
        let name = HeaderName::new("prov-id").unwrap();
        assert_eq!(format!("{name:?}"), r#""prov-id""#);
    }

    #[test]
    fn debug_shows_no_values() {
        let mut headers = Headers::new();
        headers.append("token", "hunter2").unwrap();
        assert_eq!(format!("{headers:?}"), r#"["token"]"#);
    }

    #[test]
    fn a_stack_of_stamps_does_not_allocate() {
        let mut headers = Headers::new();
        let name = HeaderName::new("traceparent").unwrap();
        headers.stamp(&name, &[b'x'; 55]);
        headers.stamp(&HeaderName::new("prov-origin").unwrap(), &[b'x'; 180]);
        headers.stamp(&HeaderName::new("prov-id").unwrap(), &[b'x'; 36]);
        headers.stamp(&name, &[b'y'; 55]);
        assert!(headers.wire().len() < 384);
        assert_eq!(headers.len(), 3);
    }

    proptest! {
        /// Against a plain list of pairs.
        #[test]
        fn behaves_like_a_list(ops in proptest::collection::vec(
            (0..6u8, "[a-c]", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))), 0..40)
        ) {
            let mut headers = Headers::new();
            let mut model: Vec<(String, Option<Vec<u8>>)> = Vec::new();
            for (op, name, value) in ops {
                match op {
                    0 => {
                        headers.append(&name, value.clone()).unwrap();
                        model.push((name, value));
                    }
                    1 => {
                        headers.set(&name, value.clone()).unwrap();
                        model.retain(|(n, _)| *n != name);
                        model.push((name, value));
                    }
                    2 | 5 => {
                        let value = value.unwrap_or_default();
                        let checked = HeaderName::new(&name).unwrap();
                        match op {
                            2 => headers.stamp(&checked, &value),
                            _ => headers.stamp_with(&checked, value.len(), |zeros| {
                                assert!(zeros.iter().all(|byte| *byte == 0));
                                zeros.copy_from_slice(&value);
                            }),
                        }
                        model.retain(|(n, _)| *n != name);
                        model.push((name, Some(value)));
                    }
                    3 => {
                        let before = model.len();
                        model.retain(|(n, _)| *n != name);
                        prop_assert_eq!(headers.remove(&name), before - model.len());
                    }
                    _ => {
                        let before = model.len();
                        let goes = |n: &str, v: Option<&[u8]>| n < &*name && v == value.as_deref();
                        model.retain(|(n, v)| !goes(n, v.as_deref()));
                        prop_assert_eq!(headers.remove_where(goes), before - model.len());
                    }
                }
                let read: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec))).collect();
                prop_assert_eq!(&read, &model);
                prop_assert_eq!(headers.len(), model.len());
            }
        }
    }
}

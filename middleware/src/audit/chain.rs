//! Lines of which none can be changed, removed or moved without it being seen.
//!
//! Each line is a JSON object that begins with its number and the hash of the line before, and ends with its own hash: the
//! SHA-256, in hexadecimal, of its bytes up to `,"hash":`.
//!
//! ```text
//! {"line":7,"previous":"9f2c…","id":"…","topic":"orders",…,"closed":true,"hash":"41d0…"}
//! ```
//!
//! A chain shows edits, not that its end was cut off, and not that somebody wrote all of it anew: for that, keep a
//! [`Link`] elsewhere, and hold the file against it.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

const HASH: usize = 64;

/// A line's number and hash: where a chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Counted from 1; 0 before the first.
    pub line: u64,
    /// In hexadecimal.
    pub hash: String,
}

/// Before the first line.
impl Default for Link {
    fn default() -> Self {
        Self {
            line: 0,
            hash: "0".repeat(HASH),
        }
    }
}

/// `7:41d0…`, as it is read again.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.hash)
    }
}

impl FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (line, hash) = text.split_once(':').ok_or("write LINE:HASH")?;
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hash.len() != HASH || !hash.bytes().all(digits) {
            return Err("a hash has 64 hexadecimal digits, in lower case");
        }
        Ok(Self {
            line: line.parse().map_err(|_| "write LINE:HASH")?,
            hash: hash.to_owned(),
        })
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// It is no line of a chain.
    Malformed,
    /// Its hash is not that of its bytes: it was changed.
    Changed,
    /// It has another number than the next: lines are missing, or were added or moved.
    Number {
        /// That it has.
        found: u64,
        /// That of the next line.
        expected: u64,
    },
    /// It follows another line than the one before it.
    Previous,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("no line of a chain"),
            Self::Changed => f.write_str("it was changed: its hash is another"),
            Self::Number { found, expected } => write!(
                f,
                "it has number {found} and not {expected}: lines are missing, or were added or moved"
            ),
            Self::Previous => f.write_str("it follows another line than the one before it"),
        }
    }
}

impl std::error::Error for Broken {}

#[derive(Deserialize)]
struct Members {
    line: u64,
    previous: String,
    hash: String,
}

impl Link {
    /// The next line, from a JSON object with at least one member, with its line feed; and its link.
    pub(super) fn append(&self, object: &str) -> (String, Self) {
        let line = self.line + 1;
        let members = object.strip_prefix('{').unwrap_or(object);
        let members = members.strip_suffix('}').unwrap_or(members);
        let mut text = format!(r#"{{"line":{line},"previous":"{}",{members}"#, self.hash);
        let hash = hex(text.as_bytes());
        text += &ending(&hash);
        text.push('\n');
        (text, Self { line, hash })
    }

    /// What this line, without its line feed, says of itself.
    ///
    /// # Errors
    /// That it is malformed, or was changed.
    pub fn of(text: &[u8]) -> Result<Self, Broken> {
        Ok(Self::read(text)?.0)
    }

    /// The same, whether or not it is true: where to look on behind a line that was changed.
    pub fn claimed(text: &[u8]) -> Option<Self> {
        let Members { line, hash, .. } = serde_json::from_slice(text).ok()?;
        Some(Self { line, hash })
    }

    /// Goes on to the next line, which is to follow this one.
    ///
    /// # Errors
    /// What is wrong with it; the chain stays where it is.
    pub fn follow(&mut self, text: &[u8]) -> Result<(), Broken> {
        let (next, previous) = Self::read(text)?;
        let expected = self.line.saturating_add(1);
        if next.line != expected {
            return Err(Broken::Number {
                found: next.line,
                expected,
            });
        }
        if previous != self.hash {
            return Err(Broken::Previous);
        }
        *self = next;
        Ok(())
    }

    /// The line's own link, and the hash of the one before.
    fn read(text: &[u8]) -> Result<(Self, String), Broken> {
        // Of members that it does not look for, the parser does not check that they are text.
        let text = str::from_utf8(text).map_err(|_| Broken::Malformed)?;
        let members: Members = serde_json::from_str(text).map_err(|_| Broken::Malformed)?;
        let Members {
            line,
            previous,
            hash,
        } = members;
        let body = text
            .strip_suffix(&*ending(&hash))
            .ok_or(Broken::Malformed)?;
        match hex(body.as_bytes()) == hash {
            true => Ok((Self { line, hash }, previous)),
            false => Err(Broken::Changed),
        }
    }
}

fn ending(hash: &str) -> String {
    format!(r#","hash":"{hash}"}}"#)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(HASH);
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: usize) -> Vec<String> {
        let mut link = Link::default();
        (0..count)
            .map(|n| {
                let (text, next) = link.append(&format!(r#"{{"n":{n},"hash-like":"x"}}"#));
                link = next;
                text.trim_end().to_owned()
            })
            .collect()
    }

    /// The first line that is wrong, and how.
    fn verify(lines: &[String]) -> Result<Link, (usize, Broken)> {
        let mut link = Link::default();
        for (index, line) in lines.iter().enumerate() {
            link.follow(line.as_bytes()).map_err(|b| (index, b))?;
        }
        Ok(link)
    }

    #[test]
    fn a_whole_chain_is_followed_to_its_end() {
        let lines = chain(5);
        let link = verify(&lines).unwrap();
        assert_eq!(link.line, 5);
        assert_eq!(Link::of(lines[4].as_bytes()), Ok(link.clone()));
        assert_eq!(link.to_string().parse(), Ok(link));
        // Written down once, so that nobody changes the format unseen.
        let empty = "0".repeat(64);
        assert!(lines[0].starts_with(&format!(r#"{{"line":1,"previous":"{empty}","n":0,"#)));
        assert!(lines[0].ends_with(r#""}"#));
    }

    #[test]
    fn any_change_is_seen() {
        let whole = chain(5);
        for index in 0..5 {
            for at in 0..whole[index].len() {
                let mut lines = whole.clone();
                let mut bytes = lines[index].clone().into_bytes();
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                lines[index] = String::from_utf8(bytes).unwrap();
                let found = verify(&lines).unwrap_err();
                assert_eq!(found.0, index, "byte {at} of line {index}: {found:?}");
            }
        }
    }

    #[test]
    fn removed_added_and_moved_lines_are_seen() {
        let whole = chain(5);
        for index in 0..4 {
            let mut lines = whole.clone();
            lines.remove(index);
            let expected = index as u64 + 1;
            let found = expected + 1;
            assert_eq!(
                verify(&lines),
                Err((index, Broken::Number { found, expected }))
            );
            let mut lines = whole.clone();
            lines.insert(index, whole[index].clone());
            assert!(verify(&lines).is_err());
            let mut lines = whole.clone();
            lines.swap(index, index + 1);
            assert!(verify(&lines).is_err());
        }
        // A line of another chain, in the right place and whole in itself.
        let mut lines = whole.clone();
        let stranger = Link {
            line: 2,
            hash: "f".repeat(64),
        };
        lines[2] = stranger.append(r#"{"n":2}"#).0.trim_end().to_owned();
        assert_eq!(verify(&lines), Err((2, Broken::Previous)));
        assert_eq!(verify(&["no JSON".to_owned()]), Err((0, Broken::Malformed)));
    }

    #[test]
    fn what_is_not_text_is_no_line() {
        let before = Link::default();
        let body = [
            format!(r#"{{"line":1,"previous":"{}","topic":""#, before.hash).as_bytes(),
            b"\xaa\"",
        ]
        .concat();
        let line = [&*body, ending(&hex(&body)).as_bytes()].concat();
        assert_eq!(Link::of(&line), Err(Broken::Malformed));
        assert_eq!(before.clone().follow(&line), Err(Broken::Malformed));
    }

    #[test]
    fn a_link_is_read_as_it_is_written() {
        for text in [
            "",
            "1",
            "1:",
            "x:0",
            "1:00",
            &format!("1:{}", "G".repeat(64)),
        ] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}

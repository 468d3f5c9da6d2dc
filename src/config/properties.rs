//! Names and values as somebody wrote them, not yet checked.
//!
//! The `.properties` reader is our own: `java-properties` brings three dependencies (a regex engine among them) for what
//! is a page of code, and has had no release since 2023.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::error::{ConfigError, Problem, ProblemKind};
use super::names;

/// Kafka properties by name, in the order in which they were first set. Nothing is checked until
/// [`Config::check`](super::Config::check).
///
/// `Debug` shows a value only if its name is one this producer takes and is not sensitive: passwords, keys, user names
/// and everything misspelt read `<hidden>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<(String, String)>,
}

impl Properties {
    /// No properties: every setting has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name` to `value`, in the place of an earlier value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name, value)),
        }
        self
    }

    /// The value of `name`, if it was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Every name with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads Java's `.properties` syntax: comments with `#` and `!`; `=`, `:` or white space between name and value; a
    /// backslash at the end of a line continues it; `\t`, `\n`, `\r`, `\f`, `\uXXXX`, and a backslash before any other
    /// character stands for that character.
    ///
    /// # Errors
    ///
    /// All of them at once: a `\u` without four hexadecimal digits or that is half a character, and a name written
    /// twice. Java lets the last one win silently, which is how a wrong value survives every review of the first.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut entries: Vec<(String, String)> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        let mut problems = Vec::new();
        for (line, logical) in logical_lines(text) {
            let mut chars = logical.chars().peekable();
            let name = unescape(&mut chars, true);
            skip_blanks(&mut chars);
            if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
                skip_blanks(&mut chars);
            }
            let value = unescape(&mut chars, false);
            let at = match &name {
                Ok(name) => name.clone(),
                Err(_) => format!("line {line}"),
            };
            match (name, value) {
                (Ok(name), Ok(value)) => {
                    match entries.iter().position(|(known, _)| *known == name) {
                        Some(first) => problems.push(Problem::new(
                            at,
                            ProblemKind::Contradiction,
                            format!("set on line {} and again on line {line}", lines[first]),
                            "keep one of them",
                        )),
                        None => {
                            entries.push((name, value));
                            lines.push(line);
                        }
                    }
                }
                (Err(message), _) | (_, Err(message)) => problems.push(Problem::new(
                    at,
                    ProblemKind::Invalid,
                    format!("{message} on line {line}"),
                    "write `\\u` and four hexadecimal digits (two such for a character above FFFF), or the character itself",
                )),
            }
        }
        if problems.is_empty() {
            Ok(Self { entries })
        } else {
            Err(ConfigError::new(problems))
        }
    }
}

impl IntoIterator for Properties {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    /// As [`set`](Properties::set), one after the other.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut properties = Self::new();
        properties.extend(pairs);
        properties
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Properties {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.set(name, value);
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name, names::visible(name, value).unwrap_or("<hidden>"))),
            )
            .finish()
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| blank(*c)).is_some() {}
}

/// The lines that are neither blank nor comments, continuations joined, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    // One ending for all three, so that every line has its number.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut logical = Vec::new();
    let mut joined = String::new();
    let mut first = 0;
    let mut continued = false;
    for (index, line) in text.split_terminator('\n').enumerate() {
        let line = line.trim_start_matches(blank);
        // As in Java, a line whose only sign is a backslash begins nothing: a comment may follow it.
        if joined.is_empty() {
            if line.is_empty() || line.starts_with(['#', '!']) {
                continued = false;
                continue;
            }
            first = index + 1;
        }
        // A line is continued by an odd backslash: an even number are escaped ones.
        continued = (line.len() - line.trim_end_matches('\\').len()) % 2 == 1;
        joined.push_str(&line[..line.len() - usize::from(continued)]);
        if !continued {
            logical.push((first, std::mem::take(&mut joined)));
        }
    }
    // The last line may have nothing behind its backslash.
    if continued {
        logical.push((first, joined));
    }
    logical
}

/// Takes a name (up to an unescaped separator) or a value (to the end).
fn unescape(chars: &mut Peekable<Chars<'_>>, name: bool) -> Result<String, &'static str> {
    let mut units: Vec<u16> = Vec::new();
    let mut wrong = None;
    while let Some(c) = chars.next_if(|c| !(name && (blank(*c) || matches!(c, '=' | ':')))) {
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    match code_unit(chars) {
                        Some(unit) => units.push(unit),
                        None => wrong = Some("a `\\u` without its four hexadecimal digits"),
                    }
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    match wrong {
        Some(message) => Err(message),
        None => String::from_utf16(&units).map_err(|_| "a `\\u` that is half a character"),
    }
}

fn code_unit(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | chars.next_if(char::is_ascii_hexdigit)?.to_digit(16)?;
    }
    u16::try_from(unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Properties::parse(text).unwrap().entries
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn javas_separators_and_comments() {
        assert_eq!(
            pairs(
                "# one\n! two\n\n  a=1\nb : 2\nc 3\r\nd\t=\t4 \re\n\\#f=5\ng\\ h\\=i=6\nj==7\nk=a:b=c"
            ),
            [
                pair("a", "1"),
                pair("b", "2"),
                pair("c", "3"),
                pair("d", "4 "),
                pair("e", ""),
                pair("#f", "5"),
                pair("g h=i", "6"),
                pair("j", "=7"),
                pair("k", "a:b=c"),
            ]
        );
    }

    #[test]
    fn javas_continuations_and_escapes() {
        assert_eq!(
            pairs(
                "a=x:1,\\\n    y:2\nb=1\\\\\nc=\\t\\n\\u00e9\\uD83D\\uDE00\\q\nd=\\\n# no comment\ne=\\"
            ),
            [
                pair("a", "x:1,y:2"),
                pair("b", "1\\"),
                pair("c", "\t\né😀q"),
                pair("d", "# no comment"),
                pair("e", ""),
            ]
        );
    }

    #[test]
    fn a_backslash_alone_begins_nothing() {
        // What Java 17 makes of them.
        assert_eq!(pairs("\\\n# comment\nd=1"), [pair("d", "1")]);
        assert_eq!(pairs("\\\n!comment"), []);
        assert_eq!(pairs("\\\n\n x=1"), [pair("x", "1")]);
        assert_eq!(pairs("\\\n  x=1"), [pair("x", "1")]);
        assert_eq!(pairs("\\\n"), [pair("", "")]);
        assert_eq!(pairs("a=1\\\n\nb=2"), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(pairs("a\\\n\\\n b=1"), [pair("ab", "1")]);
        assert_eq!(pairs("k\\"), [pair("k", "")]);
    }

    #[test]
    fn every_duplicate_and_every_bad_escape_is_reported_with_its_line() {
        let error = Properties::parse(
            "a=1\nb=\\u12\nsasl.password=hunter1\na=2\nsasl.password=hunter2\nc=\\uD83D",
        )
        .unwrap_err();
        let text = error.to_string();
        assert_eq!(error.problems().len(), 4, "{text}");
        assert!(
            text.contains("`a`: set on line 1 and again on line 4"),
            "{text}"
        );
        assert!(text.contains("line 2"), "{text}");
        assert!(text.contains("half a character on line 6"), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn a_value_set_again_is_replaced_in_its_place() {
        let mut properties = Properties::from_iter([("a", "1"), ("b", "2")]);
        properties.set("a", "3");
        assert_eq!(
            properties.iter().collect::<Vec<_>>(),
            [("a", "3"), ("b", "2")]
        );
        assert_eq!(properties.get("c"), None);
    }

    #[test]
    fn debug_shows_neither_secrets_nor_misspelt_names_values() {
        let secret = "hunter2";
        let mut properties = Properties::new();
        for name in names::SENSITIVE {
            properties.set(*name, secret);
        }
        properties
            .set("sasl.pasword", secret)
            .set("bootstrap.servers", "me:hunter2@broker:9092")
            .set(
                "sasl.oauthbearer.token.endpoint.url",
                "https://hunter2@login/?secret=hunter2",
            );
        properties.set("linger.ms", "20");
        let shown = format!("{properties:?}");
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.contains(r#""linger.ms": "20""#), "{shown}");
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "\\PC*|[a=:\\\\u0d8\n\r\t #!]{0,60}") {
            let _ = Properties::parse(&text);
        }

        #[test]
        fn escaped_text_reads_back(name in "[a-z.]{1,20}", value in any::<String>()) {
            let escaped: String = value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(pairs(&format!("{name}={escaped}")), [(name, value)]);
        }
    }
}

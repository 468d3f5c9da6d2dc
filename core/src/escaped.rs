//! Text of somebody else's, on its way to a terminal, a log or a span.

use std::fmt::{self, Write as _};

/// Shows a text with everything escaped that is more than text: control characters (a terminal takes them as commands),
/// ends of lines (a log takes them as a new entry), what turns the direction of writing, and what cannot be seen.
///
/// Topics' names, headers and brokers' words come from others. Whatever this crate says of them goes through here.
///
/// ```
/// use franking_core::Escaped;
///
/// assert_eq!(Escaped("orders\u{1b}[2J\n\u{202e}").to_string(), "orders\\u{1b}[2J\\n\\u{202e}");
/// assert_eq!(Escaped("grüße, 日本").to_string(), "grüße, 日本");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Most of it is plain, and needs no look at each character: an error has 300 of them, and ten thousand records can
        // fail within the half second that a close may take beyond its deadline.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            self.0.write_str(&rest[..at])?;
            let mut chars = rest[at..].chars();
            for char in chars.by_ref().take(1) {
                match char {
                    '\n' => self.0.write_str("\\n")?,
                    '\r' => self.0.write_str("\\r")?,
                    '\t' => self.0.write_str("\\t")?,
                    char => write!(self.0, "\\u{{{:x}}}", u32::from(char))?,
                }
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Whether a character does something else than to be seen: controls, direction, invisible ones, ends of lines, tags.
pub fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{8e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1345f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_unsafe_comes_through(text in "(.|[\\x00-\\x1f\\x7f-\\x9f\u{200b}-\u{202e}\u{2066}-\u{2069}\u{61c}\u{feff}])*") {
            let shown = Escaped(&text).to_string();
            prop_assert!(!shown.chars().any(is_unsafe), "{shown:?}");
            prop_assert_eq!(shown == text, !text.chars().any(is_unsafe));
        }
    }
}

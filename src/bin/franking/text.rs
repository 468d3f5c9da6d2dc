//! What others wrote, made safe for a terminal.
//!
//! Whoever can write to a topic can write what a terminal takes as a command, what turns the direction of writing, and what
//! cannot be seen. None of it comes through as it is.

use franking::is_unsafe;
use unicode_width::UnicodeWidthChar as _;

/// More marks than this on one character pile up over other lines.
const MOST_MARKS: u32 = 2;

/// Appends as much as fits into the columns that are left, and `…` where it was cut. What is not UTF-8, and what is not
/// safe, is escaped. What lies behind the cut is not looked at.
pub(crate) fn push(out: &mut String, bytes: &[u8], left: &mut usize) {
    let mut line = Line {
        out,
        left,
        marks: 0,
    };
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if !line.char(char) {
                return;
            }
        }
        for byte in chunk.invalid() {
            if !line.escape(&format!("\\x{byte:02x}")) {
                return;
            }
        }
    }
}

/// All of a text.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut left = usize::MAX;
    push(&mut out, text.as_bytes(), &mut left);
    out
}

struct Line<'l> {
    out: &'l mut String,
    left: &'l mut usize,
    /// Marks on the last character.
    marks: u32,
}

impl Line<'_> {
    /// `false` where it was cut.
    fn char(&mut self, char: char) -> bool {
        match char {
            '\n' => return self.escape("\\n"),
            '\r' => return self.escape("\\r"),
            '\t' => return self.escape("\\t"),
            char if is_unsafe(char) => {
                return self.escape(&format!("\\u{{{:x}}}", u32::from(char)));
            }
            _ => {}
        }
        let width = char.width().unwrap_or(0);
        self.marks = if width == 0 { self.marks + 1 } else { 0 };
        if self.marks > MOST_MARKS {
            return self.escape(&format!("\\u{{{:x}}}", u32::from(char)));
        }
        self.put(width, |out| out.push(char))
    }

    fn escape(&mut self, escape: &str) -> bool {
        self.put(escape.len(), |out| out.push_str(escape))
    }

    /// The last column is kept for the sign that something was cut.
    fn put(&mut self, width: usize, put: impl FnOnce(&mut String)) -> bool {
        if width + 1 > *self.left {
            if *self.left > 0 {
                self.out.push('…');
                *self.left = 0;
            }
            return false;
        }
        *self.left -= width;
        put(self.out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    fn cut(bytes: &[u8], columns: usize) -> String {
        let mut out = String::new();
        let mut left = columns;
        push(&mut out, bytes, &mut left);
        out
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped("plain ünïcode 日本"), "plain ünïcode 日本");
        assert_eq!(escaped("\x1b[2J\x07"), "\\u{1b}[2J\\u{7}");
        assert_eq!(escaped("a\nb\rc\td"), "a\\nb\\rc\\td");
        assert_eq!(escaped("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(escaped("a\u{202e}b\u{2066}c"), "a\\u{202e}b\\u{2066}c");
        assert_eq!(
            escaped("a\u{200b}\u{feff}\u{e0041}"),
            "a\\u{200b}\\u{feff}\\u{e0041}"
        );
        assert_eq!(cut(b"a\xff\xc3(", 20), "a\\xff\\xc3(");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let pile = format!("a{}b\u{301}", "\u{301}".repeat(4));
        assert_eq!(escaped(&pile), "a\u{301}\u{301}\\u{301}\\u{301}b\u{301}");
    }

    #[test]
    fn a_line_is_cut_at_its_columns() {
        assert_eq!(cut(b"abcdef", 4), "abc…");
        assert_eq!(cut(b"abc", 4), "abc");
        assert_eq!(cut("日本語".as_bytes(), 5), "日本…");
        assert_eq!(cut(b"abc\x1b", 8), "abc…");
        assert_eq!(cut(b"abc", 0), "");
        assert_eq!(cut(b"", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".*", columns in 0..100usize) {
            for bytes in [&bytes, text.as_bytes()] {
                let shown = cut(bytes, columns);
                prop_assert!(!shown.chars().any(is_unsafe), "{shown:?}");
                prop_assert!(shown.width() <= columns, "{shown:?}");
            }
        }
    }
}

//! JSON that is safe on a terminal.

use std::io::{self, Write};

use franking::is_unsafe;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes a value as one line, without the end of it. An error of what it writes to stays what it is: a pipe that nobody
/// reads any more is no failure of the program.
pub(crate) fn write(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut Serializer::with_formatter(out, Safe))?)
}

/// A value as one line.
pub(crate) fn line(value: &impl Serialize) -> io::Result<String> {
    let mut out = Vec::new();
    write(&mut out, value)?;
    String::from_utf8(out).map_err(io::Error::other)
}

/// JSON may hold any character as it is; a terminal may not. So what is not safe is written as its number.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            CompactFormatter.write_string_fragment(out, &rest[..at])?;
            let mut chars = rest[at..].chars();
            for unit in chars
                .by_ref()
                .take(1)
                .flat_map(|char| char.encode_utf16(&mut [0; 2]).to_vec())
            {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(out, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_safe_is_a_number() {
        let written = line(&"a\u{202e}\u{7f}\u{1b}\u{9b}\u{e0041}é").unwrap();
        assert_eq!(written, r#""a\u202e\u007f\u001b\u009b\udb40\udc41é""#);
    }

    #[test]
    fn a_closed_pipe_is_told_as_one() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let error = write(&mut writer, &"a").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    proptest! {
        #[test]
        fn every_text_comes_back_and_none_is_unsafe(text in ".*") {
            let line = line(&text).unwrap();
            prop_assert!(!line.chars().any(is_unsafe), "{line:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}

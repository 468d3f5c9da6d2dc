//! One line of the input, made a record.

use std::fmt;

use bytes::Bytes;
use franking::{Headers, ProducerRecord, Topic};

use super::json;

/// A record as the producer takes it.
pub(super) type Outgoing = ProducerRecord<Bytes, Bytes>;

/// How lines become records.
pub(super) struct Format {
    pub(super) kind: Kind,
    /// A record with the topic and the headers that all of them have.
    pub(super) template: Outgoing,
}

/// What a line is.
pub(super) enum Kind {
    /// A value, or key, separator and value.
    Plain {
        separator: Option<Vec<u8>>,
        /// Kafka's null in the place of what is empty.
        empty_is_null: bool,
    },
    /// A JSON object.
    Json,
}

/// Why a line is not sent. It shows no value of the line, which can be confidential.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine(pub(super) String);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Format {
    pub(super) fn new(kind: Kind, topic: Topic, headers: &Headers) -> Self {
        let template = headers
            .iter()
            .fold(ProducerRecord::new(topic), |record, (name, value)| {
                record.header(name, value)
            });
        Self { kind, template }
    }

    /// The line's record; `None` for a line of JSON that is blank.
    pub(super) fn record(&self, line: &[u8]) -> Result<Option<Outgoing>, BadLine> {
        match &self.kind {
            Kind::Json if line.iter().all(u8::is_ascii_whitespace) => Ok(None),
            Kind::Json => json::record(self.template.clone(), line).map(Some),
            Kind::Plain {
                separator,
                empty_is_null,
            } => {
                let (key, value) = split(line, separator.as_deref())?;
                let there = |bytes: &&[u8]| !(*empty_is_null && bytes.is_empty());
                let mut record = self.template.clone();
                if let Some(key) = key.filter(there) {
                    record = record.key(Bytes::copy_from_slice(key));
                }
                if let Some(value) = Some(value).filter(there) {
                    record = record.value(Bytes::copy_from_slice(value));
                }
                Ok(Some(record))
            }
        }
    }
}

/// Key and value, at the first separator.
fn split<'l>(
    line: &'l [u8],
    separator: Option<&[u8]>,
) -> Result<(Option<&'l [u8]>, &'l [u8]), BadLine> {
    let Some(separator) = separator else {
        return Ok((None, line));
    };
    let at = match separator {
        // Far quicker than windows, and what nearly everybody has.
        [one] => line.iter().position(|byte| byte == one),
        _ => line
            .windows(separator.len())
            .position(|window| window == separator),
    };
    match at {
        Some(at) => Ok((Some(&line[..at]), &line[at + separator.len()..])),
        None => Err(BadLine("the key separator is not in it".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_its_first_separator() {
        let split = |line: &'static str, at: Option<&'static str>| {
            split(line.as_bytes(), at.map(str::as_bytes)).map(|(key, value)| {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                (key.map(text), text(value))
            })
        };
        assert_eq!(split("a:b:c", None), Ok((None, "a:b:c")));
        assert_eq!(split("a:b:c", Some(":")), Ok((Some("a"), "b:c")));
        assert_eq!(split("a::b:c", Some("::")), Ok((Some("a"), "b:c")));
        assert_eq!(split(":", Some(":")), Ok((Some(""), "")));
        assert!(split("abc", Some(":")).is_err());
        assert!(split("", Some("::")).is_err());
    }
}

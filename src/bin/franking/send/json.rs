//! A record as one line of JSON: an object of key, value, headers, partition and timestamp.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::line::{BadLine, Outgoing};

/// The record of a line, begun as `record`.
pub(super) fn record(mut record: Outgoing, line: &[u8]) -> Result<Outgoing, BadLine> {
    const OTHERWISE: &str = "it is no JSON object";
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(BadLine(OTHERWISE.to_owned()));
    }
    let object = parse(line, OTHERWISE)?;
    let mut seen = Vec::with_capacity(5);
    for (name, value) in object.0 {
        if seen.contains(&name) {
            return Err(BadLine(format!("{name:?} stands in it twice")));
        }
        record = match &*name {
            "key" => match bytes("key", value)? {
                Some(key) => record.key(key),
                None => record,
            },
            "value" => match bytes("value", value)? {
                Some(value) => record.value(value),
                None => record,
            },
            "partition" => match number::<i32>("partition", value)? {
                Some(partition) => record.partition(partition),
                None => record,
            },
            "timestamp" => match number::<i64>("timestamp", value)? {
                Some(millis) => record.timestamp(millis),
                None => record,
            },
            "headers" => headers(record, value)?,
            _ => {
                return Err(BadLine(format!(
                    "{name:?} is no part of a record; key, value, headers, partition and timestamp are"
                )));
            }
        };
        seen.push(name);
    }
    Ok(record)
}

fn headers(record: Outgoing, value: &RawValue) -> Result<Outgoing, BadLine> {
    if value.get() == "null" {
        return Ok(record);
    }
    let headers = parse(
        value.get().as_bytes(),
        "headers are neither an object nor a list of [name, value]",
    )?;
    headers
        .0
        .into_iter()
        .try_fold(record, |record, (name, value)| {
            Ok(record.header(&name, bytes("the value of a header", value)?))
        })
}

/// A string's text; null; or any other JSON as it is written.
fn bytes(what: &str, value: &RawValue) -> Result<Option<Bytes>, BadLine> {
    let text = value.get();
    match text.as_bytes()[0] {
        b'n' => Ok(None),
        b'"' => match serde_json::from_str::<String>(text) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(BadLine(format!("{what} is a string with half a character"))),
        },
        _ => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
    }
}

fn number<'l, T: Deserialize<'l>>(what: &str, value: &'l RawValue) -> Result<Option<T>, BadLine> {
    serde_json::from_str(value.get())
        .map_err(|_| BadLine(format!("{what} is not a whole number that Kafka takes")))
}

/// With messages of our own: serde's quote the values that they found.
fn parse<'l>(text: &'l [u8], otherwise: &str) -> Result<Pairs<'l>, BadLine> {
    serde_json::from_slice(text).map_err(|error| {
        BadLine(match error.classify() {
            Category::Data => otherwise.to_owned(),
            _ => format!("it is not JSON: see column {}", error.column()),
        })
    })
}

/// Names and values in order, from an object or from a list of pairs; a name may stand twice.
struct Pairs<'l>(Vec<(Cow<'l, str>, &'l RawValue)>);

impl<'l> Deserialize<'l> for Pairs<'l> {
    fn deserialize<D: Deserializer<'l>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'l> Visitor<'l> for InOrder {
            type Value = Pairs<'l>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and values")
            }

            fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<Pairs<'l>, A::Error> {
                let mut pairs = Vec::with_capacity(5);
                while let Some((Name(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'l>>(self, mut list: A) -> Result<Pairs<'l>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), value)) = list.next_element()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_any(InOrder)
    }
}

/// Borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'l>(#[serde(borrow)] Cow<'l, str>);

#[cfg(test)]
mod tests {
    use franking::ProducerRecord;

    use super::*;

    fn read(line: &str) -> Result<Outgoing, BadLine> {
        record(ProducerRecord::new("t"), line.as_bytes())
    }

    /// What `Debug` shows: everything but the bytes.
    fn shown(record: &Outgoing) -> String {
        format!("{record:?}")
    }

    #[test]
    fn every_member_goes_where_it_belongs() {
        let line = r#" {"timestamp": 17, "partition": 3, "key": "k", "value": {"cups": 2},
            "headers": {"a": "1", "b": null}} "#;
        let wanted = ProducerRecord::new("t")
            .key(Bytes::from("k"))
            .value(Bytes::from(r#"{"cups": 2}"#))
            .partition(3)
            .timestamp(17)
            .header("a", "1")
            .header("b", None::<&str>);
        assert_eq!(shown(&read(line).unwrap()), shown(&wanted));
    }

    #[test]
    fn bytes_are_a_strings_text_or_the_json_itself() {
        let bytes = |json: &str| {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            bytes("it", value).unwrap()
        };
        assert_eq!(bytes(r#""gr\u00fc\u00dfe""#).unwrap(), "grüße");
        assert_eq!(bytes(r#""""#).unwrap(), "");
        assert_eq!(bytes("null"), None);
        assert_eq!(bytes("1.50").unwrap(), "1.50");
        assert_eq!(bytes("[1,  2]").unwrap(), "[1,  2]");
        assert_eq!(bytes("true").unwrap(), "true");
    }

    #[test]
    fn headers_keep_order_and_doubles_in_both_forms() {
        let record = |headers: &str| {
            let line = format!(r#"{{"headers": {headers}}}"#);
            shown(&read(&line).unwrap())
        };
        let wanted = ProducerRecord::<Bytes, Bytes>::new("t")
            .header("hop", "b")
            .header("hop", "a");
        let wanted = shown(&wanted);
        assert_eq!(record(r#"[["hop", "b"], ["hop", "a"]]"#), wanted);
        assert_eq!(record(r#"{"hop": "b", "hop": "a"}"#), wanted);
        let none = shown(&ProducerRecord::<Bytes, Bytes>::new("t"));
        for empty in ["[]", "{}", "null"] {
            assert_eq!(record(empty), none);
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        for (line, said) in [
            ("hunter2", "no JSON object"),
            (r#"["key", "hunter2"]"#, "no JSON object"),
            (r#"{"value": "hunter2""#, "not JSON: see column"),
            (r#"{"vlaue": "hunter2"}"#, "\"vlaue\" is no part"),
            (
                r#"{"key": "hunter2", "key": "b"}"#,
                "\"key\" stands in it twice",
            ),
            (r#"{"partition": "hunter2"}"#, "partition is not a whole"),
            (r#"{"partition": 3000000000}"#, "partition is not a whole"),
            (r#"{"timestamp": 1.5}"#, "timestamp is not a whole"),
            (r#"{"headers": "hunter2"}"#, "headers are neither"),
            (r#"{"headers": [["hunter2"]]}"#, "headers are neither"),
            (r#"{"value": "\ud800"}"#, "value is a string with half"),
        ] {
            let BadLine(text) = read(line).unwrap_err();
            assert!(text.contains(said), "{line}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

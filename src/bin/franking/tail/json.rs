//! A record as one line of JSON.

use std::io::Write;

use franking::provenance::{Header, Provenance};
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::{BoxError, json, reading::Record};

/// How many headers a line has of a record that has more.
const MOST_HEADERS: usize = 1000;

pub(super) fn write(out: &mut impl Write, record: &Record<'_>, max: usize) -> Result<(), BoxError> {
    let headers: Vec<_> = record
        .headers
        .iter()
        .take(MOST_HEADERS)
        .map(|(name, value)| {
            (
                Bytes { bytes: name, max },
                value.map(|bytes| Bytes { bytes, max }),
            )
        })
        .collect();
    let line = Line {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(|bytes| Bytes { bytes, max }),
        value: record.value.map(|bytes| Bytes { bytes, max }),
        headers_left_out: record.headers.len() - headers.len(),
        headers,
        provenance: provenance(&record.provenance),
    };
    json::write(out, &line)?;
    Ok(out.write_all(b"\n")?)
}

#[derive(Serialize)]
struct Line<'m> {
    topic: &'m str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Bytes<'m>>,
    value: Option<Bytes<'m>>,
    headers: Vec<(Bytes<'m>, Option<Bytes<'m>>)>,
    #[serde(skip_serializing_if = "is_zero")]
    headers_left_out: usize,
    provenance: serde_json::Value,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A text; or an object with `hex`, and with `text` or `hex` and `bytes` where it was cut.
struct Bytes<'m> {
    bytes: &'m [u8],
    max: usize,
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.bytes.len();
        let shown = &self.bytes[..all.min(self.max)];
        // A character that was cut in two is left out.
        let text = match std::str::from_utf8(shown) {
            Err(error) if all > shown.len() && error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()])
            }
            text => text,
        };
        match text {
            Ok(text) if all == shown.len() => text.serialize(serializer),
            Ok(text) => json!({ "text": text, "bytes": all }).serialize(serializer),
            Err(_) if all == shown.len() => json!({ "hex": hex(shown) }).serialize(serializer),
            Err(_) => json!({ "hex": hex(shown), "bytes": all }).serialize(serializer),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn provenance(read: &Provenance<'_>) -> serde_json::Value {
    let origin: serde_json::Map<_, _> = read
        .origin
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let notes: Vec<_> = read
        .notes
        .iter()
        .map(|note| {
            json!({
                "header": note.header.map(Header::name),
                "problem": note.problem.name(),
                "count": note.count,
            })
        })
        .collect();
    let path = read.path.as_ref().map(|path| {
        let hops: Vec<_> = path
            .hops
            .iter()
            .map(|hop| {
                json!({
                    "namespace": hop.namespace,
                    "service": hop.service,
                    "topic": hop.topic,
                    "partition": hop.partition,
                    "offset": hop.offset,
                })
            })
            .collect();
        json!({ "cut": path.cut, "hops": hops })
    });
    json!({
        "id": read.id.map(|id| id.to_string()),
        "made": read.id.and_then(|id| id.millis()),
        "namespace": read.namespace(),
        "service": read.service(),
        "instance": read.instance(),
        "origin": origin,
        "number": read.sequence.as_ref().map(|sequence| sequence.number),
        "trace": read.trace.as_ref().map(|trace| json!({
            "trace_id": format!("{:032x}", trace.trace_id),
            "span_id": format!("{:016x}", trace.span_id),
            "sampled": trace.is_sampled(),
            "state": trace.members().collect::<Vec<_>>(),
        })),
        "path": path,
        "revision": read.revision,
        "marks": read.marks,
        "signature": read.signature.as_ref().map(|signature| json!({
            "key_id": signature.key_id,
            "hex": hex(&signature.bytes),
        })),
        "notes": notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], max: usize) -> String {
        json::line(&Bytes { bytes, max }).unwrap()
    }

    #[test]
    fn bytes_are_text_or_digits() {
        assert_eq!(written(b"text \"\\", 100), r#""text \"\\""#);
        assert_eq!(written(b"\xff\0", 100), r#"{"hex":"ff00"}"#);
        assert_eq!(written("aé".as_bytes(), 2), r#"{"bytes":3,"text":"a"}"#);
        assert_eq!(written(b"\xff\xff\xff", 2), r#"{"bytes":3,"hex":"ffff"}"#);
        assert_eq!(
            written("\u{202e}\u{7f}\u{1b}\u{e0041}".as_bytes(), 100),
            r#""\u202e\u007f\u001b\udb40\udc41""#
        );
    }
}

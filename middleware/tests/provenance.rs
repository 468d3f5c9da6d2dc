//! The reader against the vectors, which come from a script that has no part of it.

#![cfg(all(feature = "provenance", feature = "trace"))]

#[path = "provenance/vectors.rs"]
mod vectors;

use std::process::Command;

use franking_middleware::provenance::{Header, Note, Provenance, Reader, Writers};
use opentelemetry::trace::{TraceContextExt, TraceState};
use serde_json::{Value, json};
use vectors::{cases, headers};

/// What was read, as the vectors tell it.
fn told(read: &Provenance<'_>) -> Value {
    let mut told = json!({});
    if let Some(trace) = &read.trace {
        told["trace"] = json!({
            "trace_id": format!("{:032x}", trace.trace_id),
            "span_id": format!("{:016x}", trace.span_id),
            "flags": trace.flags,
        });
        let members: Vec<_> = trace.members().collect();
        if !members.is_empty() {
            told["trace"]["state"] = json!(members);
        }
    }
    if let Some(id) = read.id {
        told["id"] = json!({ "text": id.to_string() });
        if let Some(millis) = id.millis() {
            told["id"]["millis"] = json!(millis);
        }
    }
    if !read.origin.is_empty() {
        told["origin"] = json!(read.origin.iter().collect::<Vec<_>>());
    }
    if let Some(sequence) = &read.sequence {
        told["sequence"] = json!({ "number": sequence.number.to_string() });
        if let Some(instance) = &sequence.instance {
            told["sequence"]["instance"] = json!(instance);
        }
    }
    if let Some(path) = &read.path {
        let hops: Vec<_> = path
            .hops
            .iter()
            .map(|hop| {
                let mut told = json!({
                    "service": hop.service,
                    "topic": hop.topic,
                    "partition": hop.partition,
                    "offset": hop.offset.to_string(),
                });
                if let Some(namespace) = &hop.namespace {
                    told["namespace"] = json!(namespace);
                }
                told
            })
            .collect();
        told["path"] = json!({ "cut": path.cut, "hops": hops });
    }
    if let Some(revision) = read.revision {
        told["revision"] = json!(revision);
    }
    if !read.marks.is_empty() {
        told["marks"] = json!(read.marks);
    }
    if let Some(signature) = &read.signature {
        let hex: String = signature.bytes.iter().map(|b| format!("{b:02x}")).collect();
        told["signature"] = json!({ "key_id": signature.key_id, "hex": hex });
    }
    if !read.notes.is_empty() {
        let name = |note: &Note| note.header.map_or("", Header::name);
        let mut notes: Vec<_> = read
            .notes
            .iter()
            .map(|note| (name(note), note.problem.name(), note.count))
            .collect();
        notes.sort_unstable();
        told["notes"] = json!(notes);
    }
    told
}

/// The reader that a case asks for.
fn reader(case: &Value) -> Reader {
    let names = case["names"].as_object();
    names
        .into_iter()
        .flatten()
        .fold(Reader::new(), |reader, (ours, theirs)| {
            let header = Header::ALL.into_iter().find(|header| header.name() == ours);
            reader.name(header.unwrap(), theirs.as_str().unwrap())
        })
}

#[test]
fn every_case_is_read_as_the_script_says() {
    let mut count = 0;
    for case in cases() {
        if case.get("records").is_some() {
            continue;
        }
        let headers = headers(&case);
        let read = reader(&case).read(headers.iter().map(|(name, value)| (name, value.as_deref())));
        assert_eq!(told(&read), case["expect"], "{}", case["name"]);
        for note in read.notes.iter() {
            assert!(note.to_string().len() > 10, "{note:?}");
        }
        count += 1;
    }
    println!("{count} header blocks");
    assert!(count > 200);
}

#[test]
fn every_stream_is_counted_as_the_script_says() {
    let mut count = 0;
    for case in cases() {
        if case.get("records").is_none() {
            continue;
        }
        let mut writers = Writers::new();
        for (topic, headers) in vectors::stream(&case) {
            let headers = headers.iter().map(|(name, value)| (name, value.as_deref()));
            writers.see(&topic, &Provenance::read(headers));
        }
        let expected = &case["expect"];
        assert_eq!(
            writers.unnumbered(),
            expected["unnumbered"],
            "{}",
            case["name"]
        );
        assert_eq!(
            writers.untracked(),
            expected["untracked"],
            "{}",
            case["name"]
        );
        let mut all: Vec<_> = writers.iter().collect();
        all.sort_by_key(|writer| (writer.topic(), writer.instance()));
        if let Some(number) = expected["writers"].as_u64() {
            assert_eq!(all.len() as u64, number, "{}", case["name"]);
        } else {
            let told: Vec<_> = all
                .iter()
                .map(|writer| {
                    let mut told = json!({
                        "topic": writer.topic(),
                        "instance": writer.instance(),
                        "records": writer.records(),
                        "first": writer.first().to_string(),
                        "last": writer.last().to_string(),
                        "missing": writer.missing().to_string(),
                        "duplicates": writer.duplicates(),
                    });
                    let gaps: Vec<_> = writer
                        .gaps()
                        .map(|gap| [gap.start().to_string(), gap.end().to_string()])
                        .collect();
                    if gaps.len() <= 16 {
                        told["gaps"] = json!(gaps);
                    }
                    told
                })
                .collect();
            assert_eq!(json!(told), expected["writers"], "{}", case["name"]);
        }
        count += 1;
    }
    println!("{count} streams");
    assert!(count > 10);
}

/// OpenTelemetry's context is the one that the headers name, with its state where OpenTelemetry takes it.
#[test]
fn the_context_goes_on_in_opentelemetry() {
    let (mut contexts, mut states) = (0, 0);
    for case in cases() {
        let headers = headers(&case);
        let read = reader(&case).read(headers.iter().map(|(name, value)| (name, value.as_deref())));
        let Some(trace) = &read.trace else { continue };
        let context = trace.context();
        let span = context.span();
        let remote = span.span_context();
        assert!(remote.is_valid() && remote.is_remote(), "{}", case["name"]);
        let expected = &case["expect"]["trace"];
        assert_eq!(remote.trace_id().to_string(), expected["trace_id"]);
        assert_eq!(remote.span_id().to_string(), expected["span_id"]);
        let flags = expected["flags"].as_u64().unwrap();
        assert_eq!(u64::from(remote.trace_flags().to_u8()), flags & 1);
        let members: Vec<(&str, &str)> = trace.members().collect();
        match TraceState::from_key_value(members.iter().copied()) {
            Ok(state) => {
                assert_eq!(*remote.trace_state(), state, "{}", case["name"]);
                states += u32::from(!members.is_empty());
            }
            Err(error) => assert_eq!(*remote.trace_state(), TraceState::NONE, "{error}"),
        }
        contexts += 1;
    }
    println!("{contexts} contexts, {states} with a state");
    assert!(contexts > 30 && states > 8);
}

/// A reader that is fed the worst holds little: what it allocates does not grow with what it is given.
#[test]
fn hostile_headers_take_little_memory() {
    let mut most = (0, String::new());
    for case in cases() {
        let headers = headers(&case);
        let reader = reader(&case);
        let pairs = headers.iter().map(|(name, value)| (name, value.as_deref()));
        let allocated = allocation_counter::measure(|| {
            std::hint::black_box(reader.read(pairs));
        });
        if allocated.bytes_max > most.0 {
            most = (allocated.bytes_max, case["name"].to_string());
        }
    }
    println!("at most {} bytes, for {}", most.0, most.1);
    assert!(most.0 > 0 && most.0 < 64 * 1024, "{most:?}");
}

/// Whoever changes the script or the file alone hears of it.
#[test]
fn the_script_makes_the_same_file() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/provenance-vectors");
    let output = match Command::new("python3").arg(script).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI has python3: {error}");
            println!("no python3 here, so the script was not run: {error}");
            return;
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        output.stdout == vectors::TEXT.as_bytes(),
        "run scripts/provenance-vectors > tests/vectors/provenance.json"
    );
}

//! The reader of what the layers wrote, on any headers. What holds for every input is in the module's docs; and what was
//! read, written as the schema has it and read again, is the same without a complaint.
#![no_main]

mod input;

use std::collections::HashSet;

use franking::middleware::provenance::{Header, Hop, Problem, Provenance, Reader};
use libfuzzer_sys::fuzz_target;

type Headers<'d> = Vec<(&'d str, Option<&'d [u8]>)>;

fuzz_target!(|data: &[u8]| {
    let names = Header::ALL.map(Header::name);
    let headers = input::headers(data, &names);
    let read = Provenance::read(headers.iter().copied());
    bounded(&read);
    others_do_not_count(&headers, &read);
    the_last_one_counts(&headers, &read);
    its_name_is_what_the_reader_says(&headers, &read);
    reads_again(&read);
});

fn bounded(read: &Provenance<'_>) {
    assert!(read.origin.len() <= 64);
    assert!(read.marks.len() <= 32);
    assert!(read.path.as_ref().is_none_or(|path| path.hops.len() <= 8));
    assert!(read.trace.is_none_or(|trace| trace.members().count() <= 32));
    // Names of attributes are there once, and a note is one for a header and a problem.
    let attributes: HashSet<_> = read.origin.iter().map(|(name, _)| name).collect();
    assert_eq!(attributes.len(), read.origin.len());
    let notes: HashSet<_> = read
        .notes
        .iter()
        .map(|note| (note.header, note.problem))
        .collect();
    assert_eq!(notes.len(), read.notes.len());
    for note in read.notes.iter() {
        assert!(note.count > 0);
        // Notes are shown: nothing of the headers' own text is in them.
        assert!(
            note.to_string()
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~'))
        );
    }
    if let Some(trace) = &read.trace {
        assert!(trace.trace_id != 0 && trace.span_id != 0);
    }
    if let Some(sequence) = &read.sequence {
        assert!(sequence.number > 0);
        assert!(sequence.instance.as_deref() != Some(""));
    }
    for hop in read.path.iter().flat_map(|path| &path.hops) {
        assert!(!hop.service.is_empty() && hop.namespace.as_deref() != Some(""));
        assert!(hop.partition >= 0 && hop.offset >= 0);
    }
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(
        read.marks
            .iter()
            .chain(&read.revision)
            .all(|text| visible(text))
    );
}

fn others_do_not_count(headers: &Headers, read: &Provenance<'_>) {
    let others = [
        ("x-other", Some(&b"\xff"[..])),
        ("", None),
        ("PROV-ID", Some(b"1")),
    ];
    let both = headers.iter().copied().chain(others);
    assert_eq!(Provenance::read(both), *read);
}

fn the_last_one_counts(headers: &Headers, read: &Provenance<'_>) {
    let Some((name, _)) = headers.iter().find(|(name, _)| *name != "x-other") else {
        return;
    };
    let before = [(*name, Some(&b"of nobody"[..]))].into_iter();
    let mut again = Provenance::read(before.chain(headers.iter().copied()));
    assert!(
        again
            .notes
            .iter()
            .any(|note| note.problem == Problem::Repeated)
    );
    again.notes = read.notes.clone();
    assert_eq!(again, *read);
}

fn its_name_is_what_the_reader_says(headers: &Headers, read: &Provenance<'_>) {
    let mapped = headers
        .iter()
        .map(|(name, value)| (format!("acme-{name}"), *value));
    let reader = Header::ALL
        .into_iter()
        .fold(Reader::new(), |reader, header| {
            reader.name(header, format!("acme-{}", header.name()))
        });
    assert_eq!(reader.read(mapped), *read);
    assert!(reader.read(headers.iter().copied()).is_empty());
}

fn reads_again(read: &Provenance<'_>) {
    let mut written: Vec<(&str, String)> = Vec::new();
    if let Some(trace) = read.trace {
        let (trace_id, span_id, flags) = (trace.trace_id, trace.span_id, trace.flags);
        written.push((
            "traceparent",
            format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}"),
        ));
        let members: Vec<_> = trace
            .members()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        written.push(("tracestate", members.join(",")));
    }
    if let Some(id) = read.id {
        written.push(("prov-id", id.to_string()));
    }
    let attributes: Vec<_> = read
        .origin
        .iter()
        .map(|(name, value)| encoded(name) + "=" + &encoded(value))
        .collect();
    written.push(("prov-origin", attributes.join(",")));
    if let Some(sequence) = &read.sequence {
        let instance = sequence
            .instance
            .as_deref()
            .map_or(String::new(), |instance| {
                "@".to_owned() + &encoded(instance)
            });
        written.push(("prov-seq", sequence.number.to_string() + &instance));
    }
    if let Some(path) = &read.path {
        let hops: Vec<_> = path
            .hops
            .iter()
            .map(|hop| {
                let namespace = hop
                    .namespace
                    .as_deref()
                    .map_or(String::new(), |name| encoded(name) + "/");
                let service = encoded(&hop.service);
                format!(
                    "{namespace}{service}@{}-{}:{}",
                    hop.topic, hop.partition, hop.offset
                )
            })
            .collect();
        written.push((
            "prov-path",
            (if path.cut { "…;" } else { "" }).to_owned() + &hops.join(";"),
        ));
    }
    written.push(("prov-rev", read.revision.unwrap_or_default().to_owned()));
    written.push(("prov-mark", read.marks.join(",")));
    if let Some(signature) = &read.signature {
        let text = format!(
            "v1;kid={};{}",
            signature.key_id,
            base64url(&signature.bytes)
        );
        written.push(("prov-sig", text));
    }
    written.retain(|(_, value)| !value.is_empty());
    // A path of nothing but what could not be read has nothing to write.
    written.retain(|(_, value)| value != "…;");

    let again = Provenance::read(
        written
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes()))),
    );
    // Encoded, a value can be longer than is read. An attribute without a name cannot be written.
    let longest = written
        .iter()
        .map(|(_, value)| value.len())
        .max()
        .unwrap_or(0);
    if longest > 8192 || read.origin.iter().any(|(name, _)| name.is_empty()) {
        return;
    }
    let allowed = [Problem::Version, Problem::Duplicate];
    let notes: Vec<_> = again
        .notes
        .iter()
        .filter(|note| !allowed.contains(&note.problem))
        .collect();
    assert!(notes.is_empty(), "{notes:?} of {written:?}");
    assert_eq!(
        again.trace.map(|it| (it.trace_id, it.span_id, it.flags)),
        read.trace.map(|it| (it.trace_id, it.span_id, it.flags))
    );
    let members = |read: &Provenance<'_>| -> Vec<_> {
        read.trace
            .iter()
            .flat_map(|trace| trace.members())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    assert_eq!(members(&again), members(read));
    assert_eq!((again.id, again.revision), (read.id, read.revision));
    assert_eq!(
        (&again.origin, &again.sequence),
        (&read.origin, &read.sequence)
    );
    assert_eq!(
        (&again.marks, &again.signature),
        (&read.marks, &read.signature)
    );
    let (hops, hops_again) = (hops(read), hops(&again));
    assert!(hops_again == hops, "{hops_again:?} of {written:?}");
}

fn hops<'r, 'h>(read: &'r Provenance<'h>) -> &'r [Hop<'h>] {
    read.path.as_ref().map_or(&[], |path| &path.hops)
}

/// Percent-encodes all but letters and digits: more than is needed, and always allowed.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02x}"),
        })
        .collect()
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |bits: usize| char::from(DIGITS[bits & 63]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three.map(usize::from);
        let four = [a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, c];
        text.extend(four[..=chunk.len()].iter().map(|bits| digit(*bits)));
    }
    text
}

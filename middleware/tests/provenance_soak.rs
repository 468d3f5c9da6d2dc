//! Header blocks that somebody broke: whatever is in them, the reader reads on.
//!
//! 30,000 in plain tests; `FRANKING_SOAK=1` makes it a million. `FRANKING_SEED` repeats a run.

#![cfg(all(feature = "provenance", feature = "trace"))]

#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/support/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "provenance/vectors.rs"]
mod vectors;

use franking_middleware::provenance::{Block, Provenance, Writers};
use random::Random;
use vectors::Headers;

/// Kafka's encoding of a number.
fn varint(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn encode(headers: &Headers) -> Vec<u8> {
    let mut wire = vec![];
    varint(headers.len() as i64, &mut wire);
    for (name, value) in headers {
        varint(name.len() as i64, &mut wire);
        wire.extend(name);
        match value {
            Some(value) => {
                varint(value.len() as i64, &mut wire);
                wire.extend(value);
            }
            None => varint(-1, &mut wire),
        }
    }
    wire
}

/// What means something somewhere, and what hurts careless readers.
const PIECES: [&[u8]; 24] = [
    b"",
    b"\0",
    b"%",
    b"%f",
    b"%ff",
    b",",
    b"=",
    b";",
    b"@",
    b"-",
    b":",
    b"/",
    b"0",
    b"18446744073709551616",
    b"-1",
    "…;".as_bytes(),
    "é".as_bytes(),
    b"\xff",
    b"\xe2\x80",
    b"\x1b[2J",
    b" ",
    b"\t",
    b"v1;kid=",
    b"00-",
];

/// Changes a text in one place.
fn hurt(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len() as u64 + 1) as usize;
    let end = at + random.below((text.len() - at) as u64 + 1) as usize;
    let piece = PIECES[random.below(PIECES.len() as u64) as usize];
    match random.below(6) {
        0 => drop(text.splice(at..at, piece.iter().copied())),
        1 => drop(text.splice(at..end, piece.iter().copied())),
        2 => drop(text.drain(at..end)),
        3 => {
            let part = text[at..end].to_vec();
            let times = random.below(40) as usize;
            drop(text.splice(at..at, part.repeat(times)));
        }
        4 if at < text.len() => text[at] = random.below(256) as u8,
        _ if at < text.len() => text[at] ^= 1 << random.below(8),
        _ => text.push(random.below(256) as u8),
    }
}

/// Changes the headers and leaves a block that is one.
fn hurt_headers(headers: &mut Headers, random: &mut Random) {
    if headers.is_empty() {
        return;
    }
    let at = random.below(headers.len() as u64) as usize;
    let other = random.below(headers.len() as u64) as usize;
    match random.below(10) {
        0 => headers[at].1 = None,
        1 => {
            let again = headers[at].clone();
            headers.insert(other, again);
        }
        2 => headers[at].1 = headers[other].1.clone(),
        3 => hurt(&mut headers[at].0, random),
        _ => match &mut headers[at].1 {
            Some(value) => hurt(value, random),
            None => headers[at].1 = Some(vec![]),
        },
    }
}

#[test]
fn a_million_malformed_blocks_do_not_make_it_panic() {
    let wanted = match std::env::var("FRANKING_SOAK").as_deref() {
        Ok("1") => 1_000_000,
        _ => 30_000,
    };
    let sources: Vec<Headers> = vectors::cases()
        .iter()
        .filter(|case| case["class"] == "valid" && case.get("records").is_none())
        .map(vectors::headers)
        .filter(|headers| (1..100).contains(&headers.len()))
        .collect();
    assert!(sources.len() > 50);
    let mut random = Random::new();
    let mut writers = Writers::with_capacity(100);
    let (mut malformed, mut framed, mut harmless, mut notes) = (0u64, 0u64, 0u64, 0u64);
    while malformed < wanted {
        let mut headers = sources[random.below(sources.len() as u64) as usize].clone();
        let within = random.below(4);
        for _ in 0..within {
            hurt_headers(&mut headers, &mut random);
        }
        let mut wire = encode(&headers);
        if within == 0 || random.below(4) == 0 {
            hurt(&mut wire, &mut random);
        }
        let Ok(pairs) = Block::new(&wire).collect::<Result<Vec<_>, _>>() else {
            malformed += 1;
            continue;
        };
        let read = Provenance::read(pairs.iter().copied());
        if read.notes.is_empty() {
            // Changed, and right all the same.
            harmless += 1;
            continue;
        }
        malformed += 1;
        framed += 1;
        notes += read.notes.len() as u64;
        look_at(&read, &mut writers);
        assert_eq!(read, Provenance::read(pairs), "twice the same");
    }
    let share = framed * 100 / malformed;
    println!(
        "{malformed} malformed blocks, {framed} ({share} %) pass framing and have {notes} notes; {harmless} more were harmless; no panic"
    );
    assert!(share >= 30, "{share} % pass framing");
}

/// Uses everything that was read, within the bounds that are promised.
fn look_at(read: &Provenance<'_>, writers: &mut Writers) {
    assert!(read.notes.len() <= 40, "{:?}", read.notes);
    for note in read.notes.iter() {
        assert!(
            note.count > 0 && !note.to_string().contains('\x1b'),
            "{note:?}"
        );
    }
    if let Some(trace) = &read.trace {
        assert!(trace.span_context().is_valid());
        assert!(trace.members().count() <= 32);
    }
    if let Some(id) = read.id {
        assert_eq!(id.to_string().len(), 36);
        assert!(id.millis().is_none_or(|millis| millis < 1 << 48));
    }
    assert!(read.origin.len() <= 64);
    if let Some(path) = &read.path {
        assert!(path.hops.len() <= 8);
        assert!(
            path.hops
                .iter()
                .all(|hop| hop.partition >= 0 && hop.offset >= 0)
        );
    }
    assert!(read.marks.len() <= 32);
    assert!(
        read.sequence
            .as_ref()
            .is_none_or(|sequence| sequence.number > 0)
    );
    writers.see("t", read);
    let tracked: u64 = writers.iter().map(|writer| writer.records()).sum();
    assert!(tracked > 0 || writers.unnumbered() > 0);
}

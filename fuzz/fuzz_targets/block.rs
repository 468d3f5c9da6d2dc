//! The checked reader of Kafka's wire encoding of headers, on any bytes.
#![no_main]

use franking::middleware::provenance::Block;
use libfuzzer_sys::fuzz_target;

type Pair<'w> = (&'w [u8], Option<&'w [u8]>);

fuzz_target!(|wire: &[u8]| {
    let mut block = Block::new(wire);
    let mut pairs: Vec<Pair> = Vec::new();
    let mut end = Ok(());
    for header in block.by_ref() {
        match header {
            Ok(pair) => pairs.push(pair),
            Err(error) => end = Err(error),
        }
    }
    // After an error there is nothing more, and a header takes two bytes at least.
    assert!(block.next().is_none());
    assert!(pairs.len() <= wire.len() / 2);
    let taken = |(name, value): &Pair| name.len() + value.map_or(0, <[u8]>::len);
    assert!(pairs.iter().map(taken).sum::<usize>() <= wire.len());

    if end.is_ok() {
        // Written anew it reads the same. The bytes may differ: a length can be written with more of them than it needs.
        let written = write(&pairs);
        assert!(written.len() <= wire.len());
        let read: Result<Vec<_>, _> = Block::new(&written).collect();
        assert_eq!(read.as_deref(), Ok(&*pairs));
        // No part of it is whole, nor is it with something behind it.
        assert!(Block::new(&written[..written.len() - 1]).any(|header| header.is_err()));
        assert!(Block::new(&[&*written, b"!"].concat()).any(|header| header.is_err()));
    }
});

fn write(pairs: &[Pair]) -> Vec<u8> {
    let mut wire = Vec::new();
    put(&mut wire, pairs.len() as i64);
    for (name, value) in pairs {
        put(&mut wire, name.len() as i64);
        wire.extend_from_slice(name);
        put(&mut wire, value.map_or(-1, |value| value.len() as i64));
        wire.extend_from_slice(value.unwrap_or_default());
    }
    wire
}

/// A zigzag varint.
fn put(wire: &mut Vec<u8>, number: i64) {
    let mut rest = if number < 0 {
        -2 * number - 1
    } else {
        2 * number
    };
    while rest > 127 {
        wire.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    wire.push(rest as u8);
}

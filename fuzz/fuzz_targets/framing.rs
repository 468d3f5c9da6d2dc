//! What stands before a payload in the registry's format: a byte 0, the schema's id, and which of the schema's messages it
//! is. A reader of the target's own takes it apart again. And messages are found in any descriptors.
#![no_main]

use franking::{
    Headers, Serializer,
    serializers::{MessageIndexes, ProtobufSerializer, registry::SchemaIds},
};
use libfuzzer_sys::fuzz_target;
use prost::{Message, Name};
use prost_types::{DescriptorProto, FileDescriptorSet};

// The schema's id, how long the path is, the path, and the rest is both a text and descriptors.
fuzz_target!(|data: &[u8]| {
    let Some((&[a, b, c, d, length], mut rest)) = data.split_first_chunk() else {
        return;
    };
    let mut path = Vec::new();
    for _ in 0..length % 8 {
        let Some((index, behind)) = rest.split_first_chunk() else {
            return;
        };
        path.push(u32::from_be_bytes(*index));
        rest = behind;
    }
    framed(
        u32::from_be_bytes([a, b, c, d]),
        &path,
        &String::from_utf8_lossy(rest),
    );
    found::<Top>(rest);
    found::<Deep>(rest);
    found::<Bare>(rest);
});

#[derive(Clone, PartialEq, Message)]
struct Note {
    #[prost(string, tag = "1")]
    text: String,
}

fn framed(id: u32, path: &[u32], text: &str) {
    if path.is_empty() {
        return;
    }
    let message = Note { text: text.into() };
    let ids = SchemaIds::fixed(id);
    let serializer = ProtobufSerializer::new().with_ids(ids.clone(), MessageIndexes::new(path));
    let mut headers = Headers::new();
    let bytes = serializer.serialize("orders", &mut headers, message.clone());
    let bytes = bytes.expect("a message serializes").expect("not to null");
    assert!(headers.is_empty());

    let mut rest = &bytes[..];
    assert_eq!(take(&mut rest, 1), [0]);
    assert_eq!(take(&mut rest, 4), id.to_be_bytes());
    assert_eq!(
        ids.frame("orders").as_ref().map(|frame| &frame[..]),
        Ok(&bytes[..5])
    );
    let read: Vec<u64> = match varint(&mut rest) {
        // The first message of all, in one byte.
        0 => vec![0],
        count => (0..count).map(|_| varint(&mut rest)).collect(),
    };
    assert!(read.iter().copied().eq(path.iter().copied().map(u64::from)));
    assert_eq!(path == [0], bytes[5] == 0);
    assert_eq!(Note::decode(rest).as_ref(), Ok(&message));
    assert_eq!(
        ProtobufSerializer::new()
            .serialize("t", &mut headers, message)
            .unwrap()
            .as_deref(),
        Some(rest)
    );
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (taken, behind) = rest.split_at(count);
    *rest = behind;
    taken
}

/// A zigzag varint that is no less than 0, in as few bytes as can be.
fn varint(rest: &mut &[u8]) -> u64 {
    let length = 1 + rest.iter().take_while(|byte| **byte >= 0x80).count();
    let bytes = take(rest, length);
    assert!(length == 1 || bytes[length - 1] != 0, "a byte too many");
    let zigzag = bytes
        .iter()
        .rev()
        .fold(0, |number: u64, byte| number << 7 | u64::from(byte & 0x7f));
    assert_eq!(zigzag % 2, 0, "below 0");
    zigzag / 2
}

macro_rules! named {
    ($name:ident, $package:literal, $path:literal) => {
        #[derive(Clone, PartialEq, Message)]
        struct $name {}
        impl Name for $name {
            const NAME: &'static str = $path;
            const PACKAGE: &'static str = $package;
            fn full_name() -> String {
                [$package, $path].join(".").trim_start_matches('.').into()
            }
        }
    };
}
named!(Top, "shop", "Order");
named!(Deep, "shop", "Order.Line.Price");
named!(Bare, "", "Order");

/// The place that is given is one where a message of this name lies; and if there is one, a place is given.
fn found<M: Name>(descriptors: &[u8]) {
    let indexes = MessageIndexes::of::<M>(descriptors);
    let Ok(set) = FileDescriptorSet::decode(descriptors) else {
        assert!(indexes.is_err());
        return;
    };
    let mut names = Vec::new();
    let mut places = Vec::new();
    for (at, file) in set.file.iter().enumerate() {
        let prefix = match file.package() {
            "" => String::new(),
            package => package.to_owned() + ".",
        };
        walk(&prefix, &[], &file.message_type, &mut |name, path| {
            if name == M::full_name() {
                places.push(MessageIndexes::new(path));
            }
            names.push((at, name.to_owned()));
        });
    }
    // Each has a name of its own, without a dot: what `protoc` takes.
    let is_proto = {
        let count = names.len();
        names.sort();
        names.dedup();
        names.len() == count && !has_dots(set.file.iter().flat_map(|file| &file.message_type))
    };
    match indexes {
        Ok(indexes) => assert!(
            places.contains(&indexes),
            "{indexes:?} is none of {places:?}"
        ),
        Err(_) => assert!(places.is_empty() || !is_proto, "it is at {places:?}"),
    }
}

fn has_dots<'m>(messages: impl IntoIterator<Item = &'m DescriptorProto>) -> bool {
    let mut messages = messages.into_iter();
    messages.any(|message| message.name().contains('.') || has_dots(&message.nested_type))
}

fn walk(
    prefix: &str,
    path: &[u32],
    messages: &[DescriptorProto],
    see: &mut impl FnMut(&str, &[u32]),
) {
    for (at, message) in messages.iter().enumerate() {
        let name = prefix.to_owned() + message.name();
        let path = [path, &[at as u32]].concat();
        see(&name, &path);
        walk(&(name + "."), &path, &message.nested_type, see);
    }
}

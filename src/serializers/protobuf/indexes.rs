//! Which message of its file a record holds.

use prost::{Message, Name};
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::serializers::registry::SchemaError;

/// Which of a `.proto` file's messages it is: the message's place in the file, counted from 0, then its place among the
/// messages that are defined within that one, and so on.
///
/// In `message A {}  message B { message C {}  message D {} }`, `A` is `[0]` and `D` is `[1, 1]`. Readers that decode by the
/// schema read garbage if it is wrong, so rather than count, let [`of`](Self::of) look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageIndexes(Vec<u8>);

impl MessageIndexes {
    /// The message at this place.
    ///
    /// # Panics
    /// If the path is empty, which no message has.
    pub fn new(path: &[u32]) -> Self {
        assert!(!path.is_empty(), "a message has a place in its file");
        if path == [0] {
            // The commonest of all is one byte: an empty list.
            return Self(vec![0]);
        }
        let mut encoded = Vec::new();
        put_varint(&mut encoded, path.len() as u64);
        for index in path {
            put_varint(&mut encoded, u64::from(*index));
        }
        Self(encoded)
    }

    /// What stands between the schema's id and the message.
    pub(super) fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// The place of this message, from the descriptors that `prost-build` writes (`file_descriptor_set_path`).
    ///
    /// # Errors
    /// These are no descriptors, or the message is not in them.
    pub fn of<M: Name>(descriptors: &[u8]) -> Result<Self, SchemaError> {
        let wanted = M::full_name();
        let set = FileDescriptorSet::decode(descriptors)
            .map_err(|error| SchemaError::invalid(error.to_string()))?;
        let path = set
            .file
            .iter()
            .find_map(|file| place(&file.message_type, scope(file, &wanted)?));
        match path {
            Some(path) => Ok(Self::new(&path)),
            None => Err(SchemaError::invalid(format!(
                "the message {wanted} is not in these descriptors"
            ))),
        }
    }
}

/// The message's name within this file, if that has its package.
fn scope<'n>(file: &FileDescriptorProto, full_name: &'n str) -> Option<&'n str> {
    match file.package() {
        "" => Some(full_name),
        package => full_name.strip_prefix(package)?.strip_prefix('.'),
    }
}

/// The place among these messages, and those within them, of the one with this name.
fn place(messages: &[DescriptorProto], name: &str) -> Option<Vec<u32>> {
    let (outer, inner) = match name.split_once('.') {
        Some((outer, inner)) => (outer, Some(inner)),
        None => (name, None),
    };
    let at = messages.iter().position(|it| it.name() == outer)?;
    let mut path = vec![u32::try_from(at).ok()?];
    if let Some(inner) = inner {
        path.extend(place(&messages[at].nested_type, inner)?);
    }
    Some(path)
}

/// As Avro and Kafka write signed numbers: zigzag, low bits first.
fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut zigzag = value << 1;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published with Confluent's client for Python (`test_index_encoder`).
    #[test]
    fn indexes_as_published() {
        for (path, expected) in [
            (&[0][..], &[0x00][..]),
            (&[1], &[0x02, 0x02]),
            (&[127, 8, 9], &[0x06, 0xfe, 0x01, 0x10, 0x12]),
            (&[128], &[0x02, 0x80, 0x02]),
        ] {
            assert_eq!(MessageIndexes::new(path).0, expected, "{path:?}");
        }
    }

    #[test]
    fn indexes_are_found_by_name() {
        fn message(name: &str, nested: Vec<DescriptorProto>) -> DescriptorProto {
            DescriptorProto {
                name: Some(name.into()),
                nested_type: nested,
                ..Default::default()
            }
        }
        fn file(package: Option<&str>, messages: Vec<DescriptorProto>) -> FileDescriptorProto {
            FileDescriptorProto {
                package: package.map(Into::into),
                message_type: messages,
                ..Default::default()
            }
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
        named!(First, "shop", "First");
        named!(Inner, "shop", "Second.Inner");
        named!(Deep, "shop.orders", "Deep");
        named!(Bare, "", "Bare");
        named!(Missing, "shop", "Missing");
        let set = FileDescriptorSet {
            file: vec![
                file(Some("shop.orders"), vec![message("Deep", vec![])]),
                file(
                    Some("shop"),
                    vec![
                        message("First", vec![]),
                        message(
                            "Second",
                            vec![message("Other", vec![]), message("Inner", vec![])],
                        ),
                    ],
                ),
                file(
                    None,
                    vec![message("Wrong", vec![]), message("Bare", vec![])],
                ),
            ],
        }
        .encode_to_vec();
        let new = |path: &[u32]| MessageIndexes::new(path);
        assert_eq!(MessageIndexes::of::<First>(&set).unwrap(), new(&[0]));
        assert_eq!(MessageIndexes::of::<Inner>(&set).unwrap(), new(&[1, 1]));
        assert_eq!(MessageIndexes::of::<Deep>(&set).unwrap(), new(&[0]));
        assert_eq!(MessageIndexes::of::<Bare>(&set).unwrap(), new(&[1]));
        let error = MessageIndexes::of::<Missing>(&set).unwrap_err().to_string();
        assert!(error.contains("shop.Missing"), "{error}");
        assert!(MessageIndexes::of::<First>(b"no descriptors").is_err());
    }
}

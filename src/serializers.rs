//! The first serializers: text, bytes, integers, JSON. A closure is one too, see [`Serializer`].

use std::any::Any;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use franking_core::{BoxError, Headers, Serializer};
use serde::Serialize;

/// Text as UTF-8, without a copy for a `String`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerializer;

impl Serializer<String> for StringSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: String) -> Result<Bytes, BoxError> {
        Ok(value.into())
    }
}

impl Serializer<&'static str> for StringSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: &'static str) -> Result<Bytes, BoxError> {
        Ok(Bytes::from_static(value.as_bytes()))
    }
}

/// Bytes as they are, without a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerializer;

impl Serializer<Bytes> for BytesSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: Bytes) -> Result<Bytes, BoxError> {
        Ok(value)
    }
}

impl Serializer<Vec<u8>> for BytesSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: Vec<u8>) -> Result<Bytes, BoxError> {
        Ok(value.into())
    }
}

/// `i32` as four bytes, big-endian, as Java's `IntegerSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct I32Serializer;

impl Serializer<i32> for I32Serializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: i32) -> Result<Bytes, BoxError> {
        Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
    }
}

/// `i64` as eight bytes, big-endian, as Java's `LongSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct I64Serializer;

impl Serializer<i64> for I64Serializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: i64) -> Result<Bytes, BoxError> {
        Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
    }
}

/// Anything that serde can serialize, as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

impl<T: Serialize> Serializer<T> for JsonSerializer {
    fn serialize(&self, _: &str, _: &mut Headers, value: T) -> Result<Bytes, BoxError> {
        // Most events are small; a larger one grows the buffer.
        let mut out = BytesMut::with_capacity(128).writer();
        serde_json::to_writer(&mut out, &value)?;
        Ok(out.into_inner().freeze())
    }
}

/// Names under which `key.serializer` and `value.serializer` find a serializer, with those of Java's classes.
const NAMES: &[(&str, &str)] = &[
    (
        "string",
        "org.apache.kafka.common.serialization.StringSerializer",
    ),
    (
        "bytes",
        "org.apache.kafka.common.serialization.ByteArraySerializer",
    ),
    (
        "i32",
        "org.apache.kafka.common.serialization.IntegerSerializer",
    ),
    (
        "i64",
        "org.apache.kafka.common.serialization.LongSerializer",
    ),
];

/// Finds the serializer that a property names, for this type.
///
/// # Errors
/// What is wrong, in words for a [`Problem`](crate::config::Problem): what it is, and what to write.
pub(crate) fn by_name<T: 'static>(name: &str) -> Result<Arc<dyn Serializer<T>>, (String, String)> {
    let short = NAMES
        .iter()
        .find(|(short, class)| name == *short || name == *class)
        .map(|(short, _)| *short);
    let found: Vec<Box<dyn Any>> = match short {
        Some("string") => vec![
            Box::new(Arc::new(StringSerializer) as Arc<dyn Serializer<String>>),
            Box::new(Arc::new(StringSerializer) as Arc<dyn Serializer<&'static str>>),
        ],
        Some("bytes") => vec![
            Box::new(Arc::new(BytesSerializer) as Arc<dyn Serializer<Bytes>>),
            Box::new(Arc::new(BytesSerializer) as Arc<dyn Serializer<Vec<u8>>>),
        ],
        Some("i32") => vec![Box::new(Arc::new(I32Serializer) as Arc<dyn Serializer<i32>>)],
        Some("i64") => vec![Box::new(Arc::new(I64Serializer) as Arc<dyn Serializer<i64>>)],
        _ => {
            let names: Vec<_> = NAMES.iter().map(|(short, _)| *short).collect();
            return Err((
                format!("no serializer has the name `{name}`"),
                format!(
                    "one of {}; JSON and your own are given in code",
                    names.join(", ")
                ),
            ));
        }
    };
    found
        .into_iter()
        .find_map(|serializer| serializer.downcast::<Arc<dyn Serializer<T>>>().ok())
        .map(|serializer| *serializer)
        .ok_or_else(|| {
            (
                format!(
                    "the serializer `{name}` does not take {}",
                    std::any::type_name::<T>()
                ),
                "a serializer of that type, or give one in code".to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T>(serializer: impl Serializer<T>, value: T) -> Bytes {
        serializer
            .serialize("t", &mut Headers::new(), value)
            .unwrap()
    }

    #[test]
    fn writes_what_java_reads() {
        assert_eq!(
            bytes(StringSerializer, "grüße".to_owned()),
            "grüße".as_bytes()
        );
        assert_eq!(bytes(I32Serializer, -2), &[255, 255, 255, 254][..]);
        assert_eq!(bytes(I64Serializer, 258), &[0, 0, 0, 0, 0, 0, 1, 2][..]);
        assert_eq!(bytes(JsonSerializer, vec![1, 2]), "[1,2]");
        assert_eq!(bytes(BytesSerializer, vec![0u8, 1]), &[0, 1][..]);
    }

    #[test]
    fn json_that_cannot_be_written_is_an_error() {
        let map = std::collections::HashMap::from([(vec![1], 1)]);
        let result = JsonSerializer.serialize("t", &mut Headers::new(), map);
        assert!(result.is_err());
    }

    #[test]
    fn finds_by_name_and_type() {
        assert!(by_name::<String>("string").is_ok());
        assert!(by_name::<Vec<u8>>("bytes").is_ok());
        assert!(by_name::<i64>("org.apache.kafka.common.serialization.LongSerializer").is_ok());
        let (wrong_type, _) = by_name::<i64>("i32").err().unwrap();
        assert!(wrong_type.contains("i64"), "{wrong_type}");
        let (_, instead) = by_name::<String>("avro").err().unwrap();
        assert!(instead.contains("string, bytes"), "{instead}");
    }
}

//! The names under which `key.serializer` and `value.serializer` find a serializer.

use std::{
    any::{Any, type_name},
    sync::Arc,
};

use franking_core::Serializer;

use super::{
    BoolSerializer, BytesSerializer, F32Serializer, F64Serializer, I16Serializer, I32Serializer,
    I64Serializer, StringSerializer, UnitSerializer,
};

/// Short names, and Java's classes in `org.apache.kafka.common.serialization`.
const NAMES: &[(&str, &[&str])] = &[
    ("string", &["StringSerializer"]),
    (
        "bytes",
        &[
            "ByteArraySerializer",
            "BytesSerializer",
            "ByteBufferSerializer",
        ],
    ),
    ("bool", &["BooleanSerializer"]),
    ("i16", &["ShortSerializer"]),
    ("i32", &["IntegerSerializer"]),
    ("i64", &["LongSerializer"]),
    ("f32", &["FloatSerializer"]),
    ("f64", &["DoubleSerializer"]),
    ("uuid", &["UUIDSerializer"]),
    ("unit", &["VoidSerializer"]),
];

/// Finds the serializer that a property names, for this type.
///
/// # Errors
/// What is wrong, in words for a [`Problem`](crate::config::Problem): what it is, and what to write.
pub(crate) fn by_name<T: 'static>(name: &str) -> Result<Arc<dyn Serializer<T>>, (String, String)> {
    let class = name.strip_prefix("org.apache.kafka.common.serialization.");
    let short = NAMES
        .iter()
        .find(|(short, classes)| *short == name || class.is_some_and(|it| classes.contains(&it)))
        .map(|(short, _)| *short);
    let found: Vec<Box<dyn Any>> = match short {
        Some("string") => vec![
            of::<String>(StringSerializer),
            of::<&'static str>(StringSerializer),
        ],
        Some("bytes") => vec![
            of::<bytes::Bytes>(BytesSerializer),
            of::<Vec<u8>>(BytesSerializer),
        ],
        Some("bool") => vec![of(BoolSerializer)],
        Some("i16") => vec![of(I16Serializer)],
        Some("i32") => vec![of(I32Serializer)],
        Some("i64") => vec![of(I64Serializer)],
        Some("f32") => vec![of(F32Serializer)],
        Some("f64") => vec![of(F64Serializer)],
        Some("unit") => vec![of(UnitSerializer)],
        #[cfg(feature = "uuid")]
        Some("uuid") => vec![of(super::UuidSerializer)],
        Some(off) => {
            return Err((
                format!("the serializer `{name}` is not in this build"),
                format!("build franking with the cargo feature `{off}`"),
            ));
        }
        None => {
            let names: Vec<_> = NAMES.iter().map(|(short, _)| *short).collect();
            return Err((
                format!("no serializer has the name `{name}`"),
                format!(
                    "one of {}; JSON, Avro, Protobuf, Thrift and your own are given in code",
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
                format!("the serializer `{name}` does not take {}", type_name::<T>()),
                "a serializer of that type, or give one in code".to_owned(),
            )
        })
}

/// A serializer of `T`, to be found by its type.
fn of<T: 'static>(serializer: impl Serializer<T>) -> Box<dyn Any> {
    Box::new(Arc::new(serializer) as Arc<dyn Serializer<T>>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_name_and_type() {
        assert!(by_name::<String>("string").is_ok());
        assert!(by_name::<&'static str>("string").is_ok());
        assert!(by_name::<Vec<u8>>("bytes").is_ok());
        assert!(by_name::<bool>("bool").is_ok());
        assert!(by_name::<i16>("i16").is_ok());
        assert!(by_name::<i32>("i32").is_ok());
        assert!(by_name::<f32>("f32").is_ok());
        assert!(by_name::<f64>("f64").is_ok());
        assert!(by_name::<()>("unit").is_ok());
        assert!(by_name::<i64>("org.apache.kafka.common.serialization.LongSerializer").is_ok());
        #[cfg(feature = "uuid")]
        assert!(
            by_name::<uuid::Uuid>("org.apache.kafka.common.serialization.UUIDSerializer").is_ok()
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let (wrong_type, _) = by_name::<i64>("i32").err().unwrap();
        assert!(wrong_type.contains("i64"), "{wrong_type}");
        let (_, instead) = by_name::<String>("avro").err().unwrap();
        assert!(instead.contains("string, bytes"), "{instead}");
        // A class of another package is none of ours.
        assert!(by_name::<String>("com.example.StringSerializer").is_err());
        #[cfg(not(feature = "uuid"))]
        {
            let (_, instead) = by_name::<String>("uuid").err().unwrap();
            assert!(instead.contains("cargo feature `uuid`"), "{instead}");
        }
    }
}

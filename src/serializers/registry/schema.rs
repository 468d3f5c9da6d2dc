//! What a registry is asked for: a schema, under a subject.

use std::borrow::Cow;

use super::SchemaError;

/// A schema's text, as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub(super) format: Format,
    pub(super) text: String,
    pub(super) name: Option<String>,
    pub(super) references: Vec<Reference>,
}

/// The format of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Avro, in JSON.
    Avro,
    /// Protobuf: the `.proto` file's text, or its descriptor in base64.
    Protobuf,
    /// JSON Schema.
    Json,
}

/// A schema that another one is built on, as it is registered: a Protobuf import, an Avro type that is defined elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// How the schema calls it: the import's path, the type's full name.
    pub name: String,
    /// The subject under which it is registered.
    pub subject: String,
    /// Its version under that subject.
    pub version: u32,
}

impl Schema {
    /// An Avro schema.
    pub fn avro(text: impl Into<String>) -> Self {
        Self::new(Format::Avro, text)
    }

    /// A `.proto` file's text.
    pub fn protobuf(text: impl Into<String>) -> Self {
        Self::new(Format::Protobuf, text)
    }

    /// A JSON schema.
    pub fn json(text: impl Into<String>) -> Self {
        Self::new(Format::Json, text)
    }

    fn new(format: Format, text: impl Into<String>) -> Self {
        Self {
            format,
            text: text.into(),
            name: None,
            references: Vec::new(),
        }
    }

    /// Says the record's or message's full name, which some [`Subject`]s take.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names a schema that this one is built on.
    pub fn reference(mut self, reference: Reference) -> Self {
        self.references.push(reference);
        self
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The name under which a schema is registered, as Java's strategies make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `<topic>-key`: Java's `TopicNameStrategy` for keys, its default.
    TopicKey,
    /// `<topic>-value`: Java's `TopicNameStrategy` for values, its default.
    TopicValue,
    /// The schema's full name, in every topic the same: Java's `RecordNameStrategy`.
    RecordName,
    /// `<topic>-<full name>`: Java's `TopicRecordNameStrategy`.
    TopicRecordName,
    /// This name.
    Named(String),
}

impl Subject {
    /// Whether topics have subjects of their own.
    pub(super) fn is_by_topic(&self) -> bool {
        !matches!(self, Self::RecordName | Self::Named(_))
    }

    pub(super) fn name<'n>(
        &'n self,
        topic: &str,
        schema: &'n Schema,
    ) -> Result<Cow<'n, str>, SchemaError> {
        let full_name = || {
            schema.name.as_deref().ok_or_else(|| SchemaError::invalid("this subject takes the schema's full name, and the schema has none; use a subject by topic"))
        };
        Ok(match self {
            Self::TopicKey => format!("{topic}-key").into(),
            Self::TopicValue => format!("{topic}-value").into(),
            Self::RecordName => full_name()?.into(),
            Self::TopicRecordName => format!("{topic}-{}", full_name()?).into(),
            Self::Named(name) => name.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_named_as_in_java() {
        let schema = Schema::avro("{}").named("shop.Order");
        for (subject, name) in [
            (Subject::TopicKey, "orders-key"),
            (Subject::TopicValue, "orders-value"),
            (Subject::RecordName, "shop.Order"),
            (Subject::TopicRecordName, "orders-shop.Order"),
            (Subject::Named("mine".into()), "mine"),
        ] {
            assert_eq!(subject.name("orders", &schema).unwrap(), name);
        }
        let int = Schema::avro(r#""int""#);
        for subject in [Subject::RecordName, Subject::TopicRecordName] {
            let unnamed = subject.name("orders", &int);
            assert!(matches!(unnamed, Err(SchemaError::Invalid { .. })));
        }
    }
}

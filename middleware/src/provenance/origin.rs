//! `prov-origin`: who wrote it.

use std::borrow::Cow;

use super::{Header, Notes, Problem, percent};

/// How many attributes are read.
const MOST: usize = 64;

/// Attributes in their order, decoded, with OpenTelemetry's resource names. Each name is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'h>(Vec<(Cow<'h, str>, Cow<'h, str>)>);

impl<'h> Attributes<'h> {
    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read(text: &'h str, notes: &mut Notes) -> Self {
        let mut note = |problem, count| notes.add(Some(Header::Origin), problem, count);
        let members = || {
            text.split(',')
                .map(trim)
                .filter(|member| !member.is_empty())
        };
        let count = members().count();
        if count > MOST {
            note(Problem::TooMany, count);
        }
        let mut attributes = Self::default();
        for member in members().take(MOST) {
            let (name, value) = match member.split_once('=') {
                Some((name, value)) if !trim(name).is_empty() => (trim(name), trim(value)),
                _ => {
                    note(Problem::Syntax, 1);
                    continue;
                }
            };
            let encoded = percent::is_encoded(name) && percent::is_encoded(value);
            note(Problem::NotEncoded, usize::from(!encoded));
            let (name, value) = (Lossy::decode(name), Lossy::decode(value));
            note(Problem::Escape, usize::from(!(name.whole && value.whole)));
            note(Problem::NotText, usize::from(name.lost || value.lost));
            let again = attributes.set(name.text, value.text);
            note(Problem::Duplicate, usize::from(again));
        }
        attributes
    }

    /// Whether the name was there: then it has the new value in its old place.
    fn set(&mut self, name: Cow<'h, str>, value: Cow<'h, str>) -> bool {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => {
                *old = value;
                true
            }
            None => {
                self.0.push((name, value));
                false
            }
        }
    }
}

/// Without the spaces and tabs around it.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

struct Lossy<'h> {
    text: Cow<'h, str>,
    whole: bool,
    /// Whether bytes became U+FFFD.
    lost: bool,
}

impl<'h> Lossy<'h> {
    fn decode(text: &'h str) -> Self {
        let decoded = percent::decode(text);
        let whole = decoded.whole;
        let (text, lost) = match decoded.bytes {
            Cow::Borrowed(_) => (text.into(), false),
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => (text.into(), false),
                Err(error) => {
                    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                    (text.into(), true)
                }
            },
        };
        Self { text, whole, lost }
    }
}

//! Reads typed values, and keeps every problem that it meets on the way.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Properties;
use super::error::{Problem, ProblemKind};
use super::librdkafka::{Pairs, Values};
use super::names::{self, Name, SETTINGS, quoted};

pub(super) struct Reader<'a> {
    properties: &'a Properties,
    /// Whether the build has TLS.
    pub(super) tls: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(properties: &'a Properties, tls: bool) -> Self {
        Self {
            properties,
            tls,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn problem(
        &mut self,
        property: &str,
        kind: ProblemKind,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.problems
            .push(Problem::new(property, kind, message, instead));
    }

    pub(super) fn warn(
        &mut self,
        property: &str,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.warnings.push(Problem::new(
            property,
            ProblemKind::Warning,
            message,
            instead,
        ));
    }

    /// Looks at every name, in order; returns what goes to librdkafka unchanged.
    pub(super) fn names(&mut self) -> Pairs {
        let properties = self.properties;
        let mut pairs = Pairs::default();
        for (name, value) in properties.iter() {
            match names::look_up(name) {
                Name::Setting(setting) => self.one_name_only(setting, name),
                Name::PassedOn(values) => self.passed_on(name, value, values, &mut pairs),
                Name::Refused(why, instead) => {
                    self.problem(name, ProblemKind::Refused, why, instead);
                }
                Name::Consumer => self.problem(
                    name,
                    ProblemKind::Refused,
                    "it is a consumer property",
                    "remove it from the producer's configuration",
                ),
                Name::Unknown => {
                    let instead = match names::nearest(name) {
                        Some(nearest) => format!("did you mean `{nearest}`?"),
                        None => "remove it".to_owned(),
                    };
                    self.problem(
                        name,
                        ProblemKind::Unknown,
                        "no property has this name",
                        instead,
                    );
                }
            }
        }
        pairs
    }

    /// `name` is one of the names of `setting`: it must not be the second one that was given.
    fn one_name_only(&mut self, setting: &'static str, name: &str) {
        let first = self.given(setting).map_or(name, |(first, _)| first);
        if first != name {
            self.problem(
                name,
                ProblemKind::Contradiction,
                format!("`{first}` is given too, and both are names of one setting"),
                format!("keep `{setting}` only"),
            );
        }
    }

    /// The name that was used for `setting`, Java's before librdkafka's, and its value.
    pub(super) fn given(&self, setting: &'static str) -> Option<(&'a str, &'a str)> {
        let aliases = SETTINGS
            .iter()
            .find(|(name, _)| *name == setting)
            .map_or(&[][..], |(_, aliases)| *aliases);
        debug_assert!(
            SETTINGS.iter().any(|(name, _)| *name == setting),
            "{setting} is in no table"
        );
        let properties = self.properties;
        std::iter::once(&setting)
            .chain(aliases)
            .find_map(|name| properties.iter().find(|(known, _)| known == name))
    }

    pub(super) fn text(&self, setting: &'static str) -> Option<&'a str> {
        self.given(setting).map(|(_, value)| value)
    }

    /// `None`: not given, or not a number in `range` (and then a problem).
    pub(super) fn int(&mut self, setting: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let (name, value) = self.given(setting)?;
        self.int_of(name, value, range)
    }

    pub(super) fn millis(
        &mut self,
        setting: &'static str,
        range: RangeInclusive<i64>,
        default: u64,
    ) -> Duration {
        let millis = self
            .int(setting, range)
            .and_then(|millis| u64::try_from(millis).ok());
        Duration::from_millis(millis.unwrap_or(default))
    }

    pub(super) fn bool(&mut self, setting: &'static str) -> Option<bool> {
        let (name, value) = self.given(setting)?;
        self.bool_of(name, value)
    }

    /// The value whose word was given.
    pub(super) fn word<T: Copy>(
        &mut self,
        setting: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let (name, value) = self.given(setting)?;
        let index = self.word_of(name, value, words.iter().map(|(word, _)| *word))?;
        words.get(index).map(|(_, meaning)| *meaning)
    }

    fn int_of(&mut self, name: &str, value: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let number: Option<i64> = value.trim().parse().ok();
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let wrong = if number.is_some() {
            "out of range"
        } else {
            "not a whole number"
        };
        self.problem(
            name,
            ProblemKind::Invalid,
            format!("{} is {wrong}", quoted(name, value)),
            format!("write a number from {} to {}", range.start(), range.end()),
        );
        None
    }

    fn bool_of(&mut self, name: &str, value: &str) -> Option<bool> {
        // Java's words, and librdkafka's.
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some(true),
            "false" | "f" | "0" => Some(false),
            _ => {
                self.problem(
                    name,
                    ProblemKind::Invalid,
                    format!("{} is neither true nor false", quoted(name, value)),
                    "write `true` or `false`",
                );
                None
            }
        }
    }

    fn word_of(
        &mut self,
        name: &str,
        value: &str,
        words: impl Iterator<Item = &'static str>,
    ) -> Option<usize> {
        let words: Vec<_> = words.collect();
        let found = words
            .iter()
            .position(|word| word.eq_ignore_ascii_case(value.trim()));
        if found.is_none() {
            self.problem(
                name,
                ProblemKind::Invalid,
                format!("{} is not one of its values", quoted(name, value)),
                format!("write {}", alternatives(&words)),
            );
        }
        found
    }

    fn passed_on(&mut self, name: &str, value: &str, values: Values, pairs: &mut Pairs) {
        match values {
            Values::Bool => {
                if let Some(value) = self.bool_of(name, value) {
                    pairs.push(name, value);
                }
            }
            Values::Int(low, high) | Values::Unused(low, high) => {
                if let Some(value) = self.int_of(name, value, low..=high) {
                    pairs.push(name, value);
                }
            }
            Values::Word(words) => {
                if let Some(index) = self.word_of(name, value, words.iter().copied()) {
                    pairs.push(name, words[index]);
                }
            }
            Values::Words(words) => {
                // Each word may have a plus or a minus before it: on, off.
                let wrong = value.split(',').map(str::trim).find(|word| {
                    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
                    !words.iter().any(|known| known.eq_ignore_ascii_case(word))
                });
                match wrong {
                    None => pairs.push(name, value.replace(' ', "")),
                    Some(word) => self.problem(
                        name,
                        ProblemKind::Invalid,
                        format!("{} is not one of its values", quoted(name, word)),
                        format!("write {}, separated by commas", alternatives(words)),
                    ),
                }
            }
            Values::Text => {
                if let Some(value) = self.c_text(name, value) {
                    pairs.push(name, value);
                }
            }
        }
        if matches!(values, Values::Unused(..)) {
            self.warn(name, "librdkafka no longer uses it", "remove it");
        }
        if name.starts_with("test.mock.") {
            self.warn(
                name,
                "records go to a mock cluster inside this process, not to Kafka",
                "remove it outside of tests",
            );
        }
    }

    /// `value`, unless C would see its end too early.
    pub(super) fn c_text<'v>(&mut self, name: &str, value: &'v str) -> Option<&'v str> {
        if value.contains('\0') {
            self.problem(
                name,
                ProblemKind::Invalid,
                "its value has a NUL character inside",
                "remove that character",
            );
            return None;
        }
        Some(value)
    }
}

/// "`a`, `b` or `c`".
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

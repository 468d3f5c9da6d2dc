//! `prov-seq`: which of its writer's records it is.

use std::borrow::Cow;

use super::{Header, Notes, Problem, percent};

/// The sending instance's n-th record to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sequence<'h> {
    /// From 1.
    pub number: u64,
    /// Who counted, if the record was forwarded: then its origin is another instance.
    pub instance: Option<Cow<'h, str>>,
}

impl<'h> Sequence<'h> {
    pub(super) fn read(text: &'h str, notes: &mut Notes) -> Option<Self> {
        match Self::parse(text) {
            Ok(sequence) => Some(sequence),
            Err(problem) => {
                notes.add(Some(Header::Sequence), problem, 1);
                None
            }
        }
    }

    fn parse(text: &'h str) -> Result<Self, Problem> {
        let (digits, instance) = match text.split_once('@') {
            Some((digits, instance)) => {
                let instance = percent::decode_strictly(instance);
                let instance = instance.filter(|instance| !instance.is_empty());
                (digits, Some(instance.ok_or(Problem::Syntax)?))
            }
            None => (text, None),
        };
        if !is_decimal(digits) {
            return Err(Problem::Syntax);
        }
        match digits.parse() {
            Ok(0) | Err(_) => Err(Problem::OutOfRange),
            Ok(number) => Ok(Self { number, instance }),
        }
    }
}

/// Digits without leading zeros: one number has one text.
pub(super) fn is_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && !text.is_empty()
}

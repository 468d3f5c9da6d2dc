//! `prov-path`: which services passed it on.

use std::borrow::Cow;

use super::{Header, Notes, Problem, percent, sequence::is_decimal};

/// Kafka's limit.
const LONGEST_TOPIC: usize = 249;

/// The services that passed a record on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path<'h> {
    /// Whether there were older hops.
    pub cut: bool,
    /// At most 8, oldest first.
    pub hops: Vec<Hop<'h>>,
}

/// A service that read a record and sent it on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop<'h> {
    /// What the service belongs to.
    pub namespace: Option<Cow<'h, str>>,
    /// Its name.
    pub service: Cow<'h, str>,
    /// The topic that it read the record from.
    pub topic: &'h str,
    /// The partition of that.
    pub partition: i32,
    /// The offset in that.
    pub offset: i64,
}

impl<'h> Path<'h> {
    /// How many hops a path has.
    pub(crate) const MOST: usize = 8;
    /// What stands in place of older hops.
    pub(crate) const CUT: &'static str = "…;";

    pub(super) fn read(text: &'h str, notes: &mut Notes) -> Self {
        let (mut cut, hops) = match text.strip_prefix(Self::CUT) {
            Some(hops) => (true, hops),
            None => (false, text),
        };
        let count = hops.split(';').count();
        if count > Self::MOST {
            notes.add(Some(Header::Path), Problem::TooMany, count);
            cut = true;
        }
        let newest = hops.split(';').skip(count.saturating_sub(Self::MOST));
        let read: Vec<_> = newest.map(Hop::parse).collect();
        let bad = read.iter().filter(|hop| hop.is_none()).count();
        notes.add(Some(Header::Path), Problem::Syntax, bad);
        Self {
            cut,
            hops: read.into_iter().flatten().collect(),
        }
    }
}

#[cfg(feature = "origin")]
impl Path<'_> {
    /// Whether a hop can say that.
    pub(crate) fn is_place(topic: &str, partition: i32, offset: i64) -> bool {
        is_topic(topic) && partition >= 0 && offset >= 0
    }
}

impl<'h> Hop<'h> {
    fn parse(text: &'h str) -> Option<Self> {
        // A topic has neither of these signs, whatever is in a service's name.
        let (who, place) = text.rsplit_once('@')?;
        let (partition, offset) = place.rsplit_once(':')?;
        let (topic, partition) = partition.rsplit_once('-')?;
        let (namespace, service) = who.split_once('/').unwrap_or(("", who));
        let namespace = percent::decode_strictly(namespace)?;
        let service = percent::decode_strictly(service)?;
        if service.is_empty() || !is_topic(topic) || !is_decimal(partition) || !is_decimal(offset) {
            return None;
        }
        Some(Self {
            namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            service,
            topic,
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }
}

fn is_topic(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_TOPIC).contains(&text.len()) && text.bytes().all(legal)
}

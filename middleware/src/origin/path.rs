//! `prov-path`: the hops of a record that goes on.

use std::fmt::Write as _;

use franking_core::History;

use super::budget::Hops;
use crate::provenance::{Path, percent};

/// `namespace/service@`, as each of our hops begins.
pub(super) fn who(namespace: Option<&str>, service: &str) -> String {
    let mut who = String::new();
    if let Some(namespace) = namespace {
        name(namespace, &mut who);
        who.push('/');
    }
    name(service, &mut who);
    who.push('@');
    who
}

/// The path of the consumed record, with a hop more.
pub(super) fn continued(path: Option<&Path<'_>>, me: &str, history: &History) -> Hops {
    let mut hops = Hops::default();
    if let Some(path) = path {
        hops.cut = path.cut;
        hops.hops = path
            .hops
            .iter()
            .map(|hop| {
                let who = who(hop.namespace.as_deref(), &hop.service);
                place(&who, hop.topic, hop.partition, hop.offset)
            })
            .collect();
    }
    hops.hops.extend(here(me, history));
    while hops.hops.len() > Path::MOST {
        hops.drop_oldest();
    }
    hops
}

/// Our hop: who read the record, and from where.
fn here(me: &str, history: &History) -> Option<String> {
    let (topic, partition, offset) = (history.topic(), history.partition(), history.offset());
    Path::is_place(topic, partition, offset).then(|| place(me, topic, partition, offset))
}

/// Whether a path has our hop already: then the record was sent before, by us, and came back in an error.
pub(super) fn ends_here(path: Option<&str>, me: &str, history: &History) -> bool {
    let Some(path) = path else { return false };
    here(me, history).is_some_and(|hop| path.ends_with(&hop))
}

/// Its text; `None` if there is no hop.
pub(super) fn write(hops: &Hops) -> Option<String> {
    if hops.hops.is_empty() {
        return None;
    }
    let cut = if hops.cut { Path::CUT } else { "" };
    Some(format!("{cut}{}", hops.hops.join(";")))
}

fn place(who: &str, topic: &str, partition: i32, offset: i64) -> String {
    let mut hop = who.to_owned();
    write!(hop, "{topic}-{partition}:{offset}").expect("a String takes everything");
    hop
}

/// Percent-encoded as in `prov-origin`, and without the signs that divide a hop.
fn name(text: &str, out: &mut String) {
    for (at, part) in text.split('/').enumerate() {
        if at > 0 {
            out.push_str("%2F");
        }
        percent::encode(part, out);
    }
}

//! The spans' names, made once for each topic.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{LazyLock, PoisonError, RwLock},
};

use franking_core::Topic;

/// The name of a span whose topic is one too many.
pub(super) const OTHER: &str = "send";
const PREFIX: &str = "send ";

/// How many names a thread finds again without a lock.
const AT_HAND: usize = 16;

// A span's name has to be `'static` or allocated, so they stay for the life of the process. `most` is their limit.
static NAMES: LazyLock<RwLock<HashMap<&'static str, &'static str>>> =
    LazyLock::new(RwLock::default);

thread_local! {
    static LAST: [Cell<&'static str>; AT_HAND] = const { [const { Cell::new(PREFIX) }; AT_HAND] };
}

/// `send {topic}`; [`OTHER`] if there are so many names already.
pub(super) fn span_name(topic: &Topic, most: usize) -> &'static str {
    let bytes = topic.as_bytes();
    // Names of topics differ in their ends and lengths, if at all.
    let slot = bytes
        .last()
        .map_or(0, |last| usize::from(*last) ^ bytes.len())
        % AT_HAND;
    let last = LAST.try_with(|last| last[slot].get()).unwrap_or(PREFIX);
    if last.as_bytes()[PREFIX.len()..] == *bytes {
        return last;
    }
    let Some(name) = made_name(topic, most) else {
        return OTHER;
    };
    // Fails while the thread ends: then the next one looks again.
    let _ = LAST.try_with(|last| last[slot].set(name));
    name
}

fn made_name(topic: &Topic, most: usize) -> Option<&'static str> {
    {
        // The map is whole whenever the lock is free.
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        match names.get(&**topic) {
            Some(name) => return Some(name),
            // What Kafka does not take can be anything.
            None if names.len() >= most || !topic.is_legal() => return None,
            None => {}
        }
    }
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have come first.
    if let Some(name) = names.get(&**topic) {
        return Some(name);
    }
    if names.len() >= most {
        return None;
    }
    let name: &'static str = format!("{PREFIX}{topic}").leak();
    names.insert(&name[PREFIX.len()..], name);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, for the names are the process's.
    #[test]
    fn the_name_of_a_topic_is_made_once_and_there_is_a_limit() {
        let name = |topic: &str| span_name(&Topic::from(topic.to_owned()), 120);
        let first = name("orders");
        assert_eq!(first, "send orders");
        // Another slot's worth of topics in between.
        for n in 0..100 {
            assert_eq!(name(&format!("t{n}")), format!("send t{n}"));
        }
        assert_eq!(first.as_ptr(), name("orders").as_ptr());
        assert_eq!(name("orders\u{1b}[2J"), OTHER);
        let others: Vec<_> = (0..200).map(|n| name(&format!("u{n}"))).collect();
        assert_eq!(
            others.iter().filter(|name| **name == OTHER).count(),
            200 - 19
        );
        assert_eq!(name("orders"), "send orders", "who has a name keeps it");
    }
}

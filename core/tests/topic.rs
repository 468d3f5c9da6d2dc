//! A topic's name is its text, however it came.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use franking_core::Topic;

fn all() -> [Topic; 4] {
    let shared = Topic::from("orders".to_owned());
    [
        Topic::from("orders"),
        Topic::from(&shared),
        Topic::from(Arc::<str>::from("orders")),
        shared,
    ]
}

#[test]
fn one_text_is_one_topic() {
    for topic in all() {
        assert_eq!(topic, Topic::from("orders"));
        assert_ne!(topic, Topic::from("order"));
        assert!(topic == *"orders" && topic == "orders");
        assert!(topic != *"order" && topic != "order");
        assert_eq!((topic.as_str(), topic.as_ref()), ("orders", "orders"));
        assert_eq!((&*topic, topic.len()), ("orders", 6));
        assert_eq!(
            (topic.to_string(), format!("{topic:?}")),
            ("orders".into(), "\"orders\"".into())
        );
    }
    assert_eq!(Topic::default(), "");
}

#[test]
fn topics_are_sorted_and_found_as_their_texts() {
    let sorted = BTreeSet::from([
        Topic::from("b"),
        Topic::from("c".to_owned()),
        Topic::from("a"),
    ]);
    assert!(sorted.iter().map(Topic::as_str).eq(["a", "b", "c"]));
    let [a, b] = ["a", "b"].map(Topic::from);
    assert!(a < b);
    let by_topic = HashMap::from(all().map(|topic| (topic, 1)));
    assert_eq!((by_topic.len(), by_topic.get("orders")), (1, Some(&1)));
    assert_eq!(by_topic.get("order"), None);
}

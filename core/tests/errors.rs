//! What an error says, and what it keeps to itself.

use std::{collections::HashSet, error::Error, io};

use franking_core::{Code, Failure, Persistence, Record, SendError, Topic};

/// All of them.
fn codes() -> Vec<Code> {
    vec![
        Code::Serialization,
        Code::InvalidRecord,
        Code::NoRoom,
        Code::RecordTooLarge,
        Code::UnknownTopicOrPartition,
        Code::Authorization,
        Code::Authentication,
        Code::TimedOut,
        Code::Interrupted,
        Code::Refused,
        Code::Dropped,
        Code::Closed,
        Code::Fatal,
        Code::WouldBlock,
        Code::Broker {
            number: 19,
            name: "NOT_ENOUGH_REPLICAS".into(),
        },
    ]
}

#[test]
fn each_code_has_a_name_a_meaning_and_a_remedy_of_its_own() {
    let mut said = HashSet::new();
    for code in codes() {
        let failure = Failure::new(code.clone());
        let text = failure.to_string();
        let (what, to_do) = text.split_once(". To do: ").expect("a remedy");
        assert!(what.starts_with(code.name()), "{text}");
        assert!(what.ends_with(" (not persisted)"), "{text}");
        assert_eq!(to_do, failure.what_to_do());
        for part in [what.split_once(": ").unwrap().1, to_do] {
            assert!(part.split_whitespace().count() > 3, "{text}");
            assert!(said.insert(part.to_owned()), "said twice: {part}");
        }
        assert!(!failure.is_transient());
        assert_eq!(failure.setting_name(), None);
        assert!(failure.source().is_none());
        assert_eq!(failure.why_declined(), None);
    }
    let failure = Failure::new(codes().pop().unwrap());
    assert!(
        failure
            .to_string()
            .starts_with("NOT_ENOUGH_REPLICAS (19): ")
    );
}

#[test]
fn a_failure_says_what_it_was_told() {
    let failure = Failure::new(Code::TimedOut)
        .with_persistence(Persistence::Unknown)
        .transient(true)
        .detail("nothing came")
        .advice("wait")
        .declined("the budget is used up")
        .setting("delivery.timeout.ms")
        .because(io::Error::other("the socket's"));
    assert_eq!(
        failure.to_string(),
        "TIMED_OUT: nothing came (possibly persisted); not sent again: the budget is used up. To do: wait (setting: delivery.timeout.ms)"
    );
    assert!(failure.is_transient());
    assert_eq!(failure.what_happened(), "nothing came");
    assert_eq!(failure.what_to_do(), "wait");
    assert_eq!(failure.setting_name(), Some("delivery.timeout.ms"));
    assert_eq!(failure.source().unwrap().to_string(), "the socket's");
    let debug = format!("{failure:?}");
    assert!(
        debug.contains("TimedOut") && debug.contains("nothing came"),
        "{debug}"
    );

    // A setting that the advice names is not named twice.
    let failure = failure.advice("raise delivery.timeout.ms");
    assert!(
        failure
            .to_string()
            .ends_with("To do: raise delivery.timeout.ms")
    );
}

#[test]
fn an_error_says_what_its_failure_says_and_gives_the_record_back() {
    let failure = Failure::new(Code::NoRoom)
        .transient(true)
        .because(io::Error::other("below"));
    let mut record = Record::new("orders")
        .key("secret key")
        .value("secret value");
    record.headers.append("token", "secret header").unwrap();
    let error = SendError::giving_back(failure.clone(), record, 3);
    assert!(error.is_transient());
    assert_eq!(error.what_to_do(), failure.what_to_do());
    assert_eq!(
        (error.topic().map(Topic::as_str), error.attempts()),
        (Some("orders"), 3)
    );
    assert_eq!(Error::source(&error).unwrap().to_string(), "below");
    assert_eq!(
        error.to_string(),
        format!("topic \"orders\": {failure}; 3 attempts")
    );
    for text in [
        error.to_string(),
        format!("{error:?}"),
        format!("{:?}", error.failure()),
    ] {
        assert!(!text.contains("secret"), "{text}");
    }
    let debug = format!("{error:?}");
    assert!(
        debug.contains("orders") && debug.contains("NoRoom"),
        "{debug}"
    );
    assert_eq!(
        error.into_record().unwrap().key.as_deref(),
        Some(&b"secret key"[..])
    );

    let error = SendError::new(Failure::new(Code::Closed));
    assert!(!error.is_transient() && Error::source(&error).is_none());
    assert_eq!(error.to_string(), Failure::new(Code::Closed).to_string());
    assert!(error.into_record().is_none());
}

//! What librdkafka's codes and statuses mean for a record.
//!
//! The **status** says whether the record is in the topic (it is sticky: an attempt that may have been written is never
//! called *not persisted* by a later one); the **code** says why. Some cases are decided more carefully than librdkafka
//! does, which calls whatever it does not know *not persisted*: a code that is not listed, the broker's `UNKNOWN` (-1),
//! and an answer that cannot be read prove nothing, so the outcome is *unknown*. All codes: `docs/codes.md`.
//!
//! | case | outcome | transient |
//! |---|---|---|
//! | acknowledged | delivered; offset `None` if the broker did not say it | |
//! | not acknowledged, but a later record of its partition was | unknown | yes |
//! | `acks=0`, sent | delivered, no offset: nobody confirmed it | |
//! | `delivery.timeout.ms` passed in the queue / in flight | not persisted / unknown | yes |
//! | no broker lets this client in: never sent / sent before | not persisted / unknown | no |
//! | purged at close, from the queue / in flight | not persisted / unknown | no |
//! | `NOT_ENOUGH_REPLICAS` / `…_AFTER_APPEND` | not persisted / unknown | yes |
//! | `KAFKA_STORAGE_ERROR`, no leader, broker gone, throttled | as the status says | yes |
//! | record too large here or for the topic, unknown topic or partition | not persisted | no (topic: yes) |
//! | authorization, authentication, policy, invalid record | not persisted | no |
//! | fatal | as the status says | no |
//! | another record of the batch is not valid | not persisted | yes |
//! | not listed, -1, or an answer that cannot be read | unknown | no |

use franking_core::{Code, Failure, Parts, Persistence};

use super::native::{Status, error_name, error_text};

/// librdkafka's own codes and Kafka's, as far as they are treated differently.
pub(super) mod codes {
    pub(in super::super) const MSG_TIMED_OUT: i32 = -192;
    pub(in super::super) const UNKNOWN_PARTITION: i32 = -190;
    pub(in super::super) const UNKNOWN_TOPIC: i32 = -188;
    pub(in super::super) const AUTHENTICATION: i32 = -169;
    pub(in super::super) const INVALID_ARG: i32 = -186;
    pub(in super::super) const PURGE_QUEUE: i32 = -152;
    pub(in super::super) const PURGE_INFLIGHT: i32 = -151;
    pub(in super::super) const FATAL: i32 = -150;
    pub(in super::super) const TIMED_OUT: i32 = -185;

    /// Those after which the same record may succeed.
    pub(in super::super) const TRANSIENT: &[i32] = &[
        -195, // _TRANSPORT
        -185, // _TIMED_OUT
        -184, // _QUEUE_FULL
        -187, // _ALL_BROKERS_DOWN
        -138, // _INVALID_DIFFERENT_RECORD: it is another record of the batch that the broker refuses
        2,    // INVALID_MSG: corrupted on its way
        5,    // LEADER_NOT_AVAILABLE
        6,    // NOT_LEADER_FOR_PARTITION
        7,    // REQUEST_TIMED_OUT
        8,    // BROKER_NOT_AVAILABLE
        9,    // REPLICA_NOT_AVAILABLE
        13,   // NETWORK_EXCEPTION
        19,   // NOT_ENOUGH_REPLICAS
        20,   // NOT_ENOUGH_REPLICAS_AFTER_APPEND
        56,   // KAFKA_STORAGE_ERROR
        89,   // THROTTLING_QUOTA_EXCEEDED
    ];

    /// librdkafka's own that say *not persisted* for a reason. With others it only knows no better: an answer that
    /// ended too early (_UNDERFLOW) can be about a batch that was written.
    pub(in super::super) const PROVEN: &[i32] = &[
        -197, // _DESTROY
        -195, // _TRANSPORT
        -192, // _MSG_TIMED_OUT
        -190, // _UNKNOWN_PARTITION
        -188, // _UNKNOWN_TOPIC
        -186, // _INVALID_ARG
        -185, // _TIMED_OUT
        -184, // _QUEUE_FULL
        -169, // _AUTHENTICATION
        -166, // _TIMED_OUT_QUEUE
        -165, // _UNSUPPORTED_FEATURE
        -152, // _PURGE_QUEUE
        -150, // _FATAL
        -148, // _GAPLESS_GUARANTEE
        -144, // _FENCED
        -138, // _INVALID_DIFFERENT_RECORD
    ];
}

/// Why a record with this report failed. `reason` is why the engine takes no more records, if it does not.
pub(super) fn failed(code: i32, status: Status, reason: Option<&Failure>) -> Failure {
    let proven = match code {
        0.. => error_name(code) != "UNLISTED",
        _ => codes::PROVEN.contains(&code),
    };
    let persistence = match status {
        Status::NotPersisted if proven => Persistence::NotPersisted,
        // librdkafka does not fail what it knows to be persisted; if it did, "unknown" would be the careful answer.
        _ => Persistence::Unknown,
    };
    let failure = match (code, reason) {
        // Purged because the engine ends, or no broker lets it in: that reason is the record's.
        (codes::PURGE_QUEUE | codes::PURGE_INFLIGHT, Some(reason)) => match reason.code() {
            Code::Fatal => reason
                .clone()
                .detail("the producer failed fatally before the record was acknowledged"),
            Code::Closed => reason
                .clone()
                .detail("the time to close was over before the record was acknowledged"),
            _ => reason.clone(),
        },
        // A broker had said why, but not that it is for good.
        (codes::MSG_TIMED_OUT, Some(hint)) => hinted(failure(code), hint),
        (code, _) => failure(code),
    };
    failure.with_persistence(persistence)
}

/// The same failure, with what a broker said meanwhile.
pub(super) fn hinted(failure: Failure, hint: &Failure) -> Failure {
    let hinted = failure
        .detail(format!(
            "in time, no broker took it; {}",
            hint.what_happened()
        ))
        .advice(hint.what_to_do().to_owned());
    match hint.setting_name() {
        Some(setting) => hinted.setting(setting),
        None => hinted,
    }
}

/// A failure for this code; not persisted until said otherwise.
pub(super) fn failure(code: i32) -> Failure {
    match code {
        codes::MSG_TIMED_OUT => Failure::new(Code::TimedOut)
            .transient(true)
            .setting("delivery.timeout.ms"),
        codes::UNKNOWN_TOPIC | 3 => Failure::new(Code::UnknownTopicOrPartition)
            .transient(true)
            .detail("the topic is not known to the cluster")
            .setting("max.block.ms"),
        codes::UNKNOWN_PARTITION => Failure::new(Code::UnknownTopicOrPartition)
            .detail("the topic has no such partition")
            .advice("choose a smaller partition number, or leave the choice to the partitioner"),
        10 | 18 => Failure::new(Code::RecordTooLarge)
            .detail("the broker refused the batch as larger than the topic's max.message.bytes")
            .advice(
                "raise max.message.bytes of the topic, or lower batch.size: a refused batch is not split",
            )
            .setting("batch.size"),
        29 => Failure::new(Code::Authorization).detail("no permission to write to the topic"),
        30 | 31 | 53 => Failure::new(Code::Authorization),
        58 | codes::AUTHENTICATION => Failure::new(Code::Authentication),
        87 => Failure::new(Code::InvalidRecord)
            .detail("the broker does not take the record, or another one of its batch")
            .advice(
                "mend the record (a compacted topic wants a key, for one); one that is sound may be sent again",
            ),
        17 | 32 | codes::INVALID_ARG => Failure::new(Code::InvalidRecord),
        codes::FATAL => Failure::new(Code::Fatal),
        codes::PURGE_QUEUE | codes::PURGE_INFLIGHT => super::super::closed(),
        code => Failure::new(Code::Broker {
            number: code,
            name: error_name(code).into(),
        })
        .transient(codes::TRANSIENT.contains(&code))
        .detail(error_text(code)),
    }
}

/// The offset of a record that librdkafka calls delivered because a later one of its partition was acknowledged.
pub(super) const NEVER_ACKNOWLEDGED: i64 = -1001;

/// What such a record comes to. librdkafka reasons that the broker would not have taken the later one without it. But a
/// broker that has nothing of this producer in the partition yet takes any sequence number first: it may have refused
/// this record before. `tests/faults/copies.rs` shows it. With one request in flight this does not arise.
pub(super) fn never_acknowledged() -> Failure {
    Failure::new(Code::TimedOut)
        .with_persistence(Persistence::Unknown)
        .transient(true)
        .detail("no acknowledgement came for it, only for a later record of its partition")
        .advice("write max.in.flight.requests.per.connection=1, and this does not happen")
        .setting("max.in.flight.requests.per.connection")
}

/// A record that is larger than the whole buffer.
pub(super) fn larger_than_buffer(charge: usize, capacity: usize) -> Failure {
    Failure::new(Code::RecordTooLarge)
        .detail(format!(
            "the record needs {charge} bytes of the buffer, which has {capacity}"
        ))
        .advice("raise buffer.memory, or send less in one record")
        .setting("buffer.memory")
}

/// What librdkafka counts for a record beside its key, value and headers: the most that Kafka's framing can take.
const FRAMING: usize = 36;

/// A record that librdkafka found too large before it was queued.
pub(super) fn larger_than_request(parts: &Parts, limit: usize) -> Failure {
    Failure::new(Code::RecordTooLarge)
        .detail(format!(
            "the record has {} bytes with its headers and Kafka's framing, and max.request.size is {limit}",
            parts.payload_len() + FRAMING
        ))
        .setting("max.request.size")
}

/// A record for a topic that cannot be.
pub(super) fn illegal_topic() -> Failure {
    Failure::new(Code::InvalidRecord)
        .detail("the topic's name is not 1 to 249 letters, digits, '.', '_' and '-', or it is '.' or '..'")
        .advice("name another topic")
}

/// Refuses what librdkafka would misunderstand: it takes -1 for "no partition", and 0 for "no timestamp".
pub(super) fn check(parts: &Parts) -> Result<(), Failure> {
    let invalid = |what: &'static str| Failure::new(Code::InvalidRecord).detail(what);
    if parts.partition.is_some_and(|partition| partition < 0) {
        return Err(invalid("the partition is negative"));
    }
    match parts.timestamp {
        Some(timestamp) if timestamp < 0 => Err(invalid("the timestamp is negative")),
        Some(0) => Err(invalid(
            "librdkafka cannot send the timestamp 0 (1 January 1970): it means \"now\" there",
        )),
        _ => Ok(()),
    }
}

/// Whether asking again for a topic's metadata may give another answer.
pub(super) fn may_pass(code: i32) -> bool {
    code == 3 || codes::TRANSIENT.contains(&code)
}

/// Whether this code means that no broker answered.
pub(super) fn is_unreachable(code: i32) -> bool {
    // _TRANSPORT, _ALL_BROKERS_DOWN
    [codes::TIMED_OUT, -195, -187].contains(&code)
}

/// Whether this code of a rejected record means that it is too large.
pub(super) fn is_too_large(code: i32) -> bool {
    code == 10
}

/// Tells offsets that the broker said from those that librdkafka counted up from "none".
///
/// An answer to a duplicate sequence has no base offset; librdkafka then reports -1, 0, 1, … for the batch. Those below
/// zero, and those that continue such a run, are not offsets.
#[derive(Default)]
pub(super) struct Offsets {
    /// The partition of the run, and the number that would continue it.
    run: Option<(i32, i64)>,
}

impl Offsets {
    pub(super) fn said(&mut self, partition: i32, offset: i64) -> Option<i64> {
        let invented = offset < 0 || self.run == Some((partition, offset));
        self.run = invented.then_some((partition, offset + 1));
        (!invented).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_codes_and_unknown_and_unreadable_answers_prove_nothing() {
        for code in [4242, -1, 30_000, i32::MAX, i32::MIN, -155, -199] {
            let failure = failed(code, Status::NotPersisted, None);
            assert_eq!(failure.persistence(), Persistence::Unknown, "{code}");
            assert!(!failure.is_transient(), "{code}");
        }
    }

    #[test]
    fn the_status_decides_whether_a_record_is_in_the_topic() {
        for code in [-192, 19, 56, 7, -152] {
            let queued = failed(code, Status::NotPersisted, None);
            let in_flight = failed(code, Status::PossiblyPersisted, None);
            assert_eq!(queued.persistence(), Persistence::NotPersisted, "{code}");
            assert_eq!(in_flight.persistence(), Persistence::Unknown, "{code}");
        }
    }

    #[test]
    fn the_reason_of_the_end_is_the_reason_of_purged_records() {
        let fatal = Failure::new(Code::Fatal);
        let purged = failed(-152, Status::NotPersisted, Some(&fatal));
        assert_eq!(*purged.code(), Code::Fatal);
        assert_eq!(purged.persistence(), Persistence::NotPersisted);
        let purged = failed(-151, Status::PossiblyPersisted, None);
        assert_eq!(*purged.code(), Code::Closed);
        assert_eq!(purged.persistence(), Persistence::Unknown);
    }

    #[test]
    fn names_what_the_user_can_change() {
        let text = failure(-192).to_string();
        assert!(text.contains("delivery.timeout.ms"), "{text}");
        let text = failure(56).to_string();
        assert!(text.starts_with("KAFKA_STORAGE_ERROR (56)"), "{text}");
        assert!(failure(56).is_transient());
        assert!(!failure(29).is_transient());
    }

    #[test]
    fn offsets_are_never_invented() {
        let mut offsets = Offsets::default();
        let seen: Vec<_> = [-1, 0, 1, 7, 8]
            .map(|offset| offsets.said(0, offset))
            .into();
        assert_eq!(seen, [None, None, None, Some(7), Some(8)]);
        assert_eq!(offsets.said(1, -1001), None);
        assert_eq!(offsets.said(2, 0), Some(0));
    }
}

//! Why a record was not delivered, what became of it, and what the user can do.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use crate::{Escaped, Record, Topic};

/// Any error of somebody else's: a serializer's, a tower layer's.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What went wrong, in one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A key or value serializer refused.
    Serialization,
    /// The record is not one that Kafka takes: a header's name, a negative partition or timestamp, the topic's name.
    InvalidRecord,
    /// The buffer (`buffer.memory`) had no room within `max.block.ms`.
    NoRoom,
    /// The record, with its headers, is larger than `max.request.size`, `buffer.memory` or the topic's
    /// `max.message.bytes`.
    RecordTooLarge,
    /// The topic, or this partition of it, does not exist (or may not be seen).
    UnknownTopicOrPartition,
    /// The principal may not do this (ACLs).
    Authorization,
    /// The client could not prove who it is.
    Authentication,
    /// No acknowledgement within `delivery.timeout.ms`, or the caller's own deadline passed.
    TimedOut,
    /// The caller interrupted its wait.
    Interrupted,
    /// A layer refused the record.
    Refused,
    /// A layer dropped the record before an engine had it.
    Dropped,
    /// The producer was closed before the record could be sent.
    Closed,
    /// The producer instance cannot go on; a new one is needed.
    Fatal,
    /// A call that must not block was made where it would.
    WouldBlock,
    /// The broker, or the client library, answered with this error of Kafka's.
    Broker {
        /// Kafka's number; negative ones are the client library's.
        number: i32,
        /// Kafka's name, as `NOT_ENOUGH_REPLICAS`.
        name: Cow<'static, str>,
    },
}

impl Code {
    /// The name that goes into telemetry (`error.type`): Kafka's own for a broker's error.
    pub fn name(&self) -> &str {
        match self {
            Code::Serialization => "SERIALIZATION",
            Code::InvalidRecord => "INVALID_RECORD",
            Code::NoRoom => "NO_ROOM",
            Code::RecordTooLarge => "RECORD_TOO_LARGE",
            Code::UnknownTopicOrPartition => "UNKNOWN_TOPIC_OR_PARTITION",
            Code::Authorization => "AUTHORIZATION",
            Code::Authentication => "AUTHENTICATION",
            Code::TimedOut => "TIMED_OUT",
            Code::Interrupted => "INTERRUPTED",
            Code::Refused => "REFUSED",
            Code::Dropped => "DROPPED",
            Code::Closed => "CLOSED",
            Code::Fatal => "FATAL",
            Code::WouldBlock => "WOULD_BLOCK",
            Code::Broker { name, .. } => name,
        }
    }

    /// What it means, and what a user can do about it where the place that failed says nothing better.
    fn texts(&self) -> (&'static str, &'static str) {
        match self {
            Code::Serialization => (
                "a serializer refused the record",
                "look at the source of this error; the record was not sent",
            ),
            Code::InvalidRecord => (
                "Kafka does not take such a record",
                "mend the record; the same one will be refused again",
            ),
            Code::NoRoom => (
                "the buffer had no room in time",
                "send more slowly, raise buffer.memory, or wait longer with max.block.ms",
            ),
            Code::RecordTooLarge => (
                "the record is too large",
                "send less in one record, or raise max.request.size here and max.message.bytes of the topic",
            ),
            Code::UnknownTopicOrPartition => (
                "the topic or the partition is not known to the cluster",
                "create the topic, or check its name and the number of its partitions",
            ),
            Code::Authorization => (
                "the principal is not allowed to do this",
                "ask for the ACLs Write and Describe on the topic",
            ),
            Code::Authentication => (
                "the client could not authenticate",
                "check security.protocol and the sasl.* and ssl.* properties",
            ),
            Code::TimedOut => (
                "no acknowledgement came in time",
                "check that the brokers are reachable, or raise delivery.timeout.ms",
            ),
            Code::Interrupted => (
                "the wait was interrupted",
                "the record goes on without you; its hooks hear the outcome",
            ),
            Code::Refused => (
                "a layer refused the record",
                "see the source of this error for the layer's reason",
            ),
            Code::Dropped => (
                "a layer dropped the record before it was sent",
                "send it again, or look for a layer that sheds load or filters",
            ),
            Code::Closed => (
                "the producer is closed",
                "build a new producer to send more",
            ),
            Code::Fatal => (
                "this producer instance cannot go on",
                "build a new producer; records that were not persisted can be sent through it",
            ),
            Code::WouldBlock => (
                "this call would block where it must not",
                "use the asynchronous send here, or call it on a thread of its own (spawn_blocking)",
            ),
            Code::Broker { .. } => (
                "the broker refused the record",
                "look up this error of Kafka's, and the broker's log",
            ),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a record that failed can be in the topic all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// It was never sent, or the broker rejected it: it is not in the topic, and to send it again makes no duplicate.
    NotPersisted,
    /// It was sent and no answer proves what became of it: it may be in the topic.
    Unknown,
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Persistence::NotPersisted => "not persisted",
            Persistence::Unknown => "possibly persisted",
        })
    }
}

/// Why a record failed: what hooks and recoverers see, and what an interceptor answers to refuse one.
///
/// Made with [`Failure::new`] and refined by its setters. Neither its text nor its `Debug` holds a payload; what a
/// [`source`](Self::source) says is up to its author.
///
/// ```
/// use franking_core::{Code, Failure, Persistence};
///
/// let failure = Failure::new(Code::Refused)
///     .detail("the topic is read-only until the migration ends")
///     .advice("send to orders.v2");
/// assert_eq!(failure.persistence(), Persistence::NotPersisted);
/// assert!(!failure.is_transient());
/// ```
#[derive(Clone)]
pub struct Failure(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    persistence: Persistence,
    transient: bool,
    detail: Cow<'static, str>,
    advice: Cow<'static, str>,
    declined: Option<&'static str>,
    setting: Option<&'static str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with this code: not persisted, not transient, with the code's own texts.
    pub fn new(code: Code) -> Self {
        let (detail, advice) = code.texts();
        Self(Box::new(Inner {
            code,
            persistence: Persistence::NotPersisted,
            transient: false,
            detail: detail.into(),
            advice: advice.into(),
            declined: None,
            setting: None,
            source: None,
        }))
    }

    /// Says what became of the record.
    pub fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.0.persistence = persistence;
        self
    }

    /// Says that the same record may succeed later.
    pub fn transient(mut self, transient: bool) -> Self {
        self.0.transient = transient;
        self
    }

    /// Says what happened, in a sentence without a full stop. It must not hold a payload or a secret.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// Says what the user can do.
    pub fn advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = advice.into();
        self
    }

    /// Says why a recoverer that could have sent the record again did not.
    pub fn declined(mut self, why: &'static str) -> Self {
        self.0.declined = Some(why);
        self
    }

    /// Names the setting that matters.
    pub fn setting(mut self, setting: &'static str) -> Self {
        self.0.setting = Some(setting);
        self
    }

    /// Keeps the error that caused this one.
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// What went wrong.
    pub fn code(&self) -> &Code {
        &self.0.code
    }

    /// Whether the record can be in the topic.
    pub fn persistence(&self) -> Persistence {
        self.0.persistence
    }

    /// Whether the same record may succeed later. It says nothing about duplicates: look at
    /// [`persistence`](Self::persistence) too.
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// What happened, without what became of the record.
    pub fn what_happened(&self) -> &str {
        &self.0.detail
    }

    /// What the user can do.
    pub fn what_to_do(&self) -> &str {
        &self.0.advice
    }

    /// Why a recoverer that could have sent the record again did not, if it says so.
    pub fn why_declined(&self) -> Option<&'static str> {
        self.0.declined
    }

    /// The setting that matters, by Kafka's name, if there is one.
    pub fn setting_name(&self) -> Option<&'static str> {
        self.0.setting
    }

    /// The error that caused this one.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            code,
            persistence,
            detail,
            advice,
            declined,
            setting,
            ..
        } = &*self.0;
        match code {
            Code::Broker { number, name } => write!(f, "{} ({number})", Escaped(name))?,
            code => write!(f, "{code}")?,
        }
        // A layer may have put a broker's words there, or a name that the application chose.
        write!(f, ": {} ({persistence})", Escaped(detail))?;
        if let Some(why) = declined {
            write!(f, "; not sent again: {why}")?;
        }
        write!(f, ". To do: {}", Escaped(advice))?;
        match setting {
            Some(setting) if !advice.contains(setting) => write!(f, " (setting: {setting})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("code", &self.0.code)
            .field("persistence", &self.0.persistence)
            .field("transient", &self.0.transient)
            .field("detail", &self.0.detail)
            .field("declined", &self.0.declined)
            .field("setting", &self.0.setting)
            .finish_non_exhaustive()
    }
}

/// The error of a send: why, what became of the record, and the record itself.
///
/// The text names the topic and the setting that matters, and never shows a key, a value, a header's value or a secret.
pub struct SendError(Box<Sent>);

struct Sent {
    failure: Failure,
    topic: Option<Topic>,
    attempts: u32,
    record: Option<Record>,
}

impl SendError {
    /// An error without a record: what `poll_ready` answers when the engine can take none.
    pub fn new(failure: Failure) -> Self {
        Self(Box::new(Sent {
            failure,
            topic: None,
            attempts: 0,
            record: None,
        }))
    }

    /// Names the topic in the text, where there is no record to give back.
    pub fn in_topic(mut self, topic: Topic) -> Self {
        self.0.topic = Some(topic);
        self
    }

    /// Says how many calls into the engine there were, where there is no record to give back.
    pub fn after_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// An error that gives the record back, after so many calls into the engine.
    pub fn giving_back(failure: Failure, record: Record, attempts: u32) -> Self {
        Self(Box::new(Sent {
            failure,
            topic: Some(record.topic.clone()),
            attempts,
            record: Some(record),
        }))
    }

    /// What went wrong.
    pub fn code(&self) -> &Code {
        self.0.failure.code()
    }

    /// Whether the record can be in the topic all the same.
    pub fn persistence(&self) -> Persistence {
        self.0.failure.persistence()
    }

    /// Whether the same record may succeed later.
    pub fn is_transient(&self) -> bool {
        self.0.failure.is_transient()
    }

    /// How often a layer or the application handed the record to the engine; 0 if it never got there. What the engine
    /// retried by itself is not in it.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What the user can do.
    pub fn what_to_do(&self) -> &str {
        self.0.failure.what_to_do()
    }

    /// The topic, if the record had got one.
    pub fn topic(&self) -> Option<&Topic> {
        self.0.topic.as_ref()
    }

    /// The whole failure.
    pub fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// The record, with the headers it had when it failed. `None` if the error is not about one record, or the record
    /// goes on without its caller ([`Code::Interrupted`], a caller's time-out).
    pub fn into_record(self) -> Option<Record> {
        self.0.record
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(topic) = &self.0.topic {
            write!(f, "topic {:?}: ", topic.as_str())?;
        }
        fmt::Display::fmt(&self.0.failure, f)?;
        match self.0.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, "; {attempts} attempts"),
        }
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("topic", &self.0.topic)
            .field("failure", &self.0.failure)
            .field("attempts", &self.0.attempts)
            .finish_non_exhaustive()
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.failure.source().map(|source| source as _)
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        Self::new(failure)
    }
}

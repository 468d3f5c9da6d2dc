//! The span of a send: its attributes and its end.

use std::{
    fmt,
    time::{Instant, SystemTime},
};

use franking_core::{Outcome, Parts, is_unsafe};
use opentelemetry::{
    KeyValue,
    trace::{Span, Status},
};

/// The span of a send until its acknowledgement; nothing if it does not record.
pub struct Open<S>(pub(super) Option<Box<Recording<S>>>);

pub(super) struct Recording<S> {
    span: S,
    started: Instant,
    started_wall: SystemTime,
}

impl<S: Span> Recording<S> {
    /// A span of this record that has begun just now.
    pub(super) fn begin(mut span: S, record: &mut Parts, common: &[KeyValue], keys: bool) -> Self {
        span.set_attributes(common.iter().cloned());
        match &record.value {
            Some(value) => span.set_attribute(KeyValue::new(
                "messaging.message.body.size",
                value.len() as i64,
            )),
            None => span.set_attribute(KeyValue::new("messaging.kafka.message.tombstone", true)),
        }
        if let Some(key) = record.key.as_deref().filter(|_| keys)
            && let Ok(text) = std::str::from_utf8(key)
            && !text.chars().any(is_unsafe)
        {
            span.set_attribute(KeyValue::new(
                "messaging.kafka.message.key",
                text.to_owned(),
            ));
        }
        Self {
            span,
            started: record.now(),
            started_wall: SystemTime::now(),
        }
    }

    /// Ends it as the record ended.
    pub(super) fn end(mut self, outcome: &Outcome<'_>) {
        let span = &mut self.span;
        let partition = match outcome.result {
            Ok(placed) => {
                if let Some(offset) = placed.offset {
                    span.set_attribute(KeyValue::new("messaging.kafka.offset", offset));
                }
                Some(placed.partition)
            }
            Err(failure) => {
                span.set_attribute(KeyValue::new(
                    "error.type",
                    failure.code().name().to_owned(),
                ));
                // It never shows a payload.
                span.set_status(Status::error(failure.to_string()));
                outcome.record.partition
            }
        };
        if let Some(partition) = partition {
            span.set_attribute(KeyValue::new(
                "messaging.destination.partition.id",
                partition.to_string(),
            ));
        }
        if outcome.attempts > 1 {
            // The conventions have no name for it.
            span.set_attribute(KeyValue::new(
                "franking.attempts",
                i64::from(outcome.attempts),
            ));
        }
        // The acknowledgement's time was read once for the batch.
        let took = outcome.at.saturating_duration_since(self.started);
        span.end_with_timestamp(self.started_wall + took);
    }
}

impl<S> fmt::Debug for Open<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.0.is_some()).finish()
    }
}

//! From an application's record to bytes, before the record enters the stack.

use std::{future::Future, pin::Pin, time::Duration};

use franking_core::{BoxError, Code, Failure, Parts, Preparing, Record, SendError, Topic};
use tokio::time::Instant;

use super::{Inner, ProducerRecord};
use crate::{serializers::registry::SchemaError, timeout::within};

/// The wait for what serializers need before the first record to a topic.
pub(super) type Prepared = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

impl<K: 'static, V: 'static> Inner<K, V> {
    pub(super) fn serialize(&self, record: ProducerRecord<K, V>) -> Result<Record, SendError> {
        let ProducerRecord {
            mut record,
            key,
            value,
            invalid,
        } = record;
        let Parts { topic, headers, .. } = &mut *record;
        if let Some(invalid) = invalid {
            let failure = Failure::new(Code::InvalidRecord)
                .detail("a header has a name that Kafka does not take")
                .because(invalid);
            return Err(SendError::new(failure).in_topic(topic.clone()));
        }
        let key = match key.map(|key| self.key.serialize(topic, headers, key)) {
            Some(Err(error)) => return Err(refused("key.serializer", error, topic)),
            Some(Ok(key)) => key,
            None => None,
        };
        let value = match value.map(|value| self.value.serialize(topic, headers, value)) {
            Some(Err(error)) => return Err(refused("value.serializer", error, topic)),
            Some(Ok(value)) => value,
            None => None,
        };
        record.key = key;
        record.value = value;
        Ok(record)
    }

    /// Waits until the serializers have what they need for this record, `max.block.ms` at most, and says how much of that
    /// is left. Mostly they need nothing, and there is no wait.
    pub(super) async fn prepare(
        &self,
        record: &ProducerRecord<K, V>,
    ) -> Result<Duration, SendError> {
        match self.preparing(record) {
            None => Ok(self.max_block),
            Some(prepared) => self.wait(&record.record.topic, prepared).await,
        }
    }

    /// As [`prepare`](Self::prepare), for keys and values of a topic.
    pub(super) async fn prepare_topic(&self, topic: &Topic) -> Result<(), SendError> {
        match self.preparing_topic(topic, true, true) {
            None => Ok(()),
            Some(prepared) => self.wait(topic, prepared).await.map(drop),
        }
    }

    /// Begins what the serializers need for this record; `None` if they need nothing.
    pub(super) fn preparing(&self, record: &ProducerRecord<K, V>) -> Option<Prepared> {
        let (key, value) = (record.key.is_some(), record.value.is_some());
        self.preparing_topic(&record.record.topic, key, value)
    }

    fn preparing_topic(&self, topic: &Topic, key: bool, value: bool) -> Option<Prepared> {
        let key = key.then(|| self.key.prepare(topic)).flatten();
        let value = value.then(|| self.value.prepare(topic)).flatten();
        if key.is_none() && value.is_none() {
            return None;
        }
        Some(Box::pin(both(key, value, topic.clone())))
    }

    async fn wait(&self, topic: &Topic, prepared: Prepared) -> Result<Duration, SendError> {
        let began = Instant::now();
        let Some(prepared) = within(self.max_block, prepared) else {
            let failure = Failure::new(Code::WouldBlock)
                .detail("a serializer must wait for its registry, and to wait for max.block.ms takes a tokio runtime with time enabled")
                .advice("send from such a runtime, or use blocking()");
            return Err(SendError::new(failure).in_topic(topic.clone()));
        };
        match prepared.await {
            Ok(prepared) => prepared.map(|()| self.max_block.saturating_sub(began.elapsed())),
            Err(_) => Err(not_ready(Code::Serialization, topic)),
        }
    }
}

/// The wait for a serializer ended before it was ready, because of this.
pub(super) fn not_ready(code: Code, topic: &Topic) -> SendError {
    let mut failure = Failure::new(code)
        .transient(true)
        .detail("a serializer waited for its registry when the wait ended; the record was not sent")
        .advice("check that the registry answers, or wait longer");
    if *failure.code() == Code::Serialization {
        // Not the caller's own time-out or interrupt.
        failure = failure.setting("max.block.ms");
    }
    SendError::new(failure).in_topic(topic.clone())
}

async fn both(
    key: Option<Preparing>,
    value: Option<Preparing>,
    topic: Topic,
) -> Result<(), SendError> {
    // Both were begun, so one after the other takes no longer.
    for (setting, preparing) in [("key.serializer", key), ("value.serializer", value)] {
        if let Some(preparing) = preparing {
            let prepared = preparing.await;
            prepared.map_err(|error| refused(setting, error, &topic))?;
        }
    }
    Ok(())
}

fn refused(setting: &'static str, error: BoxError, topic: &Topic) -> SendError {
    let later = error.downcast_ref().is_some_and(SchemaError::is_transient);
    let failure = Failure::new(Code::Serialization)
        .transient(later)
        .setting(setting)
        .because(error);
    SendError::new(failure).in_topic(topic.clone())
}

//! Reports as records of a topic.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use franking_core::{Outcome, Produce, Record, Topic};

use super::{Receipt, Report, ReportSink};

/// Sends reports to a topic: a JSON object each, keyed by the topic that it is about.
///
/// Give it what stands inside the audit, best the bare engine: reports that pass the audit are audited themselves. A
/// report that was not acknowledged is sent again, with the same id, by which a collector knows it.
pub struct ToTopic<S> {
    topic: Topic,
    service: Mutex<S>,
}

impl<S> ToTopic<S> {
    /// To this topic, through this service.
    pub fn new(topic: impl Into<Topic>, service: S) -> Self {
        Self {
            topic: topic.into(),
            service: Mutex::new(service),
        }
    }
}

impl<S: Produce + Clone + Send + 'static> ReportSink for ToTopic<S> {
    fn write(&self, report: &Arc<Report>, receipt: Receipt) {
        let json = match serde_json::to_vec(&**report) {
            Ok(json) => json,
            Err(error) => return receipt.failed(&error),
        };
        let service = self.service.lock();
        let mut service = service.unwrap_or_else(PoisonError::into_inner).clone();
        // Never waits: this may be the thread that makes room.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => receipt.failed(&"the buffer is full"),
            Poll::Ready(Err(error)) => receipt.failed(&error),
            Poll::Ready(Ok(())) => {
                let mut record = Record::new(&self.topic).value(json);
                if let Some(about) = &report.topic {
                    record = record.key(about.clone());
                }
                record.push_hook(Box::new(|outcome: &Outcome<'_>| match outcome.result {
                    Ok(_) => receipt.written(),
                    Err(failure) => receipt.failed(failure),
                }));
                drop(service.call(record));
            }
        }
    }

    fn name(&self) -> &str {
        &self.topic
    }
}

impl<S> fmt::Debug for ToTopic<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToTopic")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

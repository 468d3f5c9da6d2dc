//! One record, one broker that answers as told, and what becomes of the record.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use franking::middleware::retry::{RetryLayer, RetryStats};
use franking::{
    Code, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence, Producer,
    ProducerRecord, SendResult,
};

use crate::support::{FakeBroker, builder, record};
use crate::table::Told;

/// `retries` of the producers here.
const RETRIES: usize = 2;

pub(crate) struct Trial {
    pub(crate) broker: Arc<FakeBroker>,
    pub(crate) producer: Producer<String, String>,
    failures: Arc<Failures>,
    retries: RetryStats,
}

/// Stands inside the retry layer: hears what failed, and lets the broker answer well after it.
struct Failures {
    broker: Arc<FakeBroker>,
    /// With the Produce requests that there were by then.
    heard: Mutex<Vec<(Failure, usize)>>,
}

impl Interceptor for Failures {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        if let Err(failure) = outcome.result {
            self.broker.heals();
            let heard = (failure.clone(), self.broker.produce_requests());
            self.heard.lock().unwrap().push(heard);
        }
    }
}

/// What became of a record.
pub(crate) struct Found {
    /// The first failure that librdkafka gave, if it gave one.
    pub(crate) failure: Option<Failure>,
    /// What the caller heard.
    pub(crate) result: SendResult,
    /// How often librdkafka tried, until then.
    tries: usize,
    resent: bool,
}

impl Trial {
    /// With these properties instead of short ones.
    pub(crate) fn new(properties: &[(&str, &str)]) -> Self {
        Self::waiting(Duration::from_millis(1), properties)
    }

    /// As [`new`](Self::new), with a retry layer that waits so long.
    pub(crate) fn waiting(wait: Duration, properties: &[(&str, &str)]) -> Self {
        let broker = Arc::new(FakeBroker::start());
        let failures = Arc::new(Failures {
            broker: Arc::clone(&broker),
            heard: Mutex::default(),
        });
        let retry = RetryLayer::new().max_attempts(20).backoff(wait, wait);
        let retries = RETRIES.to_string();
        let mut all = vec![
            ("retries", retries.as_str()),
            ("retry.backoff.ms", "1"),
            ("retry.backoff.max.ms", "1"),
            // A topic's leader is asked for so often: other requests must not wait behind it.
            ("max.in.flight.requests.per.connection", "5"),
            ("reconnect.backoff.ms", "1"),
            ("reconnect.backoff.max.ms", "20"),
            ("linger.ms", "0"),
            ("request.timeout.ms", "1000"),
            ("delivery.timeout.ms", "4000"),
            ("max.block.ms", "1500"),
        ];
        all.retain(|(name, _)| properties.iter().all(|(other, _)| name != other));
        all.extend(properties);
        let retries = retry.stats();
        let producer = builder(broker.bootstrap())
            .properties(all)
            .layer(retry)
            .layer(InterceptorLayer::new(Arc::clone(&failures)))
            .build()
            .unwrap();
        Self {
            broker,
            producer,
            failures,
            retries,
        }
    }

    /// As [`new`](Self::new), connected and with a record delivered.
    pub(crate) async fn warm(properties: &[(&str, &str)]) -> Self {
        let trial = Self::new(properties);
        trial.producer.send(record("t", "first")).await.unwrap();
        trial
    }

    /// Sends one, to a broker that has been told what to answer.
    pub(crate) async fn send(&self, record: ProducerRecord<String, String>) -> Found {
        let before = self.broker.produce_requests();
        let result = self.producer.send(record).await;
        self.found(before, result)
    }

    fn found(&self, before: usize, result: SendResult) -> Found {
        let (failure, requests) = match self.heard().into_iter().next() {
            Some((failure, requests)) => (Some(failure), requests),
            None => (None, self.broker.produce_requests()),
        };
        Found {
            tries: requests - before,
            resent: self.retries.retries() > 0 && result.is_ok(),
            failure,
            result,
        }
    }

    /// What librdkafka gave up so far, and how many Produce requests there were by then.
    pub(crate) fn heard(&self) -> Vec<(Failure, usize)> {
        std::mem::take(&mut *self.failures.heard.lock().unwrap())
    }

    /// Whether the producer takes nothing any more.
    pub(crate) async fn is_fatal(&self) -> bool {
        // Another topic: one without permission is asked for again later.
        let next = self.producer.send(record("other", "next")).await;
        let fatal = next
            .as_ref()
            .is_err_and(|error| *error.code() == Code::Fatal);
        assert!(fatal || next.is_ok(), "{next:?}");
        fatal
    }
}

impl Found {
    /// In the table's words.
    pub(crate) fn told(&self, fatal: bool) -> Told {
        let tries = match self.tries {
            0 | 1 if fatal => "no: fatal",
            0 | 1 => "no",
            tries if tries == RETRIES + 1 => "retries",
            _ => "until time-out",
        };
        Told {
            librdkafka: tries.to_owned(),
            retry_layer: yes(self.resent),
            ..told(self.failure.as_ref())
        }
    }
}

/// A failure in the table's words; nobody tried it again.
pub(crate) fn told(failure: Option<&Failure>) -> Told {
    let (surfaces_as, record, transient) = match failure {
        None => ("delivered", "delivered", String::new()),
        Some(failure) => {
            let record = match failure.persistence() {
                Persistence::NotPersisted => "not persisted",
                Persistence::Unknown => "unknown",
            };
            (failure.code().name(), record, yes(failure.is_transient()))
        }
    };
    Told {
        surfaces_as: surfaces_as.to_owned(),
        record: record.to_owned(),
        transient,
        librdkafka: "no".to_owned(),
        retry_layer: "no".to_owned(),
    }
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

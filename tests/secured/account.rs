//! What a producer said of its records, and whether it is so.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use franking::{Code, Persistence, Producer, SendError};

use crate::support::{read, record};

/// Records that are sent together, so that some are in flight at any time.
const TOGETHER: usize = 10;

/// The records of one topic, by what was said of them.
pub(crate) struct Account<'p> {
    producer: &'p Producer<String, String>,
    pub(crate) topic: String,
    pub(crate) sent: usize,
    pub(crate) acked: Vec<String>,
    pub(crate) not_persisted: Vec<String>,
    pub(crate) unknown: Vec<String>,
}

impl<'p> Account<'p> {
    pub(crate) fn new(producer: &'p Producer<String, String>, topic: String) -> Self {
        Self {
            producer,
            topic,
            sent: 0,
            acked: vec![],
            not_persisted: vec![],
            unknown: vec![],
        }
    }

    /// Sends a few records at once; the errors of those that failed.
    pub(crate) async fn send(&mut self) -> Vec<SendError> {
        let mut waiting = vec![];
        for _ in 0..TOGETHER {
            let value = format!("{}", self.sent);
            self.sent += 1;
            let record = record(&self.topic, value.clone());
            // Who is refused already hears so here.
            waiting.push((value, self.producer.enqueue(record).await));
        }
        let mut errors = vec![];
        for (value, sent) in waiting {
            let ended = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(_) => self.acked.push(value),
                Err(error) => {
                    match error.persistence() {
                        Persistence::NotPersisted => self.not_persisted.push(value),
                        Persistence::Unknown => self.unknown.push(value),
                    }
                    errors.push(error);
                }
            }
        }
        errors
    }

    /// Goes on until all of a send's records fail with this code, and gives one of their errors and the time.
    pub(crate) async fn until_refused(&mut self, code: Code) -> (SendError, Duration) {
        let began = Instant::now();
        loop {
            let mut errors = self.send().await;
            for error in &errors {
                assert_eq!(*error.code(), code, "{error}");
            }
            if errors.len() == TOGETHER {
                return (errors.remove(0), began.elapsed());
            }
            pause(began).await;
        }
    }

    /// Goes on until all of a send's records are taken, and gives the time.
    pub(crate) async fn until_taken(&mut self) -> Duration {
        let began = Instant::now();
        while !self.send().await.is_empty() {
            pause(began).await;
        }
        began.elapsed()
    }

    /// Sends this long, and all is taken.
    pub(crate) async fn goes_well(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            let errors = self.send().await;
            assert!(errors.is_empty(), "{errors:?}");
            pause(began).await;
        }
    }

    /// Compares it with what is stored.
    pub(crate) fn must_be_true(&self, bootstrap: &str) {
        let mut stored = HashMap::<String, usize>::new();
        for record in read(bootstrap, &self.topic) {
            let value = String::from_utf8(record.value.unwrap()).unwrap();
            *stored.entry(value).or_default() += 1;
        }
        for value in &self.acked {
            assert_eq!(stored.remove(value), Some(1), "acknowledged: {value}");
        }
        for value in &self.not_persisted {
            assert_eq!(stored.remove(value), None, "not persisted: {value}");
        }
        for value in &self.unknown {
            let copies = stored.remove(value).unwrap_or_default();
            assert!(copies <= 1, "unknown, {copies} times: {value}");
        }
        assert!(stored.is_empty(), "never sent: {stored:?}");
        assert_eq!(
            self.acked.len() + self.not_persisted.len() + self.unknown.len(),
            self.sent
        );
    }

    pub(crate) fn figures(&self) -> String {
        format!(
            "{} sent, {} acknowledged, {} not persisted, {} unknown",
            self.sent,
            self.acked.len(),
            self.not_persisted.len(),
            self.unknown.len()
        )
    }
}

async fn pause(began: Instant) {
    assert!(
        began.elapsed() < Duration::from_secs(90),
        "it never happens"
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
}

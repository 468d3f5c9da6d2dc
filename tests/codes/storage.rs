//! A broker whose disk fails three times (row 11): who tries again, and who counts.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use franking::middleware::retry::RetryLayer;
use franking::{Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence, Topic};

use crate::support::oracle::{History, Judge};
use crate::support::{Answer, Api, Mock, bytes_builder};

/// Notes how often each record was handed to the engine.
#[derive(Default)]
struct Attempts(Mutex<Vec<u32>>);

impl Interceptor for Attempts {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        self.0.lock().unwrap().push(outcome.attempts);
    }
}

struct Run {
    /// What became of the record that met the disk.
    result: franking::SendResult,
    /// As the hook heard, and as the retry layer counted.
    attempts: u32,
    resends: u64,
    took: Duration,
}

/// Sends a record to a disk that fails three times, with so many `retries`, and a retry layer of so many attempts.
async fn three_times(retries: &str, max_attempts: u32) -> Run {
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 1);
    let history = History::new();
    let attempts = std::sync::Arc::new(Attempts::default());
    let retry = RetryLayer::new()
        .max_attempts(max_attempts)
        .backoff(Duration::from_millis(50), Duration::from_millis(50));
    let stats = retry.stats();
    let producer = bytes_builder(mock.bootstrap())
        .property("retries", retries)
        .property("retry.backoff.ms", "100")
        .property("retry.backoff.max.ms", "100")
        .layer(history.layer())
        .layer(InterceptorLayer::new(std::sync::Arc::clone(&attempts)))
        .layer(retry)
        .build()
        .unwrap();
    history.send(&producer, &topic, 0).await;
    producer.flush().await;
    mock.answers(
        Api::Produce,
        &[Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR; 3],
    );
    let started = Instant::now();
    let (id, record) = history.record(&topic, 0);
    let result = producer.send(record).await;
    let took = started.elapsed();
    history.hears(id, &result);
    mock.answers_well(Api::Produce);
    history.send(&producer, &topic, 0).await;
    producer.flush().await;

    let copies = history.stored(&mock.bootstrap(), &topic);
    let verdict = Judge::of(&history, &copies).verdict();
    verdict.must_hold(&format!(
        "row 11, a disk fails three times, retries {retries}, at most {max_attempts} attempts"
    ));
    let attempts = attempts.0.lock().unwrap();
    assert_eq!((attempts[0], attempts[2], attempts.len()), (1, 1, 3));
    Run {
        result,
        attempts: attempts[1],
        resends: stats.retries(),
        took,
    }
}

#[tokio::test]
async fn with_one_retry_of_the_engine_the_record_is_not_persisted() {
    let run = three_times("1", 1).await;
    let error = run.result.unwrap_err();
    assert_eq!(error.code().name(), "KAFKA_STORAGE_ERROR");
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    assert_eq!((error.attempts(), run.attempts, run.resends), (1, 1, 0));
    assert!(error.into_record().is_some());
}

#[tokio::test]
async fn with_ten_retries_of_the_engine_the_record_is_delivered() {
    let run = three_times("10", 1).await;
    assert_eq!(run.result.unwrap().offset, Some(1));
    assert_eq!((run.attempts, run.resends), (1, 0));
    // It met the disk: librdkafka waited three times, each with a jitter of 20 %.
    assert!(run.took > Duration::from_millis(200), "{:?}", run.took);
}

#[tokio::test]
async fn the_retry_layer_over_one_retry_of_the_engine_delivers_it_and_counts() {
    let run = three_times("1", 3).await;
    assert_eq!(run.result.unwrap().offset, Some(1));
    assert_eq!((run.attempts, run.resends), (2, 1));
}

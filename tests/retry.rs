//! Retries under order (row 20): keyed records, pipelined, a tenth of them fails once.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use franking::middleware::retry::{Order, RetryLayer};
use franking::{Persistence, SendResult, Topic};
use support::oracle::{Clause, Verdict};
use support::{Answer, Api, Full, Mock, Random};

const TASKS: u32 = 4;
const EACH: u32 = 10_000;
/// Keys of a task.
const KEYS: u32 = 500;

/// What errors said.
#[derive(Default)]
struct Said {
    left_out: AtomicU64,
    exhausted: AtomicU64,
}

impl Said {
    fn hears(&self, result: &SendResult) {
        let Err(error) = result else { return };
        assert_eq!(error.code().name(), "THROTTLING_QUOTA_EXCEEDED", "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
        let counted = match error.failure().why_declined() {
            Some(why) => {
                assert!(error.to_string().contains(why), "{error}");
                assert!(error.what_to_do().contains("Order::GiveUp"), "{error}");
                &self.left_out
            }
            None => &self.exhausted,
        };
        counted.fetch_add(1, SeqCst);
    }
}

struct Run {
    full: Full,
    mock: Mock,
    topic: Topic,
    said: Arc<Said>,
}

impl Run {
    async fn new(order: Order) -> Self {
        let topic = Topic::from("t");
        let mock = Mock::with_topic(&topic, 3);
        let retry = RetryLayer::new()
            .order(order)
            .backoff(Duration::from_millis(10), Duration::from_millis(30));
        // Small batches: an answer is about one of them, and many are on their way.
        let settings = [("batch.num.messages", "20"), ("linger.ms", "1")];
        let full = Full::with_retry(&mock.bootstrap(), &settings, retry);
        let run = Self {
            full,
            mock,
            topic,
            said: Arc::default(),
        };
        run.send_all(&mut Random::new()).await;
        run.full.producer.flush().await;
        run
    }

    async fn send_all(&self, random: &mut Random) {
        // What a quota refuses librdkafka does not try again: it is the retry layer's.
        let answers: Vec<_> = (0..TASKS * EACH / 10)
            .map(|_| match random.below(10) {
                0 => Answer::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
                _ => Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
            })
            .collect();
        self.mock.answers(Api::Produce, &answers);
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (producer, topic) = (self.full.producer.clone(), self.topic.clone());
                let (history, said) = (self.full.history.clone(), Arc::clone(&self.said));
                tokio::spawn(async move {
                    for n in 0..EACH {
                        // Keys come again soon or late, so that some resends are overtaken and some are not.
                        let key = match n % 2 {
                            0 => n % KEYS,
                            _ => KEYS + n,
                        };
                        let (id, record) = history.record(&topic, task * 100_000 + key);
                        let (history, said) = (history.clone(), Arc::clone(&said));
                        let told = move |result: SendResult| {
                            said.hears(&result);
                            history.hears(id, &result);
                        };
                        producer.send_with(record, told).await;
                        if n % 100 == 0 {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    fn judge(&self, name: &str, excused: Option<Clause>) -> Verdict {
        let copies = self
            .full
            .history
            .stored(&self.mock.bootstrap(), &self.topic);
        let mut judge = self.full.judge(&copies);
        if let Some(clause) = excused {
            judge = judge.without(clause);
        }
        let verdict = judge.verdict();
        println!("{name}: {:?}", self.full.retry);
        verdict.must_hold(name);
        let said = (
            self.said.left_out.load(SeqCst),
            self.said.exhausted.load(SeqCst),
        );
        assert_eq!(said.0, self.full.retry.overtaken(), "each says so");
        assert_eq!(said.0 + said.1, verdict.not_persisted);
        assert!(self.full.retry.retries() > 100, "{:?}", self.full.retry);
        verdict
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_comes_behind_no_later_record_of_its_key() {
    let run = Run::new(Order::Keep).await;
    let verdict = run.judge("row 20, order kept", None);
    assert_eq!(verdict.inverted, 0);
    assert!(run.full.retry.overtaken() > 100, "{:?}", run.full.retry);
}

/// The same run, so that it is known to find inversions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_order_is_given_up_more_arrive_and_some_come_late() {
    let run = Run::new(Order::GiveUp).await;
    let verdict = run.judge("row 20, order given up", Some(Clause::Order));
    assert!(verdict.inverted > 100, "{verdict}");
    assert_eq!(run.full.retry.overtaken(), 0);
}

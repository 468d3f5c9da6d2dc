//! What librdkafka finds out by itself (row 10).

use std::time::{Duration, Instant};

use franking::{Persistence, ProducerRecord};

use crate::support::{Produced, eventually, record};
use crate::table::{Row, Told, rows};
use crate::trial::{Trial, told};

/// Makes it happen to a record, and says what became of it.
async fn happens(what: &str) -> Told {
    let plain = || record("t", "v");
    match what {
        "no broker can be reached" => {
            let trial = Trial::new(&[]);
            trial.broker.goes_down();
            waits_and_arrives(&trial, plain()).await
        }
        "no answer comes" => {
            let trial = Trial::warm(&[]).await;
            trial.broker.answers(Produced::Silence);
            let mut told = fails(&trial, plain()).await;
            // It is tried as often as there is time: once or twice.
            told.librdkafka = "until time-out".to_owned();
            told
        }
        "no answer comes as often as retries says" => {
            let short = [
                ("request.timeout.ms", "200"),
                ("delivery.timeout.ms", "30000"),
            ];
            let trial = Trial::warm(&short).await;
            trial.broker.answers(Produced::Silence);
            fails(&trial, plain()).await
        }
        "the connection is cut before the answer, each time" => {
            let trial = Trial::warm(&[("delivery.timeout.ms", "30000")]).await;
            trial.broker.answers(Produced::HangUp);
            fails(&trial, plain()).await
        }
        "the answer ends too early" => {
            let trial = Trial::warm(&[]).await;
            trial.broker.answers(Produced::Garbled);
            let told = fails(&trial, plain()).await;
            let stored = trial.broker.stored();
            assert_eq!(stored, 3, "the first, the next, and the unknown one");
            told
        }
        "the record is larger than max.request.size" => {
            let trial = Trial::warm(&[("max.request.size", "1000")]).await;
            fails(&trial, record("t", "v".repeat(1_000))).await
        }
        "the topic has no such partition" => {
            let trial = Trial::warm(&[]).await;
            fails(&trial, plain().partition(1)).await
        }
        "the topic turns out to have no such partition" => {
            let trial = Trial::new(&[]);
            fails(&trial, plain().partition(1)).await
        }
        "the topic does not exist" => {
            // librdkafka asks again for a missing topic once a second. Of a broker that gives topics no ids, as this one and
            // Kafka's before 2.8, it does not believe for `max.block.ms` that the topic is there again, nor asks soon.
            let wait = Duration::from_secs(2);
            let settings = [("delivery.timeout.ms", "30000"), ("max.block.ms", "0")];
            let trial = Trial::waiting(wait, &settings);
            trial.broker.topic_answers(3);
            waits_and_arrives(&trial, plain()).await
        }
        "the topic has no leader" => {
            let trial = Trial::new(&[]);
            trial.broker.topic_answers(5);
            waits_and_arrives(&trial, plain()).await
        }
        "the topic may not be seen" => {
            let trial = Trial::new(&[]);
            trial.broker.topic_answers(29);
            fails(&trial, plain()).await
        }
        "the topic's name is not valid for the broker: those that wait" => {
            let trial = Trial::new(&[]);
            // No leader as yet: it waits for what the broker says next.
            trial.broker.topic_answers(5);
            let waits = fails(&trial, plain());
            tokio::join!(waits, async { trial.broker.topic_answers(17) }).0
        }
        "the topic's name is not valid for the broker: later ones" => {
            // As a topic that does not exist.
            let settings = [("max.block.ms", "0")];
            let trial = Trial::waiting(Duration::from_secs(2), &settings);
            trial.broker.topic_answers(5);
            let first = trial.producer.enqueue(plain()).await.unwrap();
            trial.broker.topic_answers(17);
            let error = first.await.unwrap_err();
            assert_eq!(error.code().name(), "INVALID_RECORD");
            trial.heard();
            trial.broker.topic_answers(17);
            let found = trial.send(plain()).await;
            assert!(found.result.is_ok(), "{:?}", found.result);
            found.told(false)
        }
        "the topic's name is too long, or has other signs than Kafka's" => {
            let trial = Trial::warm(&[]).await;
            let long = fails(&trial, record(&"t".repeat(250), "v")).await;
            let signs = fails(&trial, record("a topic", "v")).await;
            assert_eq!(long, signs);
            signs
        }
        "one record of the batch is not valid: it, and the others" => {
            let [first, second, third] = batch_of_three(&[1]).await;
            assert_eq!((&first, &third), (&second, &second));
            second
        }
        "several records of the batch are not valid: they" => {
            let [first, _, third] = batch_of_three(&[0, 2]).await;
            assert_eq!(first, third);
            first
        }
        "several records of the batch are not valid: the others" => {
            let [_, second, _] = batch_of_three(&[0, 2]).await;
            second
        }
        "the time to close is over, the record in the queue" => {
            let [_, queued] = ended(false).await;
            queued
        }
        "the time to close is over, the record on its way" => {
            let [on_its_way, _] = ended(false).await;
            on_its_way
        }
        "no broker lets the client in, the record not sent yet" => {
            let [_, queued] = locked_out().await;
            queued
        }
        "no broker lets the client in, the record sent before" => {
            let [on_its_way, _] = locked_out().await;
            on_its_way
        }
        "a fatal error, the record in the queue" => {
            let [_, queued] = ended(true).await;
            queued
        }
        "a fatal error, the record on its way" => {
            let [on_its_way, _] = ended(true).await;
            on_its_way
        }
        "after a fatal error" => {
            let trial = Trial::warm(&[]).await;
            trial.broker.answers(Produced::Code(45));
            trial.send(plain()).await.result.unwrap_err();
            let error = trial.send(plain()).await.result.unwrap_err();
            assert_eq!(error.attempts(), 0);
            told(Some(error.failure()))
        }
        "the principal may not be idempotent" => refused_id(31).await,
        "the producer is fenced: PRODUCER_FENCED for its id" => refused_id(90).await,
        "the producer is fenced: INVALID_PRODUCER_EPOCH for its id" => refused_id(47).await,
        "the broker knows no idempotence" => {
            let trial = Trial::new(&[]);
            trial.broker.hides_producer_ids();
            fails(&trial, plain()).await
        }
        "a gap, with enable.gapless.guarantee" => {
            let trial = Trial::warm(&[("enable.gapless.guarantee", "true")]).await;
            trial.broker.answers(Produced::Code(10));
            fails(&trial, plain()).await
        }
        other => panic!("nobody knows how to make this happen: {other}"),
    }
}

/// Sends it, and it fails for good.
async fn fails(trial: &Trial, record: ProducerRecord<String, String>) -> Told {
    let stored = trial.broker.stored();
    let found = trial.send(record).await;
    let error = found.result.as_ref().unwrap_err();
    if !found.failure.as_ref().unwrap().is_transient() {
        assert_eq!(error.code(), found.failure.as_ref().unwrap().code());
    }
    if error.persistence() == Persistence::NotPersisted {
        assert_eq!(trial.broker.stored(), stored, "{error}");
    }
    trial.broker.heals();
    let fatal = trial.is_fatal().await;
    assert!(eventually(|| trial.producer.room().used() == 0));
    found.told(fatal)
}

/// Sends it; librdkafka gives up without having sent anything, and the retry layer sends it again to a broker that is
/// well by then.
async fn waits_and_arrives(trial: &Trial, record: ProducerRecord<String, String>) -> Told {
    let found = trial.send(record).await;
    assert!(found.result.is_ok(), "{:?}", found.result);
    assert_eq!(trial.broker.stored(), 1);
    Told {
        librdkafka: "until time-out".to_owned(),
        ..found.told(false)
    }
}

/// These of three records in a batch are not valid: what is told of the three.
async fn batch_of_three(invalid: &[i32]) -> [Told; 3] {
    let trial = Trial::warm(&[("linger.ms", "200")]).await;
    trial.broker.answers(Produced::Records(invalid.to_vec()));
    let mut sent = vec![];
    for key in ["a", "b", "c"] {
        let record = record("t", "v").key(key.to_owned());
        sent.push(trial.producer.enqueue(record).await.unwrap());
    }
    let mut results = vec![];
    for sent in sent {
        results.push(sent.await);
    }
    let heard = trial.heard();
    assert_eq!(heard.len(), 3);
    assert!(
        heard.iter().all(|(_, requests)| *requests == 2),
        "one batch"
    );
    let delivered = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(trial.broker.stored(), 1 + delivered);
    let told = heard
        .iter()
        .zip(results)
        .map(|((failure, _), result)| Told {
            retry_layer: if result.is_ok() { "yes" } else { "no" }.to_owned(),
            ..told(Some(failure))
        });
    told.collect::<Vec<_>>().try_into().unwrap()
}

/// The producer ends while a record is on its way and another is in the queue: what is told of these two.
async fn ended(fatally: bool) -> [Told; 2] {
    let long = [
        ("request.timeout.ms", "1000"),
        ("delivery.timeout.ms", "30000"),
    ];
    let trial = Trial::warm(&long).await;
    trial.producer.send(record("other", "first")).await.unwrap();
    trial.broker.answers(Produced::Silence);
    let before = trial.broker.produce_requests();
    let on_its_way = trial.producer.enqueue(record("t", "v")).await.unwrap();
    assert!(eventually(|| trial.broker.produce_requests() > before));
    trial.broker.topic_answers(5);
    let queued = trial.producer.enqueue(record("leaderless", "v")).await;
    let queued = queued.unwrap();
    if fatally {
        trial.broker.answers(Produced::Code(45));
        let error = trial.producer.send(record("other", "v")).await.unwrap_err();
        assert_eq!(error.code().name(), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    } else {
        let closed = trial.producer.close(Duration::from_millis(100)).await;
        assert_eq!((closed.not_persisted, closed.unknown), (1, 1));
    }
    let ends = [on_its_way.await.unwrap_err(), queued.await.unwrap_err()];
    assert!(eventually(|| trial.producer.room().used() == 0));
    ends.map(|error| told(Some(error.failure())))
}

/// The broker lets the client in no more while a record is on its way and another is in the queue: what is told of these
/// two. Later it does again, and the same producer goes on.
async fn locked_out() -> [Told; 2] {
    let trial = Trial::warm(&[
        ("delivery.timeout.ms", "120000"),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "alice"),
        ("sasl.password", "hunter2"),
    ])
    .await;
    trial.broker.answers(Produced::Silence);
    let before = trial.broker.produce_requests();
    let on_its_way = trial.producer.enqueue(record("t", "v")).await.unwrap();
    assert!(eventually(|| trial.broker.produce_requests() > before));
    let began = Instant::now();
    trial.broker.refuses_passwords();
    let queued = trial.producer.enqueue(record("t", "v")).await.unwrap();
    let ends = [on_its_way.await.unwrap_err(), queued.await.unwrap_err()];
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    for error in &ends {
        assert_eq!(error.failure().setting_name(), Some("sasl.password"));
        let text = error.to_string();
        assert!(
            !text.contains(char::is_control) && !text.contains("way"),
            "{text}"
        );
        assert!(
            !text.contains("alice") && !text.contains("hunter2"),
            "{text}"
        );
    }
    assert!(eventually(|| trial.producer.room().used() == 0));
    assert_eq!(trial.broker.stored(), 1);

    // Whoever heard the failures has healed the broker.
    let healed = Instant::now();
    while trial.producer.send(record("t", "again")).await.is_err() {
        assert!(healed.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "locked out: told after {waited:?}; let in again after {:?}",
        healed.elapsed()
    );
    ends.map(|error| told(Some(error.failure())))
}

/// The broker refuses to give the producer an id.
async fn refused_id(code: i16) -> Told {
    let trial = Trial::new(&[]);
    trial.broker.producer_id_answers(code);
    fails(&trial, record("t", "v")).await
}

#[test]
fn what_librdkafka_says_itself_is_told_as_the_table_says() {
    let rows = rows("What librdkafka says itself");
    let right = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for Row { what, told, .. } in &rows {
            let (right, wrong) = (&right, &wrong);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let found = runtime.block_on(happens(what));
                if found == *told {
                    right.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                } else {
                    wrong.lock().unwrap().push((what, told, found));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!(
        "row 10, librdkafka's own: {} cases, {right:?} as the table says",
        rows.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

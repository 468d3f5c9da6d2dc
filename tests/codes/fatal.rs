//! A fatal error with 100,000 records queued (row 13).

use std::time::{Duration, Instant};

use franking::{Code, SendError, Topic};

use crate::support::{Answer, Api, Full, Mock, eventually};

const QUEUED: u64 = 100_000;
const STREAMS: u32 = 10;

/// Room for all of them.
const ROOM: (&str, &str) = ("buffer.memory", "536870912");

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Sends until that fails. From then on every way to send fails at once, while all that was queued is being settled, and
/// says how to go on.
async fn every_later_call_fails_at_once(full: &Full, topic: &Topic, name: &str) -> Duration {
    let producer = &full.producer;
    let says_how_to_go_on = |error: &SendError| {
        assert_eq!(*error.code(), Code::Fatal, "{error}");
        let text = error.to_string();
        assert!(text.contains(name), "{error}");
        assert!(text.contains("build a new producer"), "{error}");
        assert_eq!((error.attempts(), error.is_transient()), (0, false));
    };
    while producer.room().refused().is_none() {
        full.history.send(producer, topic, 0).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let outstanding = producer.room().outstanding();
    let mut slow = vec![];
    for _ in 0..1_000 {
        let (id, record) = full.history.record(topic, 0);
        let started = Instant::now();
        let result = producer.send(record).await;
        slow.push(started.elapsed());
        full.history.hears(id, &result);
        let error = result.unwrap_err();
        says_how_to_go_on(&error);
        assert!(error.into_record().is_some());
    }
    let (id, record) = full.history.record(topic, 0);
    let error = producer.try_send(record).unwrap_err();
    says_how_to_go_on(&error);
    full.history.hears(id, &Err(error));
    assert!(
        outstanding > 0,
        "all was settled before the first of these calls"
    );
    assert!(eventually(|| producer.room().outstanding() == 0));
    assert!(eventually(|| producer.room().used() == 0), "room came back");
    slow.sort_unstable();
    // A busy machine may stop this thread at any place, so not the slowest.
    let most = slow[990];
    assert!(most < Duration::from_millis(10), "{most:?}");
    most
}

async fn closes(full: &Full) {
    let started = Instant::now();
    let closed = full.producer.close(Duration::from_secs(5)).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{closed}");
    assert_eq!(
        closed.to_string(),
        "0 delivered, 0 not persisted, 0 unknown"
    );
}

fn fenced(answer: Answer) {
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 3);
    let full = Full::new(&mock.bootstrap(), &[ROOM]);
    runtime().block_on(async {
        // They wait for the producer's id, which it does not get.
        mock.down();
        mock.answers(Api::InitProducerId, &[answer]);
        for n in 0..QUEUED {
            let stream = n as u32 % STREAMS;
            full.history.send(&full.producer, &topic, stream).await;
        }
        assert_eq!(full.history.in_flight(), QUEUED);
        let started = Instant::now();
        mock.up();
        let slowest = every_later_call_fails_at_once(&full, &topic, "_FENCED").await;
        println!(
            "settled after {:?}, 99 % of later calls within {slowest:?}",
            started.elapsed()
        );
        closes(&full).await;
    });
    let copies = full.history.stored(&mock.bootstrap(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold(&format!("row 13, fenced by {answer:?}, {QUEUED} queued"));
    assert_eq!((verdict.stored, verdict.unknown), (0, 0));
    assert_eq!(verdict.not_persisted, verdict.sent);
}

#[test]
fn a_producer_that_is_fenced_tells_all_that_was_queued() {
    fenced(Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
}

#[test]
fn a_producer_whose_epoch_is_old_tells_all_that_was_queued() {
    fenced(Answer::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
}

#[test]
fn broken_idempotence_tells_what_was_queued_and_what_was_on_its_way() {
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 3);
    let properties = [
        ROOM,
        ("batch.num.messages", "1000"),
        ("max.in.flight.requests.per.connection", "5"),
    ];
    let full = Full::new(&mock.bootstrap(), &properties);
    let name = "OUT_OF_ORDER_SEQUENCE_NUMBER";
    runtime().block_on(async {
        full.history.send(&full.producer, &topic, 0).await;
        full.producer.flush().await;
        mock.down();
        for n in 0..QUEUED {
            let stream = n as u32 % STREAMS;
            full.history.send(&full.producer, &topic, stream).await;
        }
        assert_eq!(full.history.in_flight(), QUEUED);
        // Some requests are on their way by the time of the first answer, which is the fatal one.
        mock.round_trip(Duration::from_millis(500));
        mock.answers(
            Api::Produce,
            &[Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
        );
        let started = Instant::now();
        mock.up();
        let slowest = every_later_call_fails_at_once(&full, &topic, name).await;
        println!(
            "settled after {:?}, 99 % of later calls within {slowest:?}",
            started.elapsed()
        );
        closes(&full).await;
    });
    mock.round_trip(Duration::ZERO);
    let copies = full.history.stored(&mock.bootstrap(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold(&format!("row 13, idempotence broken, {QUEUED} queued"));
    // The batch that the broker refused, those on their way behind it, and the rest.
    assert!(verdict.unknown > 0, "{verdict}");
    assert!(verdict.acked > 1, "{verdict}");
    assert!(verdict.not_persisted > QUEUED / 2, "{verdict}");
}

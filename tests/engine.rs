//! The engine on librdkafka under faults: one true outcome for each record, and an end in time.

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::config::{Config, Properties, Required};
use franking::engine::rdkafka::RdkafkaEngine;
use franking::middleware::retry::RetryLayer;
use franking::testing::block_on;
use franking::{
    Code, Delivery, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence, Producer,
    Record, Totals,
};
use support::{Answer, Api, Counter, Mock, builder, eventually, in_time, record, topic};
use tower_service::Service as _;

/// Longer than anything that shall happen takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn multi_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

// === what an answer of the broker's means ===

/// Sends one record that is answered so, however often it is tried.
async fn answered(answer: Answer) -> franking::SendError {
    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap())
        .property("retries", "1")
        .property("retry.backoff.ms", "1")
        .build()
        .unwrap();
    producer.send(record("t", "first")).await.unwrap();
    mock.answers(Api::Produce, &[answer; 50]);
    let error = producer
        .send(record("t", "v").key("k".into()))
        .await
        .unwrap_err();
    assert_eq!(error.attempts(), 1, "{error}");
    error
}

#[tokio::test]
async fn a_brokers_answer_is_told_as_it_is() {
    use Answer::*;
    use Persistence::{NotPersisted, Unknown};
    let named = |number: i32, name: &'static str| Code::Broker {
        number,
        name: name.into(),
    };
    let cases = [
        (
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            named(56, "KAFKA_STORAGE_ERROR"),
            NotPersisted,
            true,
        ),
        (
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            named(19, "NOT_ENOUGH_REPLICAS"),
            NotPersisted,
            true,
        ),
        (
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            named(20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
            Unknown,
            true,
        ),
        (
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            named(7, "REQUEST_TIMED_OUT"),
            Unknown,
            true,
        ),
        (
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Code::Authorization,
            NotPersisted,
            false,
        ),
        (
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Code::RecordTooLarge,
            NotPersisted,
            false,
        ),
        (
            RD_KAFKA_RESP_ERR_INVALID_RECORD,
            Code::InvalidRecord,
            NotPersisted,
            false,
        ),
        (
            RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            named(44, "POLICY_VIOLATION"),
            NotPersisted,
            false,
        ),
        (
            RD_KAFKA_RESP_ERR_UNKNOWN,
            named(-1, "UNKNOWN"),
            Unknown,
            false,
        ),
    ];
    for (answer, code, persistence, transient) in cases {
        let error = answered(answer).await;
        assert_eq!(*error.code(), code, "{error}");
        assert_eq!(error.persistence(), persistence, "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
        let back = error.into_record().expect("the record back");
        assert_eq!(back.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(back.value.as_deref(), Some(&b"v"[..]));
    }
}

#[tokio::test]
async fn a_topic_that_may_not_be_seen_is_an_authorization_error() {
    let mock = Mock::new();
    mock.topic_answers(
        "denied",
        Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    );
    let producer = builder(mock.bootstrap()).build().unwrap();
    let error = producer.send(record("denied", "v")).await.unwrap_err();
    assert_eq!(*error.code(), Code::Authorization);
    assert_eq!(error.persistence(), Persistence::NotPersisted);
    // It is that topic's error, not the producer's.
    producer.send(record("t", "v")).await.unwrap();
}

#[tokio::test]
async fn records_in_flight_that_time_out_are_unknown_and_queued_ones_not_persisted() {
    let build = |mock: &Mock| {
        builder(mock.bootstrap())
            .property("linger.ms", "0")
            .property("request.timeout.ms", "1000")
            .property("delivery.timeout.ms", "1500")
            .build()
            .unwrap()
    };
    let mock = Mock::with_topic("t", 1);
    let producer = build(&mock);
    producer.send(record("t", "first")).await.unwrap();
    mock.round_trip(PATIENCE);
    let error = producer.send(record("t", "in flight")).await.unwrap_err();
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::Unknown, "{error}");
    assert!(error.to_string().contains("delivery.timeout.ms"), "{error}");
    assert!(error.into_record().is_some());

    let mock = Mock::with_topic("t", 1);
    mock.down();
    let error = build(&mock).send(record("t", "queued")).await.unwrap_err();
    assert_eq!(*error.code(), Code::TimedOut);
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
    assert!(error.is_transient());
}

// === fatal ===

/// A producer that fails fatally as soon as it reaches its broker.
fn doomed(mock: &Mock) -> Producer<String, String> {
    mock.answers(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    builder(mock.bootstrap()).build().unwrap()
}

#[tokio::test]
async fn a_fatal_error_ends_every_record_and_is_told_at_once_and_for_good() {
    let mock = Mock::with_topic("t", 1);
    mock.down();
    let producer = doomed(&mock);
    let mut deliveries = vec![];
    for i in 0..1_000 {
        deliveries.push(producer.enqueue(record("t", i.to_string())).await.unwrap());
    }
    mock.up();
    for delivery in deliveries {
        let error = delivery.await.unwrap_err();
        assert_eq!(*error.code(), Code::Fatal, "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert!(error.into_record().is_some());
    }
    for _ in 0..3 {
        let started = Instant::now();
        let error = producer.send(record("t", "v")).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(*error.code(), Code::Fatal);
        assert_eq!(error.attempts(), 0, "it is poll_ready that says so");
        assert!(!error.is_transient());
        assert!(
            error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"),
            "{error}"
        );
        assert!(error.into_record().is_some());
    }
    producer.flush().await;
    assert_eq!(producer.close(Duration::from_secs(5)).await.unknown, 0);
    assert_eq!(producer.room().used(), 0);
    assert_eq!(producer.room().totals().not_persisted, 1_000);
}

#[tokio::test]
async fn who_waits_for_room_hears_of_a_fatal_error() {
    let mock = Mock::with_topic("t", 1);
    mock.down();
    mock.answers(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    let producer = builder(mock.bootstrap())
        .property("buffer.memory", "8192")
        .build()
        .unwrap();
    while producer.try_send(record("t", "v")).is_ok() {}
    let waits = {
        let producer = producer.clone();
        tokio::spawn(async move { producer.send(record("t", "waits")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    mock.up();
    let error = waits.await.unwrap().unwrap_err();
    assert_eq!(*error.code(), Code::Fatal);
}

// === close ===

/// How so many futures end.
async fn ends(deliveries: Vec<Delivery>) -> Totals {
    let mut ends = Totals::default();
    for delivery in deliveries {
        match delivery.await.map_err(|error| error.persistence()) {
            Ok(_) => ends.delivered += 1,
            Err(Persistence::NotPersisted) => ends.not_persisted += 1,
            Err(Persistence::Unknown) => ends.unknown += 1,
        }
    }
    ends
}

/// Closes within 2 s while 100,000 records are outstanding that can go nowhere; says how long that took.
async fn close_with_a_hundred_thousand_outstanding(some_in_flight: bool) -> Duration {
    const RECORDS: u64 = 100_000;
    let mock = Mock::with_topic("t", 3);
    let counter = Counter::new();
    if !some_in_flight {
        mock.down();
    }
    let producer = builder(mock.bootstrap())
        .property("buffer.memory", "1000000000")
        .layer(counter.layer())
        .build()
        .unwrap();
    let mut before = Totals::default();
    if some_in_flight {
        producer.send(record("t", "first")).await.unwrap();
        producer.flush().await;
        before.delivered = 1;
        mock.round_trip(Duration::from_secs(100));
    }
    let mut deliveries = vec![];
    for i in 0..RECORDS {
        let record = record("t", "v".repeat(100)).key(i.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    if some_in_flight {
        tokio::time::sleep(Duration::from_millis(200)).await;
        mock.down();
    }
    let within = Duration::from_secs(2);
    let started = Instant::now();
    let closed = producer.close(within).await;
    let took = started.elapsed();
    println!("{closed} in {took:?}");
    assert!(took >= within, "it gave up too early: {took:?}");
    assert_eq!(producer.room().outstanding(), 0);
    assert_eq!(producer.room().used(), 0);

    let closed = Totals {
        delivered: closed.delivered,
        not_persisted: closed.not_persisted,
        unknown: closed.unknown,
    };
    assert_eq!(closed.settled(), RECORDS);
    assert_eq!(closed.unknown > 0, some_in_flight, "{closed:?}");
    assert_eq!(producer.room().totals() - before, closed);
    assert_eq!(counter.counts().ended - before, closed);
    assert_eq!(counter.counts().sent, RECORDS + before.delivered);
    assert_eq!(ends(deliveries).await, closed);
    took
}

/// Best of five, for a machine that is busy with something else: it settles 100,000 records after the deadline.
#[test]
fn close_with_a_hundred_thousand_queued_and_the_broker_gone_is_in_time_and_settles_all() {
    for some_in_flight in [false, true] {
        let mut times = (0..5).map(|_| {
            multi_thread().block_on(close_with_a_hundred_thousand_outstanding(some_in_flight))
        });
        assert!(
            times.any(|took| took < Duration::from_millis(2_500)),
            "never in time, some in flight: {some_in_flight}"
        );
    }
}

#[tokio::test]
async fn close_delivers_what_it_can_without_lingering() {
    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap())
        .property("linger.ms", "20000")
        .build()
        .unwrap();
    let mut deliveries = vec![];
    for i in 0..1_000 {
        deliveries.push(producer.enqueue(record("t", i.to_string())).await.unwrap());
    }
    let started = Instant::now();
    let closed = producer.close(PATIENCE).await;
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(
        (closed.delivered, closed.not_persisted, closed.unknown),
        (1_000, 0, 0)
    );
    assert_eq!(ends(deliveries).await.delivered, 1_000);
}

#[tokio::test]
async fn a_second_close_hears_the_same_and_may_bring_the_end_forward() {
    let mock = Mock::with_topic("t", 1);
    mock.down();
    let producer = builder(mock.bootstrap()).build().unwrap();
    for _ in 0..10 {
        producer.send_and_forget(record("t", "v")).await.unwrap();
    }
    let started = Instant::now();
    let first = tokio::spawn(producer.close(Duration::from_secs(50)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = producer.close(Duration::from_millis(100)).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(second.not_persisted, 10);
    assert_eq!(first.await.unwrap(), second);
    assert_eq!(producer.close(Duration::ZERO).await, second);
}

#[tokio::test]
async fn a_close_that_nobody_awaits_goes_on() {
    let mock = Mock::with_topic("t", 1);
    mock.down();
    let counter = Counter::new();
    let producer = builder(mock.bootstrap())
        .layer(counter.layer())
        .build()
        .unwrap();
    producer.send_and_forget(record("t", "v")).await.unwrap();
    drop(producer.close(Duration::from_millis(100)));
    assert!(eventually(|| counter.settled() == 1));
    assert_eq!(counter.counts().ended.not_persisted, 1);
}

#[test]
fn every_record_accepted_while_the_producer_closes_has_one_outcome() {
    for broker in ["answers", "is down"] {
        let mock = Mock::with_topic("t", 4);
        if broker == "is down" {
            mock.down();
        }
        let counter = Counter::new();
        let producer = builder(mock.bootstrap())
            .layer(counter.layer())
            .build()
            .unwrap();
        let runtime = multi_thread();
        let (mut accepted, mut refused) = (0, 0);
        let mut futures = Totals::default();
        runtime.block_on(async {
            let senders: Vec<_> = (0..8)
                .map(|_| {
                    let producer = producer.clone();
                    tokio::spawn(async move {
                        let mut deliveries = vec![];
                        loop {
                            match producer.enqueue(record("t", "v".repeat(100))).await {
                                Ok(delivery) => deliveries.push(delivery),
                                Err(error) => {
                                    assert_eq!(*error.code(), Code::Closed, "{error}");
                                    assert!(error.into_record().is_some());
                                    return deliveries;
                                }
                            }
                            if deliveries.len() % 64 == 0 {
                                tokio::task::yield_now().await;
                            }
                        }
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(300)).await;
            producer.close(Duration::from_secs(1)).await;
            for sender in senders {
                let deliveries = sender.await.unwrap();
                refused += 1;
                accepted += deliveries.len() as u64;
                let ends = ends(deliveries).await;
                futures.delivered += ends.delivered;
                futures.not_persisted += ends.not_persisted;
                futures.unknown += ends.unknown;
            }
        });
        assert_eq!(refused, 8);
        assert!(accepted > 0);
        assert!(
            eventually(|| counter.settled() == accepted),
            "{:?}",
            counter.counts()
        );
        let hooks = counter.counts();
        assert_eq!(hooks.sent, accepted, "broker {broker}");
        assert_eq!(hooks.ended, futures, "broker {broker}");
        assert_eq!(producer.room().outstanding(), 0);
        assert_eq!(producer.room().used(), 0);
    }
}

// === close, with records in a retry's hands ===

/// A producer whose records all fail and then wait, in a retry, to be sent again: at random up to a year.
fn waiting_in_retry(mock: &Mock, retry: RetryLayer) -> (Producer<String, String>, Arc<Counter>) {
    let counter = Counter::new();
    let year = Duration::from_secs(365 * 24 * 3600);
    let retry = retry.backoff(year, year).deadline(2 * year);
    let producer = builder(mock.bootstrap())
        .property("retries", "1")
        .property("retry.backoff.ms", "1")
        .layer(counter.layer())
        .layer(retry)
        .build()
        .unwrap();
    block_on(producer.send(record("t", "first")), PATIENCE)
        .unwrap()
        .unwrap();
    mock.answers(
        Api::Produce,
        &[Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR; 1_000],
    );
    for _ in 0..10 {
        drop(producer.try_send(record("t", "v")).unwrap());
    }
    // Two tries by librdkafka, and none is left in its queues.
    thread::sleep(Duration::from_millis(700));
    assert_eq!(producer.room().outstanding(), 10);
    assert_eq!(counter.settled(), 1);
    (producer, counter)
}

#[test]
fn close_ends_the_back_off_of_a_retry_in_time() {
    in_time(Duration::from_millis(1_500), || {
        let runtime = multi_thread();
        let _entered = runtime.enter();
        let mock = Mock::with_topic("t", 1);
        let (producer, counter) = waiting_in_retry(&mock, RetryLayer::new());
        let started = Instant::now();
        let closed = block_on(producer.close(Duration::from_secs(1)), PATIENCE).expect("an end");
        let took = started.elapsed();
        assert_eq!(
            (closed.delivered, closed.not_persisted, closed.unknown),
            (0, 10, 0)
        );
        assert_eq!(counter.counts().ended.not_persisted, 10);
        assert_eq!(producer.room().used(), 0);
        took
    });
}

/// The retry's tasks are on a runtime that nobody drives, so that they hear of no close.
#[test]
fn close_is_in_time_though_a_recoverer_does_not_give_up() {
    in_time(Duration::from_millis(1_500), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mock = Mock::with_topic("t", 1);
        let retry = RetryLayer::new().runtime(runtime.handle().clone());
        let (producer, counter) = waiting_in_retry(&mock, retry);
        let started = Instant::now();
        let closed = block_on(producer.close(Duration::from_secs(1)), PATIENCE).expect("an end");
        let took = started.elapsed();
        assert_eq!(closed.unknown, 10, "{closed}");
        // They end when the runtime does.
        drop(runtime);
        assert!(
            eventually(|| counter.settled() == 11),
            "{:?}",
            counter.counts()
        );
        assert_eq!(counter.counts().ended.not_persisted, 10);
        assert_eq!(producer.room().used(), 0);
        took
    });
}

// === flush ===

#[tokio::test]
async fn flush_waits_for_all_and_cuts_the_linger_short() {
    let topic = topic(support::kafka(), "flush", 3, &[]);
    let counter = Counter::new();
    let producer = builder(support::kafka())
        .property("linger.ms", "20000")
        .layer(counter.layer())
        .build()
        .unwrap();
    for round in 1..=3 {
        for i in 0..500 {
            let record = record(&topic, "v").key(i.to_string());
            producer.send_and_forget(record).await.unwrap();
        }
        let started = Instant::now();
        producer.flush().await;
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(counter.counts().ended.delivered, 500 * round);
        assert_eq!(producer.room().outstanding(), 0);
    }
}

#[tokio::test]
async fn flush_does_not_wait_for_records_that_come_after_it() {
    let mock = Mock::with_topic("t", 1);
    let producer = builder(mock.bootstrap()).build().unwrap();
    producer.send(record("t", "v")).await.unwrap();
    // Long enough for the flush to find it on its way.
    mock.round_trip(Duration::from_millis(500));
    producer
        .send_and_forget(record("t", "before"))
        .await
        .unwrap();
    let mut flush = pin!(producer.flush());
    assert!(
        poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx)))
            .await
            .is_pending()
    );
    // Somebody goes on sending, for as long as the flush waits.
    let done = Arc::new(AtomicBool::new(false));
    let sender = {
        let (producer, done) = (producer.clone(), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(SeqCst) {
                let _ = producer.try_send(record("t", "after"));
                thread::sleep(Duration::from_micros(100));
            }
        })
    };
    tokio::time::timeout(Duration::from_secs(30), flush)
        .await
        .expect("a flush that ends");
    done.store(true, SeqCst);
    sender.join().unwrap();
}

// === drop ===

#[test]
fn a_dropped_producer_delivers_what_was_in_flight_and_blocks_nobody() {
    let runtimes = [
        ("no runtime", None),
        (
            "current_thread",
            Some(
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap(),
            ),
        ),
        ("multi_thread", Some(multi_thread())),
    ];
    for (name, runtime) in runtimes {
        let topic = topic(support::kafka(), "drop", 2, &[]);
        let counter = Counter::new();
        let producer = builder(support::kafka())
            .layer(counter.layer())
            .build()
            .unwrap();
        let send_and_drop = async {
            let mut deliveries = vec![];
            for i in 0..5_000 {
                let record = record(&topic, "v").key(i.to_string());
                deliveries.push(producer.enqueue(record).await.unwrap());
            }
            let started = Instant::now();
            drop(producer);
            (started.elapsed(), deliveries)
        };
        let (took, deliveries) = match &runtime {
            Some(runtime) => runtime.block_on(send_and_drop),
            None => block_on(send_and_drop, PATIENCE).unwrap(),
        };
        // 50 ms are promised to a machine that has nothing else to do.
        assert!(took < Duration::from_millis(150), "{name}: {took:?}");
        assert!(
            eventually(|| counter.settled() == 5_000),
            "{name}: {:?}",
            counter.counts()
        );
        assert_eq!(counter.counts().ended.delivered, 5_000, "{name}");
        let ends = block_on(ends(deliveries), PATIENCE).expect("all futures");
        assert_eq!(ends.delivered, 5_000, "{name}");
    }
}

#[test]
fn the_last_producer_may_be_dropped_by_a_hook() {
    /// Drops what it holds with the first outcome.
    struct Holder(
        std::sync::Mutex<Option<Producer<String, String>>>,
        AtomicU64,
    );

    impl Interceptor for Holder {
        type Token = ();

        fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
            Ok(())
        }

        fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
            drop(self.0.lock().unwrap().take());
            assert!(outcome.result.is_ok());
            self.1.fetch_add(1, SeqCst);
        }
    }

    let topic = topic(support::kafka(), "hook-drop", 1, &[]);
    let holder = Arc::new(Holder(std::sync::Mutex::new(None), AtomicU64::new(0)));
    let producer = builder(support::kafka())
        .property("linger.ms", "100")
        .layer(InterceptorLayer::new(Arc::clone(&holder)))
        .build()
        .unwrap();
    for _ in 0..1_000 {
        drop(producer.try_send(record(&topic, "v")).unwrap());
    }
    *holder.0.lock().unwrap() = Some(producer);
    assert!(eventually(|| holder.1.load(SeqCst) == 1_000));
}

#[test]
fn a_hook_may_close_flush_and_send() {
    let topic = topic(support::kafka(), "hook-close", 1, &[]);
    let producer = builder(support::kafka()).build().unwrap();
    let (told, hears) = mpsc::channel();
    let (inner, name) = (producer.clone(), topic.clone());
    let sent = producer.send_with(record(&topic, "v"), move |_| {
        let last = inner.try_send(record(&name, "last")).unwrap();
        drop(inner.flush());
        let closing = inner.close(PATIENCE);
        told.send((last, Box::pin(closing))).unwrap();
    });
    block_on(sent, PATIENCE).unwrap();
    let (last, closing) = hears.recv_timeout(PATIENCE).unwrap();
    let closed = block_on(closing, PATIENCE).expect("an end");
    // The record whose callback closed may be counted or not: its outcome was just being told.
    assert!((1..=2).contains(&closed.delivered), "{closed}");
    assert_eq!(block_on(last, PATIENCE).unwrap().unwrap().offset, Some(1));
}

// === the service itself ===

fn engine(mock: &Mock, more: &[(&str, &str)]) -> RdkafkaEngine {
    let mut properties = Properties::new();
    properties.set("bootstrap.servers", mock.bootstrap());
    for (name, value) in more {
        properties.set(*name, *value);
    }
    RdkafkaEngine::new(&Config::check(&properties, Required::default()).unwrap()).unwrap()
}

#[test]
fn a_record_that_the_engine_refuses_keeps_no_room() {
    let mock = Mock::with_topic("t", 1);
    let mut engine = engine(&mock, &[("buffer.memory", "10000")]);
    let control = engine.control();
    let room = control.room();
    let refused = [
        Record::new("t").value("v").partition(-1),
        Record::new("t").value("v").timestamp(0),
        Record::new("t").value(vec![0; 20_000]),
    ];
    for record in refused {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(engine.poll_ready(&mut cx).is_ready());
        let delivery = engine.call(record);
        block_on(delivery, PATIENCE).unwrap().unwrap_err();
        assert_eq!(room.used(), 0);
        assert_eq!(room.outstanding(), 0);
    }
}

#[test]
fn a_call_after_ready_finds_room_even_if_the_record_is_larger_than_what_is_left() {
    let mock = Mock::with_topic("t", 1);
    let engine = engine(&mock, &[("buffer.memory", "20000")]);
    let control = engine.control();
    let mut ready = vec![];
    loop {
        let mut handle = engine.clone();
        let mut cx = Context::from_waker(Waker::noop());
        match handle.poll_ready(&mut cx) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => break,
        }
        ready.push(handle);
    }
    assert_eq!(ready.len(), 20_000 / 1024);
    let deliveries: Vec<_> = ready
        .iter_mut()
        .map(|handle| handle.call(Record::new("t").value(vec![0; 10_000])))
        .collect();
    for delivery in deliveries {
        block_on(delivery, PATIENCE).unwrap().unwrap();
    }
    assert!(eventually(|| control.room().used() == 0));
}

#[test]
fn an_engine_that_is_dropped_without_a_producer_delivers_too() {
    let mock = Mock::with_topic("t", 1);
    let mut engine = engine(&mock, &[]);
    let mut deliveries = vec![];
    for _ in 0..1_000 {
        block_on(poll_fn(|cx| engine.poll_ready(cx)), PATIENCE)
            .unwrap()
            .unwrap();
        deliveries.push(engine.call(Record::new("t").value("v")));
    }
    drop(engine);
    let ends = block_on(ends(deliveries), PATIENCE).expect("all futures");
    assert_eq!(ends.delivered, 1_000);
}

/// Panics when the engine's thread lets go of it.
struct Explosive;

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        b"boom"
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("a payload that panics when it is dropped");
    }
}

#[tokio::test]
async fn a_payload_that_panics_in_its_drop_stops_nobody_else() {
    let mock = Mock::with_topic("t", 1);
    let producer: franking::Producer<Bytes, Bytes> = franking::Producer::builder()
        .property("bootstrap.servers", mock.bootstrap())
        .key_serializer(franking::serializers::BytesSerializer)
        .value_serializer(franking::serializers::BytesSerializer)
        .build()
        .unwrap();
    let record = |value| franking::ProducerRecord::new("t").value(value);
    producer
        .send_and_forget(record(Bytes::from_owner(Explosive)))
        .await
        .unwrap();
    producer.flush().await;
    let sent = producer.send(record(Bytes::from_static(b"after")));
    let sent = tokio::time::timeout(Duration::from_secs(20), sent).await;
    assert!(sent.expect("the engine's thread goes on").is_ok());
    // A caller is woken a moment before its record leaves the ledger.
    assert!(eventually(|| producer.room().outstanding() == 0));
    let closed = producer.close(Duration::from_secs(5)).await;
    assert_eq!(closed, franking::Closed::default());
}

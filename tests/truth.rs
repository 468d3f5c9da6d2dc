//! The truth about every record: one outcome each, seen alike by futures, hooks, audit, spans, metrics and the topic.

mod support;

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::middleware::audit::{Audit, Balance};
use franking::middleware::metrics::Metrics;
use franking::middleware::retry::{RetryLayer, RetryStats};
use franking::middleware::trace::Trace;
use franking::{DefaultStack, Delivery, Producer, ProducerBuilder, ProducerRecord, Topic};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracer, SdkTracerProvider};
use rdkafka::message::Message as _;
use support::oracle::{History, Judge, Verdict};
use support::{
    Answer, Api, Full, Mock, Random, bytes_builder, eventually, read_each, stack, topic,
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

/// What the audit has in all, and that it balances.
fn balance(audit: &Audit) -> Balance {
    let totals = audit.totals();
    assert!(totals.holds(), "{totals:?}");
    totals
}

#[test]
fn a_million_records_are_stored_once_each_where_their_outcomes_say() {
    const RECORDS: u64 = 1_000_000;
    let started = Instant::now();
    let topic: franking::Topic = topic(support::kafka(), "million", 4, &[]).into();
    let full = Full::new(support::kafka(), &[]);
    let (producer, history) = (&full.producer, &full.history);
    runtime().block_on(async {
        for n in 0..RECORDS {
            history.send(producer, &topic, n as u32 % 1_000).await;
        }
        producer.flush().await;
    });
    let sent = started.elapsed();

    assert_eq!(franking::hooks_panicked(), 0);
    assert_eq!(producer.room().totals().delivered, RECORDS);
    assert_eq!(producer.room().used(), 0);
    let audit = balance(&full.audit);
    assert_eq!(audit.delivered.records, RECORDS);
    assert_eq!(audit.delivered.bytes, RECORDS * 104);

    let copies = history.stored(support::kafka(), &topic);
    println!(
        "sent in {sent:?}, read back in {:?}",
        started.elapsed() - sent
    );
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 1, no fault");
    assert_eq!((verdict.acked, verdict.stored), (RECORDS, RECORDS));
}

// === dropped futures ===

/// A stack whose telemetry is installed, sampled, and in reach.
struct Watched {
    producer: Producer<Bytes, Bytes>,
    history: History,
    retries: RetryStats,
    audit: Arc<Audit>,
    spans: InMemorySpanExporter,
    tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    meters: SdkMeterProvider,
}

impl Watched {
    fn new(builder: ProducerBuilder<Bytes, Bytes>) -> Self {
        let spans = InMemorySpanExporter::default();
        let tracers = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .with_sampler(Sampler::AlwaysOn)
            .build();
        let metrics = InMemoryMetricExporter::default();
        let meters = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(metrics.clone()).build())
            .build();
        let history = History::new();
        let retry = RetryLayer::new();
        let retries = retry.stats();
        let stack: DefaultStack<SdkTracer> = stack()
            .retry(retry)
            .trace(Trace::new(tracers.tracer("truth")))
            .metrics(Metrics::new(&meters.meter("truth")));
        Self {
            audit: Arc::clone(stack.audit()),
            producer: builder.layer(history.layer()).layer(stack).build().unwrap(),
            history,
            retries,
            spans,
            tracers,
            metrics,
            meters,
        }
    }

    /// Sends 10,000 records and loses most futures, each somewhere else on its way.
    async fn lose_futures(&self, topic: &Topic, random: &mut Random) {
        let mut held: Vec<Option<Delivery>> = (0..64).map(|_| None).collect();
        for key in 0..10_000 {
            let (id, record) = self.history.record(topic, key);
            self.history.forgets(id);
            let mut cx = Context::from_waker(Waker::noop());
            match random.below(6) {
                // Before it is polled.
                0 => drop(self.producer.enqueue(record).await.unwrap()),
                // After the first poll.
                1 => {
                    let mut delivery = self.producer.enqueue(record).await.unwrap();
                    let _ = pin!(&mut delivery).poll(&mut cx);
                }
                // The whole send, after its first poll: there is room, so that the record is queued by then.
                2 => {
                    let mut send = pin!(self.producer.send(record));
                    let _ = send.as_mut().poll(&mut cx);
                }
                // In flight, or just acknowledged.
                3 | 4 => {
                    let mut delivery = self.producer.enqueue(record).await.unwrap();
                    if pin!(&mut delivery).poll(&mut cx).is_pending() {
                        held[random.below(64) as usize] = Some(delivery);
                    }
                }
                // With a time-out around it.
                _ => {
                    let delivery = self.producer.enqueue(record).await.unwrap();
                    let after = Duration::from_micros(random.below(2_000));
                    if random.below(20) == 0 {
                        let _ = tokio::time::timeout(after, delivery).await;
                    }
                }
            }
        }
        drop(held);
        self.producer.flush().await;
    }

    /// Asserts that everybody saw the same 10,000 outcomes, and that they are true.
    fn agree(&self, bootstrap: &str, topic: &Topic, run: &str) -> Verdict {
        let copies = self.history.stored(bootstrap, topic);
        let verdict = Judge::of(&self.history, &copies)
            .audit(self.audit.totals())
            .verdict();
        verdict.must_hold(run);
        assert_eq!(verdict.sent, 10_000);
        let audit = balance(&self.audit);
        assert_eq!(audit.attempted.records, 10_000);
        assert_eq!(audit.in_flight.records, 0);
        let ledger = self.producer.room().totals();
        assert_eq!(audit.delivered.records, ledger.delivered);
        assert_eq!(audit.not_persisted.records, ledger.not_persisted);
        assert_eq!(audit.unknown.records, ledger.unknown);

        self.tracers.force_flush().unwrap();
        let spans = self.spans.get_finished_spans().unwrap();
        assert_eq!(spans.len(), 10_000);
        let failed = spans
            .iter()
            .filter(|span| matches!(span.status, opentelemetry::trace::Status::Error { .. }))
            .count();
        assert_eq!(failed as u64, 10_000 - ledger.delivered);

        self.meters.force_flush().unwrap();
        let metrics = self.metrics.get_finished_metrics().unwrap();
        let durations: u64 = metrics
            .last()
            .unwrap()
            .scope_metrics()
            .flat_map(|scope| scope.metrics())
            .filter(|metric| metric.name() == "messaging.client.operation.duration")
            .map(|metric| match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                    .data_points()
                    .map(|point| point.count())
                    .sum::<u64>(),
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(durations, 10_000);
        assert_eq!(self.producer.room().used(), 0);
        verdict
    }
}

#[test]
fn ten_thousand_dropped_futures_lose_no_outcome() {
    let mut random = Random::new();
    let topic: Topic = topic(support::kafka(), "dropped", 3, &[]).into();
    let watched = Watched::new(bytes_builder(support::kafka()));
    runtime().block_on(watched.lose_futures(&topic, &mut random));
    let verdict = watched.agree(support::kafka(), &topic, "row 12, dropped futures");
    assert_eq!((verdict.acked, verdict.stored), (10_000, 10_000));
}

/// A producer whose batches are small, as an answer is about one of them.
fn in_small_batches(mock: &Mock) -> Watched {
    Watched::new(
        bytes_builder(mock.bootstrap())
            .property("retries", "1")
            .property("retry.backoff.ms", "1")
            .property("batch.num.messages", "10"),
    )
}

#[test]
fn ten_thousand_dropped_futures_are_sent_again_where_the_broker_fails_some_once() {
    let mut random = Random::new();
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 3);
    let watched = in_small_batches(&mock);
    // One batch in twenty. librdkafka does not try again what a quota refuses: the retry layer does.
    let answers: Vec<_> = (0..1_000)
        .map(|_| match random.below(20) {
            0 => Answer::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
            _ => Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
        })
        .collect();
    mock.answers(Api::Produce, &answers);
    runtime().block_on(watched.lose_futures(&topic, &mut random));
    let run = "row 12, dropped futures, 5 % fail once";
    let verdict = watched.agree(&mock.bootstrap(), &topic, run);
    println!("{run}: {:?}", watched.retries);
    // Nearly all: by chance a record may fail three times.
    assert!(verdict.acked > 9_990, "{verdict}");
    assert_eq!(verdict.stored, verdict.acked);
    assert!(watched.retries.retries() >= 200, "{:?}", watched.retries);
}

#[test]
fn ten_thousand_dropped_futures_lose_no_outcome_when_the_broker_fails_some() {
    let mut random = Random::new();
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 3);
    let watched = in_small_batches(&mock);
    let answers: Vec<_> = (0..400)
        .map(|_| match random.below(4) {
            0 => Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
            1 => Answer::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            2 => Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            _ => Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        })
        .collect();
    mock.answers(Api::Produce, &answers);
    runtime().block_on(watched.lose_futures(&topic, &mut random));
    let run = "row 12, dropped futures, a broker that fails in every way";
    let verdict = watched.agree(&mock.bootstrap(), &topic, run);
    assert!(verdict.not_persisted > 0, "{verdict}");
    assert!(verdict.unknown > 0, "{verdict}");
    assert!(verdict.acked > 0, "{verdict}");
}

#[test]
fn ten_thousand_dropped_futures_have_an_outcome_when_the_producer_closes() {
    let mut random = Random::new();
    let mock = Mock::with_topic("t", 3);
    let watched = Watched::new(bytes_builder(mock.bootstrap()));
    let runtime = runtime();
    runtime.block_on(async {
        watched
            .producer
            .send(ProducerRecord::new("other").value(Bytes::from_static(b"first")))
            .await
            .unwrap();
        watched.producer.flush().await;
        mock.round_trip(Duration::from_millis(300));
        // The flush at its end has more to wait for than the close gives.
        let topic = Topic::from("t");
        let losing = watched.lose_futures(&topic, &mut random);
        let losing = tokio::time::timeout(Duration::from_secs(30), losing);
        let closing = async {
            assert!(eventually_async(|| watched.audit.totals().attempted.records == 10_001).await);
            mock.down();
            watched.producer.close(Duration::from_millis(200)).await
        };
        let (lost, _closed) = tokio::join!(losing, closing);
        lost.expect("a flush that ends with the close");
    });
    mock.round_trip(Duration::ZERO);
    mock.up();
    let copies = watched.history.stored(&mock.bootstrap(), "t");
    let verdict = Judge::of(&watched.history, &copies).verdict();
    verdict.must_hold("row 12, dropped futures, and a close");
    let audit = balance(&watched.audit);
    assert_eq!(audit.attempted.records, 10_001);
    assert_eq!(audit.in_flight.records, 0);
    assert!(audit.delivered.records < 10_001, "{audit:?}");
    watched.tracers.force_flush().unwrap();
    assert_eq!(watched.spans.get_finished_spans().unwrap().len(), 10_001);
    assert_eq!(watched.producer.room().used(), 0);
}

async fn eventually_async(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

// === room and order ===

#[test]
fn a_small_buffer_is_never_overdrawn_by_more_than_a_record_a_handle_and_order_holds() {
    const TASKS: u64 = 8;
    const EACH: u64 = 50_000;
    const KEYS: u64 = 10;
    const MEBIBYTE: usize = 1 << 20;
    let topic: franking::Topic = topic(support::kafka(), "order", 3, &[]).into();
    let stack = stack();
    let audit = Arc::clone(stack.audit());
    let producer = bytes_builder(support::kafka())
        .property("buffer.memory", MEBIBYTE.to_string())
        .layer(stack)
        .build()
        .unwrap();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (producer, topic) = (producer.clone(), topic.clone());
                tokio::spawn(async move {
                    for n in 0..EACH {
                        let key = task * KEYS + n % KEYS;
                        // From 8 to 2,007 bytes.
                        let mut value = vec![b'v'; 8 + (n as usize * 37) % 2_000];
                        value[..8].copy_from_slice(&n.to_be_bytes());
                        let record = ProducerRecord::new(topic.clone())
                            .key(Bytes::copy_from_slice(&key.to_be_bytes()))
                            .value(Bytes::from(value));
                        producer.send_and_forget(record).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        producer.flush().await;
    });
    let room = producer.room();
    assert_eq!(room.totals().delivered, TASKS * EACH);
    assert_eq!(balance(&audit).delivered.records, TASKS * EACH);
    // Key, value, what the engine charges for a record and for each of its headers, and the headers.
    let largest = 8 + 2_008 + 512 + 8 * 110 + 1_024;
    let most = MEBIBYTE + TASKS as usize * largest;
    println!(
        "at most {} of {MEBIBYTE} bytes were in use",
        room.high_water()
    );
    assert!(room.high_water() <= most, "{} of {most}", room.high_water());
    assert!(
        room.high_water() > MEBIBYTE / 2,
        "the buffer was never filled"
    );

    let mut last = vec![None; (TASKS * KEYS) as usize];
    let mut read = 0;
    read_each(support::kafka(), &topic, |message| {
        let last = &mut last[number(message.key().unwrap()) as usize];
        let n = number(message.payload().unwrap());
        assert!(*last < Some(n), "{n} behind {last:?}");
        *last = Some(n);
        read += 1;
    });
    assert_eq!(read, TASKS * EACH);
}

#[test]
fn acknowledgements_of_a_partition_come_in_the_order_of_the_calls() {
    let topic = topic(support::kafka(), "acknowledged", 1, &[]);
    let producer = bytes_builder(support::kafka())
        .layer(stack())
        .build()
        .unwrap();
    let next = Arc::new(AtomicU64::new(0));
    runtime().block_on(async {
        for id in 0..50_000 {
            let next = Arc::clone(&next);
            let record = ProducerRecord::new(topic.clone()).value(Bytes::from_static(b"v"));
            producer
                .send_with(record, move |result| {
                    assert_eq!(next.fetch_add(1, Relaxed), id);
                    assert_eq!(result.unwrap().offset, Some(id as i64));
                })
                .await;
        }
        producer.flush().await;
    });
    assert_eq!(next.load(Relaxed), 50_000);
    assert_eq!(
        franking::hooks_panicked(),
        0,
        "a callback found another order"
    );
    assert!(eventually(|| producer.room().used() == 0));
}

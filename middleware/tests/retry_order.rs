//! What is sent again comes behind no later record of its key or partition, and what is left out for that says so.
#![cfg(feature = "retry")]

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use franking_core::{
    Code, Delivery, Failure, Persistence, Produce, Record, SendResult,
    testing::{Answer, Scripted},
};
use franking_middleware::retry::{Order, RetryLayer, RetryStats};
use proptest::prelude::*;
use tower_layer::Layer;
use tower_service::Service;

fn moment() -> Failure {
    Failure::new(Code::TimedOut).transient(true)
}

/// Queues it; there is room.
fn call<S: Produce<Future = Delivery>>(stack: &mut S, record: Record) -> Delivery {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stack.poll_ready(&mut cx).is_ready());
    stack.call(record)
}

fn numbered(record: Record, number: usize) -> Record {
    record.value(number.to_be_bytes().to_vec())
}

fn number(value: Option<&[u8]>) -> usize {
    usize::from_be_bytes(value.unwrap().try_into().unwrap())
}

/// The numbers of what is stored, in the order of storing.
fn stored(engine: &Scripted) -> Vec<usize> {
    let stored = engine.stored().into_iter();
    stored.map(|s| number(s.parts.value.as_deref())).collect()
}

fn is_left_out(result: &SendResult) -> bool {
    let Err(error) = result else { return false };
    let why = error.failure().why_declined();
    if let Some(why) = why {
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.what_to_do().contains("Order::GiveUp"), "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
    }
    why.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_record_does_not_come_behind_a_later_one_of_its_key() {
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    let record = || Record::new("t").key("k");
    engine.script(Answer::fail(moment()));
    let first = call(&mut stack, numbered(record(), 0));
    let second = call(&mut stack, numbered(record(), 1));
    assert!(second.await.is_ok());
    let first = first.await;
    assert!(is_left_out(&first), "{first:?}");
    let error = first.unwrap_err();
    assert_eq!((error.code(), error.attempts()), (&Code::TimedOut, 1));
    assert!(error.is_transient(), "the application may send it again");
    assert_eq!(
        number(error.into_record().unwrap().value.as_deref()),
        0,
        "it comes back"
    );
    assert_eq!(stored(&engine), [1]);
    let stats = layer.stats();
    assert_eq!(
        (stats.retries(), stats.gave_up(), stats.overtaken()),
        (0, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn records_of_other_keys_partitions_and_topics_stand_in_nobodys_way() {
    let with_key = |key: &'static str| Record::new("t").key(key);
    let pairs = [
        (with_key("a"), with_key("b")),
        (with_key("a"), Record::new("other").key("a")),
        (with_key("a"), Record::new("t")),
        (
            with_key("a").partition(0),
            with_key("a").partition(1).timestamp(1),
        ),
        (Record::new("t"), Record::new("other")),
        (with_key(""), Record::new("t")),
        (with_key("a"), with_key("a\0")),
        (with_key("12345678"), with_key("12345678\0")),
    ];
    for (first, second) in pairs {
        let engine = Scripted::new();
        let mut stack = RetryLayer::new().layer(engine.clone());
        engine.script(Answer::fail(moment()));
        let first = call(&mut stack, numbered(first, 0));
        let second = call(&mut stack, numbered(second, 1));
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(stored(&engine), [1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_chosen_and_a_topic_without_keys_keep_their_order_too() {
    let pairs = [
        (
            Record::new("t").partition(1).key("a"),
            Record::new("t").partition(1).key("b"),
        ),
        (Record::new("t").partition(1), Record::new("t").partition(1)),
        (Record::new("t"), Record::new("t")),
    ];
    for (first, second) in pairs {
        let engine = Scripted::new();
        let mut stack = RetryLayer::new().layer(engine.clone());
        engine.script(Answer::fail(moment()));
        let first = call(&mut stack, numbered(first, 0));
        let second = call(&mut stack, numbered(second, 1));
        assert!(is_left_out(&first.await));
        second.await.unwrap();
        assert_eq!(stored(&engine), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_arrives_as_it_was() {
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    for _ in 0..50 {
        engine.script(Answer::fail(moment()));
    }
    let sent: Vec<_> = (0..50)
        .map(|n| {
            let key = (n % 3).to_string();
            call(&mut stack, numbered(Record::new("t").key(key), n))
        })
        .collect();
    for sent in sent {
        sent.await.unwrap();
    }
    let stats = layer.stats();
    assert_eq!((stats.retries(), stats.gave_up()), (50, 0));
    let stored = stored(&engine);
    assert_eq!(stored.len(), 50);
    for key in 0..3 {
        assert!(stored.iter().filter(|n| *n % 3 == key).is_sorted());
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_one_that_is_surely_not_stored_is_no_obstacle_and_one_that_may_be_is() {
    let unknown = moment().with_persistence(Persistence::Unknown);
    let refused = Failure::new(Code::RecordTooLarge);
    for (answer, passes) in [
        (Answer::fail(refused.clone()), true),
        (Answer::refuse_at_once(refused), true),
        (Answer::fail(unknown), false),
        (Answer::lose_acknowledgement(), false),
    ] {
        let engine = Scripted::new();
        let mut stack = RetryLayer::new().layer(engine.clone());
        engine.script(Answer::fail(moment()));
        engine.script(answer);
        let first = call(&mut stack, numbered(Record::new("t").key("k"), 0));
        let second = call(&mut stack, numbered(Record::new("t").key("k"), 1));
        assert!(second.await.is_err());
        let first = first.await;
        assert_eq!((first.is_ok(), is_left_out(&first)), (passes, !passes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_again_is_left_behind() {
    // No wait, so that both go together.
    let (results, stored, stats) = both_fail_and_the_first_again(Duration::ZERO).await;
    let [first, second] = results;
    second.unwrap();
    assert!(is_left_out(&first), "{first:?}");
    assert_eq!(first.unwrap_err().attempts(), 2);
    assert_eq!((stored, stats.retries()), (vec![1], 2));
}

#[tokio::test(start_paused = true)]
async fn a_later_record_that_still_waits_waits_for_one_that_fails_again() {
    let mut apart = 0;
    while apart < 10 {
        let ([first, second], stored, stats) =
            both_fail_and_the_first_again(Duration::from_millis(100)).await;
        second.unwrap();
        // By chance the second one was due together with the first, or later.
        match first {
            Err(_) => assert_eq!((stored, stats.retries()), (vec![1], 2)),
            Ok(_) => {
                assert_eq!((stored, stats.retries()), (vec![0, 1], 3));
                apart += 1;
            }
        }
    }
}

/// What became of two records of a key, what is stored, and what was retried. The waits before a first resend are at most
/// this long.
async fn both_fail_and_the_first_again(
    wait: Duration,
) -> ([SendResult; 2], Vec<usize>, RetryStats) {
    let engine = Scripted::new();
    let layer = RetryLayer::new().backoff(wait, wait);
    let mut stack = layer.layer(engine.clone());
    let moment = || Answer::fail(moment());
    // Both fail, then the first one fails again, and all is well.
    for answer in [moment(), moment(), moment(), Answer::deliver()] {
        engine.script(answer);
    }
    let first = call(&mut stack, numbered(Record::new("t").key("k"), 0));
    let second = call(&mut stack, numbered(Record::new("t").key("k"), 1));
    let second = second.await;
    ([first.await, second], stored(&engine), layer.stats())
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_was_overtaken_for_all_that_is_known() {
    const REMEMBERED: usize = 1 << 16;
    for (later, passes) in [(REMEMBERED - 1, true), (REMEMBERED, false)] {
        for fails_late in [false, true] {
            let engine = Scripted::new();
            let mut stack = RetryLayer::new().layer(engine.clone());
            engine.script(Answer::fail(moment()).after(Duration::from_secs(u64::from(fails_late))));
            let old = Record::new("t").key("k").partition(1);
            let old = call(&mut stack, numbered(old, 0));
            for n in 0..later {
                drop(call(&mut stack, numbered(Record::new("t").key("other"), n)));
            }
            engine.advance(Duration::from_secs(1));
            let old = old.await;
            assert_eq!((old.is_ok(), is_left_out(&old)), (passes, !passes));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn order_that_is_given_up_is_given_up() {
    let engine = Scripted::new();
    let layer = RetryLayer::new().order(Order::GiveUp);
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment()));
    let first = call(&mut stack, numbered(Record::new("t").key("k"), 0));
    let second = call(&mut stack, numbered(Record::new("t").key("k"), 1));
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(stored(&engine), [1, 0]);
    assert_eq!(layer.stats().overtaken(), 0);
}

/// It would wait for itself.
#[tokio::test(start_paused = true)]
async fn a_hook_within_a_resend_may_send_to_its_lane() {
    let engine = Scripted::new();
    let layer = RetryLayer::new();
    let mut stack = layer.layer(engine.clone());
    engine.script(Answer::fail(moment()));
    let mut record = numbered(Record::new("t").key("k"), 0);
    let mut again = stack.clone();
    record.push_hook(Box::new(move |_: &franking_core::Outcome<'_>| {
        drop(call(&mut again, numbered(Record::new("t").key("k"), 1)));
    }));
    call(&mut stack, record).await.unwrap();
    engine.room().flushed().await;
    assert_eq!(stored(&engine), [0, 1]);
}

// === any interleaving ===

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Sends a record of this lane, and how it is answered the first time.
    Send(usize, Fate),
    /// What is sent again fails once more.
    FailResend,
    Stall,
    Resume,
    /// So many answers come.
    Answers(usize),
    Sleep(u64),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    Moment,
    Refused,
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        5 => Just(Fate::Delivered),
        4 => Just(Fate::Moment),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Lost),
    ];
    prop_oneof![
        10 => (0..LANES, fate).prop_map(|(lane, fate)| Step::Send(lane, fate)),
        1 => Just(Step::FailResend),
        1 => Just(Step::Stall),
        1 => Just(Step::Resume),
        2 => (1_usize..5).prop_map(Step::Answers),
        2 => (1_u64..400).prop_map(Step::Sleep),
    ]
}

const LANES: usize = 4;

fn in_lane(lane: usize) -> Record {
    match lane {
        0 => Record::new("t").key("a"),
        1 => Record::new("t").key("b"),
        2 => Record::new("t").partition(1),
        _ => Record::new("t"),
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let engine = Scripted::new();
    let layer = RetryLayer::new().budget(10.0, 1_000).max_attempts(4);
    let mut stack = layer.layer(engine.clone());
    let mut sent = vec![];
    for step in steps {
        match step {
            Step::Send(lane, fate) => {
                engine.script(match fate {
                    Fate::Delivered => Answer::deliver(),
                    Fate::Moment => Answer::fail(moment()),
                    Fate::Refused => Answer::fail(Failure::new(Code::RecordTooLarge)),
                    Fate::Lost => Answer::lose_acknowledgement(),
                });
                let number = sent.len();
                sent.push((lane, call(&mut stack, numbered(in_lane(lane), number))));
            }
            Step::FailResend => engine.script(Answer::fail(moment())),
            Step::Stall => engine.stall(),
            Step::Resume => engine.resume(),
            Step::Answers(n) => engine.step(n),
            Step::Sleep(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }
    engine.resume();
    engine.room().flushed().await;

    let stored = stored(&engine);
    let mut latest = [None; LANES];
    for &number in &stored {
        let latest = &mut latest[sent[number].0];
        prop_assert!(*latest < Some(number), "{number} is behind {latest:?}");
        *latest = Some(number);
    }
    let mut left_out = 0;
    for (number, (_, sent)) in sent.into_iter().enumerate() {
        let result = sent.await;
        let stored = stored.contains(&number);
        let persisted = match &result {
            Ok(_) => Some(true),
            Err(error) if error.persistence() == Persistence::NotPersisted => Some(false),
            Err(_) => None,
        };
        prop_assert!(persisted.is_none_or(|persisted| persisted == stored));
        left_out += u64::from(is_left_out(&result));
    }
    prop_assert_eq!(left_out, layer.stats().overtaken());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_interleaving_each_lane_is_stored_in_the_order_of_its_sends(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps))?;
    }
}

/// Resends and sends of a key race on many threads.
#[test]
fn a_resend_and_a_send_at_the_same_time_do_not_change_places() {
    const THREADS: usize = 4;
    const EACH: usize = 20_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let engine = Scripted::new();
    let layer = RetryLayer::new()
        .runtime(runtime.handle().clone())
        .budget(10.0, 1_000_000)
        .backoff(Duration::ZERO, Duration::from_micros(10));
    let stack = layer.layer(engine.clone());
    let left_out = Arc::new(AtomicUsize::new(0));
    let outcomes = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mut stack, engine) = (stack.clone(), engine.clone());
            let (left_out, outcomes) = (Arc::clone(&left_out), Arc::clone(&outcomes));
            scope.spawn(move || {
                for n in 0..EACH {
                    if n % 10 == 0 {
                        engine.script(Answer::fail(moment()));
                    }
                    // The lane of a thread is quiet now and then, so that resends get their chance.
                    if n % 7 == 0 {
                        thread::sleep(Duration::from_micros((n as u64 * 31) % 1_500));
                    }
                    let record = Record::new("t").key(vec![thread as u8]);
                    let record = numbered(record, thread * EACH + n);
                    let (left_out, outcomes) = (Arc::clone(&left_out), Arc::clone(&outcomes));
                    let told = call(&mut stack, record).on_complete(move |result| {
                        left_out.fetch_add(usize::from(is_left_out(&result)), SeqCst);
                        outcomes.fetch_add(1, SeqCst);
                    });
                    assert!(told.is_ok());
                }
            });
        }
    });
    runtime.block_on(engine.room().flushed());
    let stored = stored(&engine);
    let mut latest = HashMap::new();
    let mut inverted = 0;
    for number in &stored {
        let latest = latest.entry(number / EACH).or_insert(number);
        inverted += usize::from(number < *latest);
        *latest = number.max(*latest);
    }
    let stats = layer.stats();
    println!(
        "{} sent, {} stored, {} sent again, {} left out, {inverted} inverted",
        THREADS * EACH,
        stored.len(),
        stats.retries(),
        stats.overtaken()
    );
    assert_eq!(inverted, 0);
    assert_eq!(outcomes.load(SeqCst), THREADS * EACH);
    assert_eq!(left_out.load(SeqCst) as u64, stats.overtaken());
    assert_eq!(
        stored.len() as u64 + stats.gave_up(),
        (THREADS * EACH) as u64
    );
    assert!(
        stats.retries() > 100 && stats.overtaken() > 100,
        "{stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn waits_of_a_lane_keep_their_bounds() {
    /// When each record was called.
    #[derive(Clone)]
    struct Timed(Scripted, Arc<Mutex<Vec<tokio::time::Instant>>>);

    impl Service<Record> for Timed {
        type Response = franking_core::RecordMetadata;
        type Error = franking_core::SendError;
        type Future = Delivery;

        fn poll_ready(
            &mut self,
            cx: &mut Context<'_>,
        ) -> std::task::Poll<Result<(), franking_core::SendError>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, record: Record) -> Delivery {
            self.1.lock().unwrap().push(tokio::time::Instant::now());
            self.0.call(record)
        }
    }

    for _ in 0..20 {
        let engine = Scripted::new();
        let called = Arc::default();
        let mut stack = RetryLayer::new().layer(Timed(engine.clone(), Arc::clone(&called)));
        for _ in 0..2 {
            engine.script(Answer::fail(moment()));
        }
        let record = || Record::new("t").key("k");
        let first = call(&mut stack, record());
        poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
        let second = stack.call(record());
        let first = first.await.unwrap();
        let second = second.await.unwrap();
        // The later one waits for the earlier one too, as long as any may wait.
        assert!(first.offset < second.offset);
        let called = called.lock().unwrap();
        for (sent, again) in [(0, 2), (1, 3)] {
            let wait = called[again] - called[sent];
            assert!(wait <= Duration::from_millis(102), "{wait:?}");
        }
    }
}

//! How far senders run ahead of the acknowledgements.
//!
//! A program that has much to send is faster than any broker, so it fills the buffer, and from then on each record waits for
//! all that are before it. That wins nothing: the brokers get no more than they take. It costs the time that a record
//! waits, and the memory of a hundred thousand records that no processor's cache has at hand. So a producer's senders wait
//! a moment for the next acknowledgements while more is outstanding than keeps the brokers busy. A million records through
//! the whole stack took 2,120 ns of processor time each where it had been 2,860, half a record was acknowledged after 15 ms
//! where it had been 150, and more came through in a second (docs/costs.md).
//!
//! How much keeps the brokers busy is learned from the acknowledgements, and errs on the side of more:
//!
//! - **By Little's law** a queue that holds `n` records which take the time `t` moves `n / t` of them in a second. Twice
//!   as many as are on their way at that rate in the time that a record takes *with few before it* leave no gap. It is
//!   BBR's rule for the bytes of a connection.
//! - **Few** are [`FEW`] and [`FEW_IN_PARTITION`] for each partition in use: with less, batches would be small.
//! - **Far brokers**, and slow ones ([`FAR`]), set no limit: beside the way there, the wait in the queue is nothing.
//! - **Nobody waits longer than [`PATIENCE`]**: where no acknowledgement comes in that time, the limit doubles. So a buffer
//!   fills up within some tens of milliseconds while brokers are away.
//!
//! It is a courtesy of the producer's senders, no part of the contract: an engine that is ready takes a record.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::timeout::within;

/// So many records may always be outstanding, with [`FEW_IN_PARTITION`] for each partition. A record takes about a kilobyte
/// in all, so those of some partitions stay in a processor's cache.
const FEW: usize = 2048;

/// What lets a partition have batches of some hundred records: with 13 in a batch (4,096 records in 300 partitions) half as
/// many records came through.
const FEW_IN_PARTITION: usize = 512;

/// A record that is alone is not expected back before this: `linger.ms` and a round trip within a region.
const NEAR: Duration = Duration::from_millis(10);

/// Brokers are far that take longer than this for a record with few before it.
const FAR: Duration = Duration::from_millis(25);

/// An acknowledgement that is slower than the others counts for so much of the difference: a pause of the broker is not
/// a longer way.
const SLOWER_COUNTS: u32 = 24;

/// And a difference for no more than this: the first record's is the time to connect.
const SLOWER_BY: Duration = Duration::from_millis(100);

/// How long a sender waits for acknowledgements, at most.
const PATIENCE: Duration = Duration::from_millis(5);

/// A partition is in use for so long after an acknowledgement, and up to twice that.
const IN_USE: Duration = Duration::from_secs(1);

/// What keeps senders from running far ahead of the acknowledgements. One engine has one; its producers ask it.
pub struct Pace {
    /// The senders wait while more records than this are outstanding.
    limit: AtomicUsize,
    /// More are. Cleared by the next acknowledgements.
    ahead: AtomicBool,
    acknowledged: Notify,
    learned: Mutex<Learned>,
}

/// What acknowledgements have shown.
struct Learned {
    /// The time a record takes with few before it.
    alone: Duration,
    partitions: InUse,
}

/// The first record of those that were acknowledged together. They are of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    /// Topic and partition, by numbers that nobody else has.
    pub(super) partition: (usize, i32),
    /// From the record's way into the engine.
    pub(super) took: Duration,
    /// How many records were outstanding, these included.
    pub(super) outstanding: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            limit: AtomicUsize::new(FEW),
            ahead: AtomicBool::new(false),
            acknowledged: Notify::new(),
            learned: Mutex::new(Learned {
                alone: NEAR,
                partitions: InUse::default(),
            }),
        }
    }

    /// Takes note of a record that went in, and of how many are outstanding with it.
    pub(super) fn sent(&self, outstanding: usize) {
        if outstanding > self.limit.load(Relaxed) {
            self.ahead.store(true, Relaxed);
        }
    }

    /// Takes note of acknowledgements, and lets senders go on. Those of records that failed tell nothing.
    pub(super) fn acknowledged(&self, first: Option<Acknowledged>, now: Instant) {
        if let Some(first) = first {
            let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
            self.limit.store(learned.limit(first, now), Relaxed);
        }
        if self.ahead.load(Relaxed) {
            self.go();
        }
    }

    /// Waits for the next acknowledgements if senders are far ahead of them, for up to [`PATIENCE`] of the time that is
    /// left; without a timer, not at all. Gives back what is left then.
    pub(crate) async fn wait(&self, left: Duration) -> Duration {
        if !self.ahead.load(Relaxed) || left.is_zero() {
            return left;
        }
        // Boxed, so that it is in nobody's way who does not wait.
        Box::pin(self.wait_for_acknowledgements(left)).await
    }

    async fn wait_for_acknowledgements(&self, left: Duration) -> Duration {
        let limit = self.limit.load(Relaxed);
        let acknowledged = self.acknowledged.notified();
        if !self.ahead.load(Relaxed) {
            return left;
        }
        let Some(acknowledged) = within(PATIENCE.min(left), acknowledged) else {
            return left;
        };
        let started = Instant::now();
        if acknowledged.await.is_err() {
            // Of those who wait together one doubles it.
            let doubled = limit.saturating_mul(2);
            let _ = self
                .limit
                .compare_exchange(limit, doubled, Relaxed, Relaxed);
            self.go();
        }
        left.saturating_sub(started.elapsed())
    }

    fn go(&self) {
        self.ahead.store(false, Relaxed);
        self.acknowledged.notify_waiters();
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("limit", &self.limit)
            .field("ahead", &self.ahead)
            .finish_non_exhaustive()
    }
}

impl Learned {
    /// How many records may be outstanding.
    fn limit(&mut self, first: Acknowledged, now: Instant) -> usize {
        let Acknowledged {
            partition,
            took,
            outstanding,
        } = first;
        let few = FEW + FEW_IN_PARTITION * self.partitions.count(partition, now);
        // Senders that are held have somewhat more than few outstanding, as acknowledgements come by the batch.
        if outstanding <= 2 * few {
            self.alone = match took.checked_sub(self.alone) {
                Some(slower) => self.alone + slower.min(SLOWER_BY) / SLOWER_COUNTS,
                None => took.max(NEAR),
            };
        }
        if self.alone > FAR {
            return usize::MAX;
        }
        let on_their_way = outstanding as f64 * self.alone.div_duration_f64(took);
        few.max((2.0 * on_their_way) as usize)
    }
}

/// The partitions that records were acknowledged in of late.
#[derive(Default)]
struct InUse {
    now: HashSet<(usize, i32)>,
    /// How many there were in the time before.
    before: usize,
    since: Option<Instant>,
}

impl InUse {
    /// Adds one, and says how many there are.
    fn count(&mut self, partition: (usize, i32), now: Instant) -> usize {
        let since = *self.since.get_or_insert(now);
        if now - since > IN_USE {
            self.before = self.now.len();
            self.now.clear();
            self.since = Some(now);
        }
        self.now.insert(partition);
        self.now.len().max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{Instant as Clock, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Acknowledgements of this partition.
    fn of(partition: i32, took: Duration, outstanding: usize) -> Option<Acknowledged> {
        Some(Acknowledged {
            partition: (1, partition),
            took,
            outstanding,
        })
    }

    /// Whether a sender would have to wait with so many outstanding.
    fn holds(pace: &Pace, outstanding: usize) -> bool {
        pace.ahead.store(false, Relaxed);
        pace.sent(outstanding);
        pace.ahead.load(Relaxed)
    }

    /// The limit after many acknowledgements of records that were sent as fast as possible, to brokers that take so many a
    /// millisecond, this far away.
    fn learned(pace: &Pace, a_millisecond: usize, way: Duration) -> usize {
        let now = Instant::now();
        for n in 0..2000 {
            let outstanding = pace.limit.load(Relaxed).min(200_000);
            let queued = Duration::from_millis(outstanding as u64) / a_millisecond as u32;
            pace.acknowledged(of(n % 3, way.max(queued), outstanding), now);
        }
        pace.limit.load(Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn few_records_wait_for_nothing() {
        let pace = Pace::new();
        pace.acknowledged(of(0, ms(3), 10), Instant::now());
        assert!(!holds(&pace, FEW + FEW_IN_PARTITION));
        let before = Clock::now();
        assert_eq!(pace.wait(LONG).await, LONG);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[test]
    fn near_brokers_have_more_than_is_on_its_way() {
        // 500 a millisecond in 10 ms, twice.
        let limit = learned(&Pace::new(), 500, ms(4));
        assert!((9_000..=11_000).contains(&limit), "{limit}");
        // 7,500 are on a way of 15 ms.
        let limit = learned(&Pace::new(), 500, ms(15));
        assert!((10_000..=15_000).contains(&limit), "{limit}");
    }

    #[test]
    fn a_queue_that_was_long_gets_shorter() {
        let pace = Pace::new();
        pace.limit.store(100_000, Relaxed);
        let limit = learned(&pace, 500, ms(4));
        assert!((9_000..=11_000).contains(&limit), "{limit}");
    }

    #[test]
    fn far_brokers_set_no_limit_until_they_are_near() {
        assert_eq!(learned(&Pace::new(), 10, ms(4)), usize::MAX, "or slow ones");
        let pace = Pace::new();
        assert_eq!(learned(&pace, 500, ms(50)), usize::MAX);
        assert!(!holds(&pace, 1_000_000));
        pace.acknowledged(of(0, ms(3), 100), Instant::now());
        assert!(holds(&pace, 1_000_000));
    }

    #[test]
    fn a_pause_of_a_broker_is_not_a_longer_way() {
        let pace = Pace::new();
        for n in 0..3 {
            pace.acknowledged(of(n, ms(1000), 1000), Instant::now());
        }
        assert!(holds(&pace, 100_000));
        let limit = learned(&pace, 500, ms(4));
        assert!((9_000..=11_000).contains(&limit), "{limit}");
    }

    #[test]
    fn each_partition_in_use_has_its_few() {
        let pace = Pace::new();
        let now = Instant::now();
        for n in 0..300 {
            pace.acknowledged(of(n, ms(3), 100), now);
        }
        let all = FEW + 300 * FEW_IN_PARTITION;
        assert!(!holds(&pace, all) && holds(&pace, all + 1));
        // Others are not in use any more, after a while.
        for n in 1..4 {
            let later = now + n * (IN_USE + ms(1));
            pace.acknowledged(of(0, ms(3), 100), later);
        }
        assert!(holds(&pace, FEW + 2 * FEW_IN_PARTITION));
    }

    #[tokio::test(start_paused = true)]
    async fn acknowledgements_let_all_senders_go_on() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let mut first = pin!(pace.wait(LONG));
        let mut second = pin!(pace.wait(LONG));
        for waiting in [&mut first, &mut second] {
            assert!(timeout(PATIENCE / 2, waiting).await.is_err());
        }
        // These failed, and nothing is learned from them; yet they are gone.
        pace.acknowledged(None, Instant::now());
        for waiting in [first, second] {
            assert!(timeout(Duration::ZERO, waiting).await.is_ok());
        }
        assert_eq!(pace.limit.load(Relaxed), FEW);
    }

    #[tokio::test(start_paused = true)]
    async fn without_acknowledgements_a_buffer_fills_up_all_the_same() {
        let pace = Pace::new();
        let (before, mut outstanding) = (Clock::now(), 0);
        while outstanding < 1_000_000 {
            pace.wait(LONG).await;
            outstanding += 1;
            pace.sent(outstanding);
        }
        let waited = before.elapsed();
        assert!(waited > PATIENCE && waited < 12 * PATIENCE, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_there_is_time() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let before = Clock::now();
        assert_eq!(pace.wait(Duration::ZERO).await, Duration::ZERO);
        assert_eq!(before.elapsed(), Duration::ZERO);
        pace.wait(ms(2)).await;
        assert_eq!(before.elapsed(), ms(2));
    }

    #[test]
    fn without_a_timer_nobody_waits() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        assert_eq!(runtime.block_on(pace.wait(LONG)), LONG);
    }
}

//! How far senders run ahead of the acknowledgements.
//!
//! A program that has much to send is faster than any broker, so it fills the buffer, and from then on each record waits for
//! all that are before it. That wins nothing: the brokers get no more than they take. It costs the time that a record
//! waits, and the memory of a hundred thousand records that no processor's cache has at hand. So who does not wait for each
//! acknowledgement (`enqueue`, `send_with`, `send_and_forget`) waits a moment for the next ones while more is outstanding
//! than keeps the brokers busy. A million records through the whole stack take 2,490 ns of processor time each where it was
//! 2,820, a record is acknowledged after 17 ms (the median) where it was 83, and more come through in a second
//! (docs/costs.md).
//!
//! How much that is follows from the acknowledgements, and errs on the side of more: see the module `learned`. Where none
//! comes for 5 ms the limit doubles, so a buffer fills up within some tens of milliseconds while brokers are away.
//!
//! They wait **in the order in which they came**, and who comes while somebody waits is behind them: those that one task polls
//! together (`buffered`, `join_all`) queue their records in the order of their first polls, as without a wait. One at a
//! time goes on, which costs ten thousand tasks more than it gains them; but most tasks wait for their
//! acknowledgements (`send`), and so few of them are ahead that it is no matter.
//!
//! It is a courtesy of the producer, no part of the contract: an engine that is ready takes a record.

use std::{
    fmt,
    sync::{
        PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard, Notify},
};

pub(crate) use self::learned::Acknowledged;
use self::learned::Learned;
use crate::timeout::within;

mod learned;

/// How long a sender waits for acknowledgements, at most.
const PATIENCE: Duration = Duration::from_millis(5);

/// Who has less time than this does not wait for acknowledgements: it could not wait for room then.
const SHORT: Duration = Duration::from_millis(20);

/// What keeps senders from running far ahead of the acknowledgements. One engine has one; its producers ask it.
pub struct Pace {
    /// The senders wait while more records than this are outstanding.
    limit: AtomicUsize,
    /// When the wait for acknowledgements ends, in microseconds from `start`; 0 while there is none.
    until: AtomicU64,
    start: Instant,
    acknowledged: Notify,
    /// The first of those who wait has it, and the others wait for it in the order in which they came.
    turn: Mutex<()>,
    /// How many wait for their turn, or have it.
    in_line: AtomicUsize,
    waits: AtomicU64,
    /// Somebody came from a runtime without time. To find that out again for each record would be a panic for each, caught
    /// but heard by panic hooks: nobody waits then.
    timeless: AtomicBool,
    learned: std::sync::Mutex<Learned>,
}

/// A sender's turn. Who comes later waits until it is dropped.
pub(crate) struct Turn<'p> {
    _turn: MutexGuard<'p, ()>,
    _place: Place<'p>,
}

/// The time was over before it was a sender's turn.
pub(crate) struct Late;

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            limit: AtomicUsize::new(learned::FEW),
            until: AtomicU64::new(0),
            start: Instant::now(),
            acknowledged: Notify::new(),
            turn: Mutex::new(()),
            in_line: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            timeless: AtomicBool::new(false),
            learned: std::sync::Mutex::default(),
        }
    }

    /// Takes note of a record that went in, and of how many are outstanding with it.
    pub(super) fn sent(&self, outstanding: usize) {
        if outstanding > self.limit.load(Relaxed) && self.until.load(Relaxed) == 0 {
            self.until.store(self.now() + micros(PATIENCE), Relaxed);
        }
    }

    /// Takes note of acknowledgements, and lets senders go on. Those of records that failed tell nothing.
    pub(super) fn acknowledged(&self, first: Option<Acknowledged>, now: Instant) {
        if let Some(first) = first {
            let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
            self.limit.store(learned.limit(first, now), Relaxed);
        }
        self.go();
    }

    /// Lets senders go on.
    pub(super) fn go(&self) {
        if self.until.load(Relaxed) != 0 {
            self.until.store(0, Relaxed);
            self.acknowledged.notify_waiters();
        }
    }

    /// How often a sender waited for acknowledgements.
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }

    /// Waits for a sender's turn if senders are far ahead of the acknowledgements, and says how much of the time is left.
    /// Mostly there is neither wait nor turn. A turn is to be kept until the record has its room: who came later must
    /// not be before it.
    ///
    /// Without a timer there is no wait.
    pub(crate) async fn turn(&self, left: Duration) -> Result<(Option<Turn<'_>>, Duration), Late> {
        if self.until.load(Relaxed) == 0 && self.in_line.load(Relaxed) == 0 {
            return Ok((None, left));
        }
        // Boxed, so that it is in nobody's way who does not wait.
        Box::pin(self.wait(left)).await
    }

    async fn wait(&self, left: Duration) -> Result<(Option<Turn<'_>>, Duration), Late> {
        if left <= SHORT || self.timeless.load(Relaxed) || Handle::try_current().is_err() {
            return Ok((None, left));
        }
        let started = Instant::now();
        let place = Place::in_line(&self.in_line);
        let Some(turn) = within(left, self.turn.lock()) else {
            self.timeless.store(true, Relaxed);
            return Ok((None, left));
        };
        let turn = Turn {
            _turn: turn.await.map_err(|_| Late)?,
            _place: place,
        };
        let acknowledged = self.acknowledged.notified();
        let until = self.until.load(Relaxed);
        if until != 0 {
            self.waits.fetch_add(1, Relaxed);
            let patience = Duration::from_micros(until.saturating_sub(self.now()));
            let came = match within(patience, acknowledged) {
                Some(acknowledged) if !patience.is_zero() => acknowledged.await.is_ok(),
                // Somebody else who gave up waited that long.
                _ => false,
            };
            if !came {
                let doubled = self.limit.load(Relaxed).saturating_mul(2);
                self.limit.store(doubled, Relaxed);
                self.go();
            }
        }
        Ok((Some(turn), left.saturating_sub(started.elapsed())))
    }

    fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("limit", &self.limit)
            .field("in_line", &self.in_line)
            .finish_non_exhaustive()
    }
}

/// Is counted while it is there.
struct Place<'p>(&'p AtomicUsize);

impl<'p> Place<'p> {
    fn in_line(line: &'p AtomicUsize) -> Self {
        line.fetch_add(1, Relaxed);
        Self(line)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use franking_core::testing::block_on;
    use tokio::time::{Instant as Clock, timeout};

    use super::{
        learned::{FEW, FEW_IN_PARTITION, IN_USE},
        *,
    };

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
        pace.until.store(0, Relaxed);
        pace.sent(outstanding);
        pace.until.load(Relaxed) != 0
    }

    /// Waits for a turn, and how much of a minute is left then.
    async fn wait(pace: &Pace) -> Duration {
        let Ok((_, left)) = pace.turn(LONG).await else {
            panic!("late");
        };
        left
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
        assert_eq!(wait(&pace).await, LONG);
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
    async fn acknowledgements_let_senders_go_on_in_the_order_in_which_they_came() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let (mut first, mut second) = (pin!(pace.turn(LONG)), pin!(pace.turn(LONG)));
        for waiting in [&mut first, &mut second] {
            assert!(timeout(PATIENCE / 5, waiting).await.is_err());
        }
        // These failed, and nothing is learned from them; yet they are gone.
        pace.acknowledged(None, Instant::now());
        // Nothing holds it up but those who were here before.
        let mut third = pin!(pace.turn(LONG));
        for waiting in [&mut third, &mut second] {
            assert!(timeout(Duration::ZERO, waiting).await.is_err());
        }
        for waiting in [first, second, third] {
            let turn = timeout(Duration::ZERO, waiting).await;
            assert!(matches!(turn, Ok(Ok((Some(_), _)))));
        }
        assert!(matches!(pace.turn(LONG).await, Ok((None, LONG))));
        assert_eq!(pace.limit.load(Relaxed), FEW);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_its_place() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        for _ in 0..3 {
            assert!(timeout(PATIENCE / 5, pace.turn(LONG)).await.is_err());
        }
        assert_eq!(pace.in_line.load(Relaxed), 0);
        std::thread::sleep(PATIENCE);
        // They have waited for those who come later.
        assert!(timeout(Duration::ZERO, pace.turn(LONG)).await.is_ok());
        assert_eq!(pace.limit.load(Relaxed), 2 * FEW);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_never_comes_is_late() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let _first = pace.turn(LONG).await;
        let before = Clock::now();
        assert!(pace.turn(LONG).await.is_err());
        assert_eq!(before.elapsed(), LONG);
    }

    #[tokio::test(start_paused = true)]
    async fn without_acknowledgements_a_buffer_fills_up_all_the_same() {
        let pace = Pace::new();
        let (before, mut outstanding) = (Clock::now(), 0);
        while outstanding < 1_000_000 {
            wait(&pace).await;
            outstanding += 1;
            pace.sent(outstanding);
        }
        let waited = before.elapsed();
        assert!(waited > PATIENCE && waited < 12 * PATIENCE, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_little_time_keeps_it_for_the_room() {
        let pace = Pace::new();
        for left in [Duration::ZERO, SHORT] {
            assert!(holds(&pace, FEW + 1));
            let before = Clock::now();
            let turn = pace.turn(left).await;
            assert!(matches!(turn, Ok((None, still)) if still == left));
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
    }

    #[test]
    fn without_a_timer_nobody_waits() {
        let pace = Pace::new();
        assert!(holds(&pace, FEW + 1));
        let waited = block_on(wait(&pace), Duration::from_secs(60));
        assert_eq!(waited, Some(LONG), "without a runtime");

        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.build().unwrap();
        assert_eq!(runtime.block_on(wait(&pace)), LONG, "without time");
        assert!(pace.timeless.load(Relaxed));
        assert_eq!(runtime.block_on(wait(&pace)), LONG);
    }
}

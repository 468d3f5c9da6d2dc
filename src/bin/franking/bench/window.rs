//! The records in flight, for both clients the same.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use super::{WINDOW, measure::Meter};

/// Of so many records the time of one acknowledgement is taken. That costs an allocation, two readings of the clock and a
/// poll, so 2 ns a record; a task for each was 150 ns a record, for the threads it wakes.
const SAMPLED: u64 = 128;

/// The progress is shown once for so many records.
const SHOWN: u64 = 8192;

/// A client's outcome of one record; a failure by its code.
pub(super) type Outcome = Result<(), String>;

/// Sent and not yet awaited, oldest first.
pub(super) struct Window<F> {
    waiting: VecDeque<Waiting<F>>,
    sent: u64,
    meter: Meter,
    progress: ProgressBar,
}

struct Waiting<F> {
    future: F,
    sampled: Option<Arc<Stamp>>,
}

impl<F: Future<Output = Outcome> + Unpin> Window<F> {
    pub(super) fn new(meter: Meter, progress: ProgressBar) -> Self {
        Self {
            waiting: VecDeque::with_capacity(WINDOW),
            sent: 0,
            meter,
            progress,
        }
    }

    /// When the next record is sent, if it is a sampled one: read the clock only then.
    pub(super) fn clock(&self) -> Option<Instant> {
        self.sent.is_multiple_of(SAMPLED).then(Instant::now)
    }

    /// Takes the future of a record that was sent, and waits for the oldest one if the window is full.
    pub(super) async fn push(&mut self, mut future: F, clock: Option<Instant>) {
        self.sent += 1;
        let mut sampled = None;
        if let Some(sent) = clock {
            let stamp = Arc::new(Stamp {
                sent,
                after: OnceLock::new(),
            });
            let waker = Waker::from(Arc::clone(&stamp));
            match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => sampled = Some(stamp),
                Poll::Ready(outcome) => {
                    self.meter.acknowledged(sent.elapsed());
                    self.meter.count(outcome);
                    return;
                }
            }
        }
        self.waiting.push_back(Waiting { future, sampled });
        if self.sent.is_multiple_of(SHOWN) {
            self.progress.set_position(self.sent);
        }
        if self.waiting.len() >= WINDOW {
            self.settle_oldest().await;
        }
    }

    /// Counts a record that was not even queued.
    pub(super) fn refused(&mut self, code: String) {
        self.sent += 1;
        self.meter.count(Err(code));
    }

    /// Waits for the oldest record's outcome; false if there is none.
    pub(super) async fn settle_oldest(&mut self) -> bool {
        let Some(Waiting { future, sampled }) = self.waiting.pop_front() else {
            return false;
        };
        let outcome = future.await;
        self.meter.count(outcome);
        if let Some(stamp) = sampled {
            // If this was waiting for it, the waker was its own and the time is now.
            let now = || stamp.sent.elapsed();
            self.meter.acknowledged(*stamp.after.get_or_init(now));
        }
        true
    }

    /// Waits for all that are left.
    pub(super) async fn drain(mut self) -> Meter {
        while self.settle_oldest().await {}
        self.progress.finish_and_clear();
        self.meter
    }
}

/// Notes when it is woken: on the client's own thread, at the acknowledgement, long before the window awaits the record.
struct Stamp {
    sent: Instant,
    after: OnceLock<Duration>,
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.after.get_or_init(|| self.sent.elapsed());
    }
}

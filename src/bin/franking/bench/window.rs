//! The records in flight, for both clients the same.

use std::{
    collections::VecDeque,
    future::Future,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::{WINDOW, measure::Meter};

/// Of so many records one is awaited by a task of its own, which sees when the acknowledgement comes: the window's turn
/// to await it comes later. A task costs a microsecond, so this is 8 ns a record.
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

enum Waiting<F> {
    Plain(F),
    Sampled(JoinHandle<(Outcome, Duration)>),
}

impl<F: Future<Output = Outcome> + Send + 'static> Window<F> {
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
    pub(super) async fn push(&mut self, future: F, clock: Option<Instant>) {
        self.sent += 1;
        self.waiting.push_back(match clock {
            None => Waiting::Plain(future),
            Some(sent) => Waiting::Sampled(tokio::spawn(async move {
                let outcome = future.await;
                (outcome, sent.elapsed())
            })),
        });
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
        match self.waiting.pop_front() {
            None => return false,
            Some(Waiting::Plain(future)) => self.meter.count(future.await),
            Some(Waiting::Sampled(task)) => match task.await {
                Ok((outcome, after)) => {
                    self.meter.count(outcome);
                    self.meter.acknowledged(after);
                }
                Err(error) => self.meter.count(Err(error.to_string())),
            },
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

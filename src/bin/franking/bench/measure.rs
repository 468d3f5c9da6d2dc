//! Clocks, and what they say.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::BoxError;

/// What a run came to.
pub(super) struct Measured {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) delivered: u64,
    /// Failures by their code.
    pub(super) failures: BTreeMap<String, u64>,
    /// From send to acknowledgement, of the sampled records, in order.
    acks: Vec<Duration>,
}

impl Measured {
    pub(super) fn ack_millis(&self, quantile: f64) -> f64 {
        let last = self.acks.len().saturating_sub(1);
        let index = (last as f64 * quantile).round() as usize;
        self.acks
            .get(index)
            .map_or(0.0, |ack| ack.as_secs_f64() * 1000.0)
    }
}

/// The clocks of a run, and what was counted so far.
pub(super) struct Meter {
    started: Instant,
    cpu: Duration,
    delivered: u64,
    failures: BTreeMap<String, u64>,
    acks: Vec<Duration>,
}

impl Meter {
    /// Starts the clocks.
    pub(super) fn start() -> Result<Self, BoxError> {
        Ok(Self {
            started: Instant::now(),
            cpu: process_cpu()?,
            delivered: 0,
            failures: BTreeMap::new(),
            acks: Vec::new(),
        })
    }

    /// Counts an outcome; a failure by its code.
    pub(super) fn count(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.delivered += 1,
            Err(code) => *self.failures.entry(code).or_default() += 1,
        }
    }

    /// Notes how long a record was on its way.
    pub(super) fn acknowledged(&mut self, after: Duration) {
        self.acks.push(after);
    }

    /// Stops the clocks.
    pub(super) fn stop(mut self) -> Result<Measured, BoxError> {
        let (wall, cpu) = (self.started.elapsed(), process_cpu()? - self.cpu);
        self.acks.sort_unstable();
        Ok(Measured {
            wall,
            cpu,
            delivered: self.delivered,
            failures: self.failures,
            acks: self.acks,
        })
    }
}

/// User and system time of all threads of this process.
fn process_cpu() -> Result<Duration, BoxError> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

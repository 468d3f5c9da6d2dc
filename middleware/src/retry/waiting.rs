//! Records that wait to be sent again.
//!
//! Those of one lane wait together and go in the order of their sends: mostly a whole batch failed, and it shall arrive
//! as it was. One task looks after each lane in which something waits.

use std::{
    collections::{HashMap, hash_map},
    sync::{Mutex, MutexGuard, PoisonError},
};

use franking_core::{Closing, Failed, Produce};
use tokio::time::Instant;

use super::{
    Resent,
    order::{Lane, Place},
    stats::RetryStats,
};

/// What is known of a record that was sent again, or will be.
#[derive(Clone, Copy)]
pub(super) struct History {
    /// Resends so far.
    pub(super) resends: u32,
    pub(super) first_failure: Instant,
}

/// A record that waits.
pub(super) struct Waiter {
    pub(super) place: Place,
    pub(super) due: Instant,
    pub(super) history: History,
    pub(super) held: Held,
}

/// Who waits, lane by lane.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<Lane, Vec<Waiter>>>);

impl Waiting {
    /// When the last of this lane is due, if one waits.
    pub(super) fn last_due(&self, lane: Lane) -> Option<Instant> {
        let lanes = self.lock();
        let waiters = lanes.get(&lane)?.iter();
        waiters.map(|waiter| waiter.due).max()
    }

    /// Adds one; `true` if its lane is new, and somebody must look after it.
    pub(super) fn push(&self, waiter: Waiter) -> bool {
        let mut lanes = self.lock();
        let (waiters, new) = match lanes.entry(waiter.place.lane) {
            hash_map::Entry::Occupied(entry) => (entry.into_mut(), false),
            hash_map::Entry::Vacant(entry) => (entry.insert(vec![]), true),
        };
        let number = waiter.place.number;
        let index = waiters.partition_point(|other| other.place.number < number);
        waiters.insert(index, waiter);
        new
    }

    /// When the first of this lane is due, and what tells to give up. The lane ends with the last waiter.
    pub(super) fn first(&self, lane: Lane) -> Option<(Instant, Closing)> {
        let mut lanes = self.lock();
        match lanes.get(&lane)?.first() {
            Some(first) => Some((first.due, first.held.failed().closing())),
            None => {
                lanes.remove(&lane);
                None
            }
        }
    }

    /// Takes those out who are due, in order. Nobody goes before one that has to wait longer.
    pub(super) fn take_due(&self, lane: Lane, now: Instant) -> Vec<Waiter> {
        match self.lock().get_mut(&lane) {
            Some(waiters) => {
                let due = waiters.iter().take_while(|waiter| waiter.due <= now);
                let due = due.count();
                waiters.drain(..due).collect()
            }
            None => vec![],
        }
    }

    /// Ends the lane.
    pub(super) fn take_all(&self, lane: Lane) -> Vec<Waiter> {
        self.lock().remove(&lane).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Vec<Waiter>>> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failed record that could be sent again. Dropped, as when its runtime shuts down, it is given up and counted.
pub(super) struct Held {
    failed: Option<Failed>,
    stats: RetryStats,
}

impl Held {
    pub(super) fn new(failed: Failed, stats: &RetryStats) -> Self {
        Self {
            failed: Some(failed),
            stats: stats.clone(),
        }
    }

    pub(super) fn over_budget(self) {
        self.stats.count_over_budget();
    }

    /// Not sent again, as it would come behind a later record of its lane.
    pub(super) fn overtaken(mut self) {
        if let Some(failed) = self.failed.take() {
            self.stats.count_overtaken();
            let failure = failed
                .failure()
                .clone()
                .declined("it would come behind a later record of its key or partition, and order is kept")
                .advice("send it again if it may come late, or let the retry layer do so with Order::GiveUp");
            failed.decline_as(failure);
        }
    }

    pub(super) fn resend<S>(mut self, service: &mut S, recover: Resent<S>)
    where
        S: Produce + Clone + Send + 'static,
    {
        if let Some(failed) = self.failed.take() {
            self.stats.count_retry();
            failed.resend(service, Some(std::sync::Arc::new(recover)));
        }
    }

    fn failed(&self) -> &Failed {
        // Empty only within the methods that consume it.
        self.failed
            .as_ref()
            .expect("a held record is held until it is consumed")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            // Before anybody hears of it.
            self.stats.count_gave_up();
            failed.decline();
        }
    }
}

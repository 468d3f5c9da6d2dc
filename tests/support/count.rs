//! Counts outcomes where they are told to hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use franking::{Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence, Totals};

/// An interceptor that counts what came in and how it ended.
#[derive(Debug, Default)]
pub struct Counter {
    sent: AtomicU64,
    delivered: AtomicU64,
    not_persisted: AtomicU64,
    unknown: AtomicU64,
}

/// What a [`Counter`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub ended: Totals,
}

impl Counter {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn layer(self: &Arc<Self>) -> InterceptorLayer<Arc<Self>> {
        InterceptorLayer::new(Arc::clone(self))
    }

    pub fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.load(SeqCst),
            ended: Totals {
                delivered: self.delivered.load(SeqCst),
                not_persisted: self.not_persisted.load(SeqCst),
                unknown: self.unknown.load(SeqCst),
            },
        }
    }

    /// How many have an outcome.
    pub fn settled(&self) -> u64 {
        self.counts().ended.settled()
    }
}

impl Interceptor for Counter {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        self.sent.fetch_add(1, SeqCst);
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        let count = match outcome.result.map_err(Failure::persistence) {
            Ok(_) => &self.delivered,
            Err(Persistence::NotPersisted) => &self.not_persisted,
            Err(Persistence::Unknown) => &self.unknown,
        };
        count.fetch_add(1, SeqCst);
    }
}

//! Who saw the faults: a demo that only claims them shows nothing.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use franking::{Failure, Interceptor, Outcome, Parts, Room};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Counts the connections that a producer lost, as its log tells, and how much was in flight when it did. It is a layer
/// of `tracing`, where the engine's log goes.
#[derive(Clone)]
pub(super) struct Connections(Arc<Seen>);

struct Seen {
    room: OnceLock<Arc<Room>>,
    lost: AtomicU64,
    in_flight: AtomicUsize,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self(Arc::new(Seen {
            room: OnceLock::new(),
            lost: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
        }))
    }

    /// Looks at this producer's buffer from now on.
    pub(super) fn watch(&self, room: &Arc<Room>) {
        // Only one is watched: the first.
        let _ = self.0.room.set(Arc::clone(room));
    }

    /// Connections that were lost with records in flight.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// The most records that were in flight when one was lost.
    pub(super) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Connections {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "franking::librdkafka" {
            return;
        }
        let Some(room) = self.0.room.get() else {
            return;
        };
        let mut line = Line::default();
        event.record(&mut line);
        let outstanding = room.outstanding();
        // How librdkafka logs it.
        let lost = line.facility == "FAIL" && line.message.contains("Disconnected");
        if lost && outstanding > 0 {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            self.0.in_flight.fetch_max(outstanding, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Line {
    facility: String,
    message: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "facility" {
            value.clone_into(&mut self.facility);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// Notes every attempt: an interceptor between the retry layer and the engine.
#[derive(Clone, Default)]
pub(super) struct Attempts(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    failures: Vec<String>,
    most: u32,
}

impl Attempts {
    /// Code and persistence of each that failed.
    pub(super) fn failures(&self) -> Vec<String> {
        self.noted().failures.clone()
    }

    /// How many attempts the record with the most had.
    pub(super) fn most(&self) -> u32 {
        self.noted().most
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interceptor for Attempts {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }

    fn on_outcome(&self, (): (), outcome: &Outcome<'_>) {
        let mut noted = self.noted();
        noted.most = noted.most.max(outcome.attempts);
        if let Err(failure) = outcome.result {
            let seen = format!("{}, {}", failure.code(), failure.persistence());
            noted.failures.push(seen);
        }
    }
}

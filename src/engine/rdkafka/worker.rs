//! The engine's thread: reports, logs, statistics, and the end.

use std::borrow::Cow;
use std::{
    cell::Cell,
    io,
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use franking_core::{Acks, Code, Escaped, Failure, Parts, Persistence, Placed, Room, Totals};
use tracing::{debug, error, info, warn};

use super::{
    super::{Closed, closed, pace::Pace},
    ClientCell, InFlight, Reported, Statistics,
    door::Door,
    ending::Hurry,
    native::{Client, Event, Orphan, Reports, Slot, Status, error_name, prefetch_at},
    outcomes::{self, NEVER_ACKNOWLEDGED, Offsets, codes},
    secrets::Secrets,
    tokens::Wishes,
};

/// How long one poll waits when nothing happens.
const POLL: Duration = Duration::from_millis(100);

/// After the time to close: how long the reports of purged records may take. They come from librdkafka's own queues.
const PURGE_GRACE: Duration = Duration::from_millis(300);

/// Room is given back, and the clock read, once for so many reports.
const BATCH: usize = 256;

/// Hooks that take longer than this hold up the engine, and are counted.
const SLOW: Duration = Duration::from_millis(1);

/// The clock is read so often for that: a reading for every record would cost 23 ns each.
const TIMED_TOGETHER: usize = 16;

/// What the handles of one engine and its thread share.
pub(super) struct Shared {
    pub(super) room: Arc<Room>,
    /// Empty once the engine is closed. Calls hold it for reading, so that who empties it waits for them.
    client: ClientCell,
    pub(super) pace: Pace,
    acks_none: bool,
    max_request_size: usize,
    pub(super) door: Door,
    secrets: Secrets,
    fatal: AtomicBool,
    slow_hooks: AtomicU64,
    statistics: Mutex<Option<Statistics>>,
    ending: Mutex<Ending>,
    last_words: Mutex<Vec<LastWords>>,
    /// Who fetches tokens, if somebody does.
    tokens: Option<Wishes>,
}

/// Sends what is to be said about all other records.
type LastWords = Arc<dyn Fn() + Send + Sync>;

/// How the engine ends.
#[derive(Default)]
pub(super) struct Ending {
    /// The last handle is gone.
    pub(super) deserted: bool,
    /// Somebody closed the engine: by when, and the ends of records that were settled before.
    pub(super) closing: Option<(Instant, Totals)>,
    pub(super) done: Option<Closed>,
    pub(super) waiting: Vec<Waker>,
}

impl Shared {
    pub(super) fn new(
        client: Arc<Client<InFlight>>,
        room: Arc<Room>,
        acks_none: bool,
        max_request_size: usize,
        secrets: Secrets,
        tokens: Option<Wishes>,
    ) -> Self {
        Self {
            room,
            client: RwLock::new(Some(client)),
            pace: Pace::new(),
            acks_none,
            max_request_size,
            door: Door::default(),
            secrets,
            fatal: AtomicBool::new(false),
            slow_hooks: AtomicU64::new(0),
            statistics: Mutex::default(),
            ending: Mutex::default(),
            last_words: Mutex::default(),
            tokens,
        }
    }

    pub(super) fn add_last_words(&self, words: LastWords) {
        lock(&self.last_words).push(words);
    }

    /// With no lock held: they send records and write files.
    fn say_last_words(&self) {
        let all = lock(&self.last_words).clone();
        for words in all {
            if catch_unwind(AssertUnwindSafe(|| words())).is_err() {
                error!("what an engine was to say last panicked");
            }
        }
    }

    pub(super) fn client(&self) -> RwLockReadGuard<'_, Option<Arc<Client<InFlight>>>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a fatal error and, if there is one, refuses records from now on. A few nanoseconds if there is none.
    pub(super) fn check_fatal(&self) {
        if self.fatal.load(Ordering::Relaxed) {
            return;
        }
        let fatal = self.client().as_ref().and_then(|client| client.fatal());
        if let Some((code, reason)) = fatal {
            self.room.refuse(
                Failure::new(Code::Fatal)
                    .detail(format!(
                        "the producer failed fatally with {} ({code}): {}",
                        error_name(code),
                        self.secrets.redacted(&reason)
                    ))
                    .advice(
                        "build a new producer; records that came back as not persisted can be sent through it",
                    ),
            );
            self.pace.go();
            self.fatal.store(true, Ordering::Relaxed);
        }
    }

    /// The failure of a record that librdkafka did not take.
    pub(super) fn rejected(&self, code: i32, parts: &Parts) -> Failure {
        self.check_fatal();
        if let Some(failure) = self.room.refused() {
            return failure;
        }
        if outcomes::is_too_large(code) {
            return outcomes::larger_than_request(parts, self.max_request_size);
        }
        if !parts.topic.is_legal() {
            return outcomes::illegal_topic();
        }
        outcomes::failure(code)
    }

    pub(super) fn statistics(&self) -> Option<Statistics> {
        lock(&self.statistics).clone()
    }

    pub(super) fn slow_hooks(&self) -> u64 {
        self.slow_hooks.load(Ordering::Relaxed)
    }

    pub(super) fn ending(&self) -> MutexGuard<'_, Ending> {
        lock(&self.ending)
    }

    pub(super) fn wake_worker(&self) {
        if let Some(client) = &*self.client() {
            client.wake();
        }
    }

    // === events, on the engine's thread ===

    fn on_event(&self, event: Event<'_, InFlight>) {
        match event {
            Event::Reports(reports) => self.on_reports(reports),
            Event::Stats(json) => match Statistics::parse(json) {
                Ok(statistics) => *lock(&self.statistics) = Some(statistics),
                Err(error) => {
                    debug!(target: "franking::librdkafka", %error, "unreadable statistics")
                }
            },
            Event::TokenWanted => match &self.tokens {
                // Its thread is there as long as this.
                Some(tokens) => drop(tokens.send(())),
                None => {
                    if let Some(client) = &*self.client() {
                        client.token_failed("nobody was given to the producer who has tokens");
                    }
                }
            },
            Event::Log {
                level,
                facility,
                message,
            } => match level {
                _ if !self.door.on_log(facility, message) => {}
                0..=3 => error!(target: "franking::librdkafka", facility, "{}", self.told(message)),
                4 => warn!(target: "franking::librdkafka", facility, "{}", self.told(message)),
                5..=6 => info!(target: "franking::librdkafka", facility, "{}", self.told(message)),
                _ => debug!(target: "franking::librdkafka", facility, "{}", self.told(message)),
            },
            Event::Error {
                code,
                reason,
                fatal,
            } => {
                self.door.on_error(code, &reason);
                let code = error_name(code);
                if fatal {
                    error!(target: "franking::librdkafka", code, "{}", self.told(&reason));
                    self.check_fatal();
                } else {
                    warn!(target: "franking::librdkafka", code, "{}", self.told(&reason));
                }
            }
        }
    }

    /// Why a record failed that librdkafka had taken.
    fn failed(&self, code: i32, status: Status) -> Failure {
        let reason = match code {
            // Purged at the door, or because the engine ends.
            codes::PURGE_QUEUE => {
                let ended = || self.room.refused().or_else(|| self.door.why_purged());
                self.door.refuses().or_else(ended)
            }
            codes::PURGE_INFLIGHT => self.room.refused(),
            codes::MSG_TIMED_OUT => self.door.hint(),
            _ => None,
        };
        outcomes::failed(code, status, reason.as_ref())
    }

    /// librdkafka's words, some of which are a broker's.
    fn told<'t>(&self, text: &'t str) -> Escaped<Cow<'t, str>> {
        Escaped(self.secrets.redacted(text))
    }

    /// Settles a batch of records. No lock is held: hooks, recoverers and callbacks run in here.
    fn on_reports(&self, mut reports: Reports<'_, InFlight>) {
        let first = reports.first();
        let mut offsets = Offsets::default();
        let mut now = Instant::now();
        let mut acks = Acks::new(&self.room, now);
        let mut settled = 0;
        while let Some(mut report) = reports.next() {
            if let Some(next) = reports.next_user() {
                next.flight.memory(prefetch_at);
            }
            let Some(Slot {
                key, value, user, ..
            }) = report.place.slot.as_mut()
            else {
                continue;
            };
            let InFlight {
                topic,
                partition,
                timestamp,
                flight,
            } = user;
            let record = Reported {
                topic,
                partition: *partition,
                timestamp: *timestamp,
                key,
                value,
                headers: &report.headers,
            };
            if report.code == 0 && !self.acks_none && report.offset == NEVER_ACKNOWLEDGED {
                acks.failed(take(flight), outcomes::never_acknowledged(), record);
            } else if report.code == 0 {
                let placed = Placed {
                    partition: report.partition,
                    // With acks=0 librdkafka makes offsets up.
                    offset: match self.acks_none {
                        true => None,
                        false => offsets.said(report.partition, report.offset),
                    },
                    timestamp: report.timestamp,
                };
                acks.delivered(flight, placed, record);
            } else {
                let failure = self.failed(report.code, report.status);
                acks.failed(take(flight), failure, record);
            }
            reports.recycle(report);

            settled += 1;
            if settled % TIMED_TOGETHER == 0 {
                let before = std::mem::replace(&mut now, Instant::now());
                if now - before > SLOW {
                    self.slow_hooks.fetch_add(1, Ordering::Relaxed);
                }
                if settled % BATCH == 0 {
                    acks = Acks::new(&self.room, now);
                }
            }
        }
        drop(acks);
        self.pace.acknowledged(first, now);
    }

    /// Settles what librdkafka never reported.
    fn on_orphan(&self, mut orphan: Orphan<InFlight>) {
        let InFlight {
            topic,
            partition,
            timestamp,
            flight,
        } = &mut orphan.user;
        let record = Reported {
            topic,
            partition: *partition,
            timestamp: *timestamp,
            key: &mut orphan.key,
            value: &mut orphan.value,
            headers: &orphan.headers,
        };
        let failure = match orphan.report {
            Some((code, status)) if code != 0 => self.failed(code, status),
            _ => self
                .room
                .refused()
                .unwrap_or_else(closed)
                .with_persistence(Persistence::Unknown)
                .detail("the producer ended before the record was acknowledged"),
        };
        Acks::new(&self.room, Instant::now()).failed(take(flight), failure, record);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing of anybody else's runs under these locks, so a poisoned state is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === the thread ===

/// Starts the engine's thread.
pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<()> {
    thread::Builder::new()
        .name("franking-rdkafka".into())
        .spawn(move || run(&shared))?;
    Ok(())
}

thread_local! {
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is an engine's thread, on which hooks and callbacks run: to wait for an outcome here is to wait for ever.
pub(crate) fn is_engine_thread() -> bool {
    SERVES.get()
}

fn run(shared: &Arc<Shared>) {
    SERVES.set(true);
    let Some(client) = shared.client().clone() else {
        return;
    };
    let deadline = serve(shared, &client);
    let before = shared.ending().closing.map(|(_, before)| before);
    // Records that were accepted and never reported, or that a recoverer still holds, are settled below or on the
    // recoverer's own task.
    if let Some(deadline) = deadline {
        wind_up(shared, &client, deadline);
    }

    // Waits for the calls inside; from now on nobody else has the client, but for a running metadata request.
    let taken = shared
        .client
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    drop(taken);
    if shared.room.outstanding() == 0 {
        // librdkafka takes up to a second to end; nobody has to wait for that.
        finish(shared, before);
        drop(client);
    } else {
        if let Some(client) = Arc::into_inner(client) {
            for orphan in client.close() {
                shared.on_orphan(orphan);
            }
        }
        finish(shared, before);
    }
}

/// Serves until the engine shall end: by a deadline if it was closed, at leisure if its last handle is gone.
fn serve(shared: &Arc<Shared>, client: &Client<InFlight>) -> Option<Instant> {
    let mut warned = false;
    loop {
        poll(shared, client, POLL);
        let (deserted, closing) = {
            let ending = shared.ending();
            (ending.deserted, ending.closing)
        };
        if let Some((deadline, _)) = closing {
            return Some(deadline);
        }
        if deserted {
            match shared.room.outstanding() {
                0 => {
                    shared.room.refuse(closed());
                    return None;
                }
                records if !warned => {
                    warned = true;
                    // The producer warns; this is for who holds engines by themselves.
                    info!(
                        records,
                        "the last handle of an engine is gone; its records in flight are delivered in the background"
                    );
                }
                _ => {}
            }
        }
    }
}

/// Handles one batch of events; true if there was one.
///
/// Hooks and callbacks are guarded one by one. A subscriber, or the drop of somebody's payload, can panic too: that must
/// not end the thread, for every later record would wait for ever. Records of the batch that were not settled are told
/// *unknown* when they are dropped.
fn poll(shared: &Shared, client: &Client<InFlight>, timeout: Duration) -> bool {
    let polled = AssertUnwindSafe(|| client.poll(timeout, |event| shared.on_event(event)));
    let told = catch_unwind(polled).unwrap_or(true);
    let shut = shared.door.attend(|| client.is_connected());
    if (shut || shared.fatal.load(Ordering::Relaxed)) && client.in_flight() > 0 {
        // librdkafka purges its queues once when it fails, and not at all when it is refused; what came in at that moment,
        // or comes back from a broker to be tried again, would wait for ever. What is in flight gets its answer.
        client.purge_queue();
    }
    told
}

/// Delivers what is outstanding until the deadline, then settles the rest as librdkafka knows it.
fn wind_up(shared: &Arc<Shared>, client: &Client<InFlight>, deadline: Instant) {
    let _hurry = Hurry::start(shared);
    if deliver(shared, client, deadline) {
        // Every record has its outcome: there is time to report it, and to deliver the reports.
        shared.say_last_words();
        deliver(shared, client, deadline);
    }
    shared.room.abandon();
    let grace = Instant::now() + PURGE_GRACE;
    let purges = shared.room.outstanding() > 0;
    while shared.room.outstanding() > 0 && Instant::now() < grace {
        // Again and again: a record may come out of a queue that was purged before it went in.
        client.purge();
        while poll(shared, client, Duration::from_millis(10)) && Instant::now() < grace {}
    }
    if purges {
        // Nothing can be sent any more, but what was purged can be reported elsewhere.
        shared.say_last_words();
    }
}

/// Whether nothing is outstanding before the deadline.
fn deliver(shared: &Shared, client: &Client<InFlight>, deadline: Instant) -> bool {
    while shared.room.outstanding() > 0 {
        // A second close may have brought the deadline forward.
        let deadline = shared
            .ending()
            .closing
            .map_or(deadline, |(deadline, _)| deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        poll(shared, client, left.min(Duration::from_millis(20)));
    }
    true
}

/// Tells those who wait for the end.
fn finish(shared: &Shared, before: Option<Totals>) {
    let before = before.unwrap_or_else(|| shared.room.totals());
    let ended = shared.room.totals() - before;
    let waiting = {
        let mut ending = shared.ending();
        ending.done = Some(Closed {
            delivered: ended.delivered,
            not_persisted: ended.not_persisted,
            // Held by a recoverer that did not give up: nobody knows yet.
            unknown: ended.unknown + shared.room.outstanding() as u64,
        });
        std::mem::take(&mut ending.waiting)
    };
    for waker in waiting {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

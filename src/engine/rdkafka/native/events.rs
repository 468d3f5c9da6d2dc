//! What librdkafka tells: delivery reports, errors, log lines and statistics; and what it asks, tokens.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka_sys as rd;

use super::codes;
use super::handle::RawEvent;
use super::headers::HeaderList;
use super::pool::HeaderPool;
use super::prefetch::prefetch;
use super::slots::{Place, Slab, SlotId};
use super::sys::{self, Message};
use crate::engine::pace::Acknowledged;

/// Reports whose slots are taken under one lock. Few enough that sending threads hardly wait for it.
const AT_ONCE: usize = 256;

/// So many reports before its own a slot's memory is asked for. Memory takes 120 ns to come, and a report 300 to handle.
const AHEAD: usize = 3;

/// One event of `Client::poll`.
pub(crate) enum Event<'a, T> {
    /// Records with a final outcome. What is not taken is dropped, with its slot.
    Reports(Reports<'a, T>),
    /// Something went wrong that is no record's error. librdkafka goes on unless `fatal`.
    Error {
        code: i32,
        reason: String,
        fatal: bool,
    },
    /// A log line; `level` is that of syslog.
    Log {
        level: i32,
        facility: &'a str,
        message: &'a str,
    },
    /// Statistics in JSON.
    Stats(&'a str),
    /// OAUTHBEARER needs a token: `Client::set_token` or `Client::token_failed` is to be called soon.
    TokenWanted,
}

/// Whether the record is in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// No.
    NotPersisted,
    /// It was sent, and no answer says.
    PossiblyPersisted,
    /// Yes.
    Persisted,
}

/// One record's report.
pub(crate) struct Report<T> {
    /// With the record's slot in it until somebody takes that.
    pub(crate) place: Place<T>,
    pub(crate) headers: HeaderList,
    /// 0 is success. Brokers may send codes that nobody here knows.
    pub(crate) code: i32,
    pub(crate) status: Status,
    /// -1 if none was chosen.
    pub(crate) partition: i32,
    /// As librdkafka says: also for failures, and invented with `acks=0`.
    pub(crate) offset: i64,
    /// Milliseconds; `None` for failures.
    pub(crate) timestamp: Option<i64>,
}

/// The reports of one event.
///
/// Reports come out with no lock held. Their places and header lists go back to the client with [`Reports::recycle`]: that
/// only notes them, and all of a batch are handed over under one lock. What is dropped instead is freed, which is
/// right but slow. A list that outlives the event may be dropped at any time on any thread.
pub(crate) struct Reports<'a, T> {
    cursor: &'a mut Cursor,
    slots: &'a Mutex<Slab<T>>,
    pool: &'a HeaderPool,
    scratch: &'a mut Scratch<T>,
}

impl<T> Reports<'_, T> {
    /// What the engine kept of the record whose report comes next, if it is known: its memory is here by now.
    pub(crate) fn next_user(&self) -> Option<&T> {
        let place = self.scratch.slots.get(self.cursor.next)?.as_ref()?;
        Some(&place.slot.as_ref()?.user)
    }

    /// The first record, before any report is taken; `None` if it failed. A topic is the address of librdkafka's.
    pub(crate) fn first(&mut self) -> Option<Acknowledged> {
        let outstanding = lock(self.slots).live();
        if !self.refill() {
            return None;
        }
        let message = self.cursor.messages[0];
        // SAFETY: the event gave the message and is alive.
        let (code, partition, took) = unsafe {
            (
                (*message).err,
                ((*message).rkt.addr(), (*message).partition),
                rd::rd_kafka_message_latency(message.cast()),
            )
        };
        let took = u64::try_from(took).ok().filter(|_| code == 0)?;
        Some(Acknowledged {
            partition,
            took: Duration::from_micros(took),
            outstanding,
        })
    }

    /// Keeps a report's memory for later records.
    pub(crate) fn recycle(&mut self, report: Report<T>) {
        let Report {
            mut place, headers, ..
        } = report;
        let slot = place.slot.take();
        self.scratch.emptied.push(place);
        if !headers.is_empty() {
            self.scratch.spent.push(headers);
        }
        // Here, with no lock held, and last: it may panic.
        drop(slot);
    }

    /// Fetches the next messages and takes their slots; `false` if there are none.
    fn refill(&mut self) -> bool {
        self.pool.put(&mut self.scratch.spent);
        let cursor = &mut *self.cursor;
        // SAFETY: the event is alive (see `Cursor`), and the array has room for what is asked.
        let count = unsafe {
            sys::rd_kafka_event_message_array(cursor.event, cursor.messages.as_mut_ptr(), AT_ONCE)
        };
        cursor.next = 0;
        self.scratch.slots.clear();
        let mut slots = lock(self.slots);
        slots.keep(self.scratch.emptied.drain(..));
        for &message in &cursor.messages[..count] {
            // SAFETY: the event gave the message and is alive.
            let opaque = unsafe { (*message).opaque };
            self.scratch
                .slots
                .push(SlotId::from_opaque(opaque).and_then(|id| slots.take(id)));
        }
        drop(slots);
        for place in self.scratch.slots.iter().take(AHEAD).flatten() {
            prefetch(&**place);
        }
        count > 0
    }
}

impl<T> Iterator for Reports<'_, T> {
    type Item = Report<T>;

    fn next(&mut self) -> Option<Report<T>> {
        loop {
            while self.cursor.next < self.scratch.slots.len() {
                let now = self.cursor.next;
                let message = self.cursor.messages[now];
                self.cursor.next += 1;
                let coming = &self.scratch.slots[self.cursor.next..];
                if let Some(Some(later)) = coming.get(AHEAD - 1) {
                    prefetch(&**later);
                }
                let next = coming
                    .first()
                    .and_then(|place| place.as_ref()?.slot.as_ref());
                if let Some(headers) = next.and_then(|next| next.headers.as_ref()) {
                    headers.prefetch();
                }
                if let Some(place) = self.scratch.slots[now].take() {
                    // SAFETY: the event gave the message and is alive, and the slot was taken with its opaque value.
                    return Some(unsafe { report(message, place) });
                }
            }
            if !self.refill() {
                return None;
            }
        }
    }
}

/// How far an event's messages were read. The event outlives the cursor: [`give`] sees to it.
struct Cursor {
    event: *mut rd::rd_kafka_event_t,
    messages: [*const Message; AT_ONCE],
    next: usize,
}

/// Memory that one poll leaves to the next.
pub(super) struct Scratch<T> {
    slots: Vec<Option<Place<T>>>,
    spent: Vec<HeaderList>,
    emptied: Vec<Place<T>>,
}

impl<T> Scratch<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            spent: Vec::new(),
            emptied: Vec::new(),
        }
    }
}

/// Ends an event whatever its receiver did: took all reports, left some or panicked. After it no
/// slot refers to a message of the event, so that a live slot always means a live message.
struct Batch<'c, T> {
    cursor: Cursor,
    slots: &'c Mutex<Slab<T>>,
    pool: &'c HeaderPool,
    scratch: &'c mut Scratch<T>,
}

impl<T> Batch<'_, T> {
    fn reports(&mut self) -> Reports<'_, T> {
        Reports {
            cursor: &mut self.cursor,
            slots: self.slots,
            pool: self.pool,
            scratch: self.scratch,
        }
    }
}

impl<T> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        let mut reports = self.reports();
        while let Some(report) = reports.next() {
            // What a payload does when it is dropped is somebody else's code, and the rest must not be left here for it.
            let _ = catch_unwind(AssertUnwindSafe(|| reports.recycle(report)));
        }
        self.scratch.slots.clear();
        self.pool.put(&mut self.scratch.spent);
    }
}

/// Hands an event to `on`.
pub(super) fn give<T>(
    event: RawEvent,
    slots: &Mutex<Slab<T>>,
    pool: &HeaderPool,
    scratch: &mut Scratch<T>,
    mut on: impl FnMut(Event<'_, T>),
) {
    let raw = event.as_ptr();
    // SAFETY: the event is valid.
    match unsafe { rd::rd_kafka_event_type(raw) } {
        rd::RD_KAFKA_EVENT_DR => {
            let cursor = Cursor {
                event: raw,
                messages: [ptr::null(); AT_ONCE],
                next: 0,
            };
            scratch.slots.clear();
            // Declared after `event`, so dropped before it.
            let mut batch = Batch {
                cursor,
                slots,
                pool,
                scratch,
            };
            on(Event::Reports(batch.reports()));
        }
        rd::RD_KAFKA_EVENT_ERROR => {
            // SAFETY: the event is valid and of this type.
            let (code, reason, fatal) = unsafe {
                let reason = text(rd::rd_kafka_event_error_string(raw)).into_owned();
                (
                    sys::rd_kafka_event_error(raw),
                    reason,
                    rd::rd_kafka_event_error_is_fatal(raw) != 0,
                )
            };
            // A producer's fatal error comes with its own code and without the flag.
            on(Event::Error {
                code,
                reason,
                fatal: fatal || code == codes::FATAL,
            });
        }
        rd::RD_KAFKA_EVENT_LOG => {
            let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the event is valid and of this type; the texts live as long as it.
            let (facility, message) = unsafe {
                rd::rd_kafka_event_log(raw, &mut facility, &mut message, &mut level);
                (text(facility), text(message))
            };
            on(Event::Log {
                level,
                facility: &facility,
                message: &message,
            });
        }
        rd::RD_KAFKA_EVENT_STATS => {
            // SAFETY: the event is valid and of this type; the text lives as long as it.
            let stats = unsafe { text(rd::rd_kafka_event_stats(raw)) };
            on(Event::Stats(&stats));
        }
        rd::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => on(Event::TokenWanted),
        // No other type was asked for.
        _ => {}
    }
    drop(event);
}

fn lock<T>(slots: &Mutex<Slab<T>>) -> MutexGuard<'_, Slab<T>> {
    // Nothing of anybody else's runs under this lock, so a poisoned slab is still whole.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Safety
/// `pointer` is null or a C string that lives as long as `'a`.
unsafe fn text<'a>(pointer: *const c_char) -> Cow<'a, str> {
    if pointer.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy()
}

/// # Safety
/// `message` belongs to a live event, and `place` holds the slot of its record.
unsafe fn report<T>(message: *const Message, mut place: Place<T>) -> Report<T> {
    let mut list = ptr::null_mut();
    let mut kind: c_int = 0;
    // SAFETY: the message is valid. Its public part is read by value, and no reference is kept over a call that may
    // change it. What `errstr` gives is never asked for: on a failed record that is the payload.
    let (code, partition, offset, status, timestamp, detached) = unsafe {
        (
            (*message).err,
            (*message).partition,
            (*message).offset,
            sys::rd_kafka_message_status(message),
            sys::rd_kafka_message_timestamp(message, &mut kind),
            sys::rd_kafka_message_detach_headers(message.cast_mut(), &mut list),
        )
    };
    let lent = place.slot.as_mut().and_then(|slot| slot.headers.take());
    let headers = match NonNull::new(list) {
        // SAFETY: a detached list is valid and not the message's any more.
        Some(list) if detached == 0 => unsafe { HeaderList::detached(list, lent) },
        _ => HeaderList::EMPTY,
    };
    Report {
        place,
        headers,
        code,
        // Not an enum here: a value that nobody knows is not known to be either.
        status: match status {
            0 => Status::NotPersisted,
            2 => Status::Persisted,
            _ => Status::PossiblyPersisted,
        },
        partition,
        offset,
        // 0 is "not available".
        timestamp: (kind != 0).then_some(timestamp),
    }
}

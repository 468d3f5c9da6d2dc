//! What a run did: each record that was sent, and what the application and a hook heard of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking::{InterceptorLayer, Producer, ProducerRecord, SendResult, Topic};

use super::heard::{Ear, End, Heard, Note};
use super::listener::Listener;

/// The bytes of a value before its padding: the run's tag and the record's number.
const HEAD: usize = 16;

#[derive(Default)]
pub(super) struct Notes {
    /// By the records' numbers.
    pub(super) records: Vec<Note>,
    outstanding: u64,
    acked: u64,
    /// The last progress, while anything is in flight.
    since: Option<Instant>,
    stall: Duration,
}

impl Notes {
    /// The longest time without an acknowledgement while records were in flight.
    pub(super) fn longest_stall(&self, now: Instant) -> Duration {
        let current = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.stall.max(current)
    }
}

/// Everything that happened to the records of a run. Cheap to clone; the clones share it.
#[derive(Clone)]
pub struct History(Arc<Shared>);

struct Shared {
    /// Heads every value, so that the records of other runs are known as such.
    tag: u64,
    notes: Mutex<Notes>,
}

impl History {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let tag = now.rotate_left(16) ^ NEXT.fetch_add(1, Relaxed);
        Self(Arc::new(Shared {
            tag,
            notes: Mutex::default(),
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap()
    }

    // === sending ===

    /// Notes a record that is about to be sent, and numbers it. The records of a stream must reach each partition in
    /// the order of these calls: a stream is sent by one task, mostly with one key.
    pub fn sends(&self, stream: u32) -> u64 {
        let mut notes = self.lock();
        let application = Ear {
            waits: 1,
            ..Ear::default()
        };
        notes.records.push(Note {
            stream,
            application,
            ..Note::default()
        });
        notes.records.len() as u64 - 1
    }

    /// The value by which the record is known again, padded to this length; 16 at least.
    pub fn value(&self, id: u64, len: usize) -> Bytes {
        let mut value = vec![b'v'; len.max(HEAD)];
        value[..8].copy_from_slice(&self.0.tag.to_be_bytes());
        value[8..HEAD].copy_from_slice(&id.to_be_bytes());
        value.into()
    }

    /// The number of the record with this value, if it is of this run.
    pub fn id_in(&self, value: Option<&[u8]>) -> Option<u64> {
        let (tag, rest) = value?.split_first_chunk()?;
        let (id, _) = rest.split_first_chunk()?;
        (u64::from_be_bytes(*tag) == self.0.tag).then(|| u64::from_be_bytes(*id))
    }

    /// The numbers of the records of this run whose values are in these bytes, uncompressed.
    pub fn ids_within(&self, bytes: &[u8]) -> Vec<u64> {
        let mut ids = vec![];
        let mut rest = bytes;
        while rest.len() >= HEAD {
            match self.id_in(Some(rest)) {
                Some(id) => {
                    ids.push(id);
                    rest = &rest[HEAD..];
                }
                None => rest = &rest[1..],
            }
        }
        ids
    }

    /// A record of 100 bytes, noted as sent, with its stream as the key.
    pub fn record(&self, topic: &Topic, stream: u32) -> (u64, ProducerRecord<Bytes, Bytes>) {
        let id = self.sends(stream);
        let record = ProducerRecord::new(topic.clone())
            .key(Bytes::copy_from_slice(&stream.to_be_bytes()))
            .value(self.value(id, 100));
        (id, record)
    }

    /// Sends such a record; the application hears of it by a callback.
    pub async fn send(&self, producer: &Producer<Bytes, Bytes>, topic: &Topic, stream: u32) {
        let (id, record) = self.record(topic, stream);
        let history = self.clone();
        producer
            .send_with(record, move |result| history.hears(id, &result))
            .await;
    }

    // === hearing ===

    /// The application heard this outcome.
    pub fn hears(&self, id: u64, result: &SendResult) {
        self.application_hears(id, result.into());
    }

    /// As [`hears`](Self::hears).
    pub fn application_hears(&self, id: u64, heard: Heard) {
        self.lock().records[id as usize].application.hears(heard);
    }

    /// The application dropped the future, and will hear nothing.
    pub fn forgets(&self, id: u64) {
        self.lock().records[id as usize].application.waits = 0;
    }

    /// The record came into the stack.
    pub fn enters(&self, id: u64) {
        let mut notes = self.lock();
        notes.records[id as usize].hook.waits += 1;
        if notes.outstanding == 0 {
            notes.since = Some(Instant::now());
        }
        notes.outstanding += 1;
    }

    /// A hook heard this outcome, after one attempt.
    pub fn hook_hears(&self, id: u64, heard: Heard, at: Instant) {
        self.unwinds(id, heard, 1, at);
    }

    pub(super) fn unwinds(&self, id: u64, heard: Heard, attempts: u32, at: Instant) {
        let mut notes = self.lock();
        let note = &mut notes.records[id as usize];
        note.hook.hears(heard);
        note.attempts = attempts;
        notes.outstanding = notes.outstanding.saturating_sub(1);
        if matches!(heard, Heard::Delivered { .. }) {
            notes.acked += 1;
            notes.stall = notes.longest_stall(at);
            notes.since = Some(at);
        }
        if notes.outstanding == 0 {
            notes.stall = notes.longest_stall(at);
            notes.since = None;
        }
    }

    /// The layer with the oracle's hook. Put it outermost, where it hears final outcomes.
    pub fn layer(&self) -> InterceptorLayer<Listener> {
        InterceptorLayer::new(Listener(self.clone()))
    }

    // === while it runs ===

    /// How many records there are so far.
    pub fn sent(&self) -> u64 {
        self.lock().records.len() as u64
    }

    /// What the notes take of the memory, for who measures that of a producer.
    pub fn bytes(&self) -> usize {
        self.lock().records.capacity() * size_of::<Note>()
    }

    /// How many records are in the stack, without an outcome.
    pub fn in_flight(&self) -> u64 {
        self.lock().outstanding
    }

    /// How many records were acknowledged.
    pub fn acked(&self) -> u64 {
        self.lock().acked
    }

    /// The longest time without an acknowledgement while records were in flight.
    pub fn longest_stall(&self) -> Duration {
        self.lock().longest_stall(Instant::now())
    }

    /// How every record ended that has ended.
    pub fn ends(&self) -> Vec<End> {
        let notes = self.lock();
        let ends = notes.records.iter().zip(0..).filter_map(|(note, id)| {
            Some(End {
                id,
                heard: note.hook.heard?,
                attempts: note.attempts,
            })
        });
        ends.collect()
    }

    /// How many records each partition has acknowledged.
    pub fn acked_by_partition(&self) -> Vec<u64> {
        let mut partitions = vec![];
        for note in &self.lock().records {
            if let Some(Heard::Delivered { partition, .. }) = note.hook.heard {
                let partition = partition as usize;
                if partitions.len() <= partition {
                    partitions.resize(partition + 1, 0);
                }
                partitions[partition] += 1;
            }
        }
        partitions
    }
}

//! What can be heard of a record, and by whom.

use franking::{Failure, Persistence, Placed, SendResult};

/// What somebody heard of a record's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Delivered { partition: i32, offset: Option<i64> },
    NotPersisted,
    Unknown,
}

impl From<Persistence> for Heard {
    fn from(persistence: Persistence) -> Self {
        match persistence {
            Persistence::NotPersisted => Self::NotPersisted,
            Persistence::Unknown => Self::Unknown,
        }
    }
}

impl From<Result<Placed, &Failure>> for Heard {
    fn from(result: Result<Placed, &Failure>) -> Self {
        match result {
            Ok(Placed {
                partition, offset, ..
            }) => Self::Delivered { partition, offset },
            Err(failure) => failure.persistence().into(),
        }
    }
}

impl From<&SendResult> for Heard {
    fn from(result: &SendResult) -> Self {
        match result {
            Ok(sent) => Self::Delivered {
                partition: sent.partition,
                offset: sent.offset,
            },
            Err(error) => error.persistence().into(),
        }
    }
}

impl End {
    pub fn is_delivered(&self) -> bool {
        matches!(self.heard, Heard::Delivered { .. })
    }
}

/// One who waits for a record's outcome, and what came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ear {
    /// How many outcomes it waits for: 0 or, of a sound producer, 1.
    pub(super) waits: u8,
    /// How many came, and the first of them.
    pub(super) times: u8,
    pub(super) heard: Option<Heard>,
}

impl Ear {
    pub(super) fn hears(&mut self, heard: Heard) {
        self.times = self.times.saturating_add(1);
        self.heard.get_or_insert(heard);
    }
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    pub(super) stream: u32,
    pub(super) application: Ear,
    pub(super) hook: Ear,
    /// Calls into the engine.
    pub(super) attempts: u32,
}

/// How a record ended, as its hook heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub id: u64,
    pub heard: Heard,
    /// How often it was handed to the engine.
    pub attempts: u32,
}

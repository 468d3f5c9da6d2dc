//! What is sent: keys and values that were made before the clock runs.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use bytes::Bytes;
use franking::{
    Topic,
    config::{Config, Properties},
};

use super::Args;
use crate::{BoxError, connection};

/// Keys and, at most, values.
const KEYS: usize = 1000;
/// Memory for values, at most: large ones are fewer.
const VALUES_BYTES: usize = 16 * 1024 * 1024;

/// The records of a run and the settings that both clients share.
pub(super) struct Workload {
    pub(super) topic: Topic,
    pub(super) properties: Properties,
    pub(super) config: Config,
    keys: Vec<Bytes>,
    values: Vec<Bytes>,
}

impl Workload {
    pub(super) fn new(args: &Args) -> Result<Self, BoxError> {
        let mut properties =
            Properties::from_iter([("linger.ms", "5"), ("buffer.memory", "268435456")]);
        for (name, value) in args.connection.properties()?.iter() {
            properties.set(name, value);
        }
        let config = Config::check(&properties, connection::REQUIRED)?;
        let len = args.value_bytes as usize;
        let mut random = Random::new();
        Ok(Self {
            // As a program has it that names its topics in its source: no count of references.
            topic: Topic::from(&*args.topic.clone().leak()),
            properties,
            config,
            keys: (0..KEYS).map(|n| format!("key-{n}").into()).collect(),
            // A buffer each: the clones of one would make both threads count its references on one cache line.
            values: (0..(VALUES_BYTES / len).clamp(1, KEYS))
                .map(|_| random.bytes(len))
                .collect(),
        })
    }

    pub(super) fn key(&self, n: u64) -> &Bytes {
        &self.keys[n as usize % self.keys.len()]
    }

    pub(super) fn value(&self, n: u64) -> &Bytes {
        &self.values[n as usize % self.values.len()]
    }
}

/// xorshift64*: bytes that no codec makes smaller.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn bytes(&mut self, len: usize) -> Bytes {
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }
}

//! What integration tests share. Use it with `mod support;`.

// Each test binary compiles all of this, uses a part, and exports nothing itself.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod count;
mod fake;
mod full;
mod java;
mod kafka;
mod log;
mod mock;
pub mod oracle;
pub mod otlp;
mod producers;
mod proxy;
mod random;
mod registry;
pub mod secured;
#[cfg(feature = "cli")]
pub mod sending;
mod topics;

pub use count::{Counter, Counts};
pub use fake::{FakeBroker, Produced};
pub use full::{Full, bytes_builder, stack};
pub use java::java;
pub use kafka::{Cluster, STAYS, kafka};
pub use log::Log;
pub use mock::{Mock, RDKafkaApiKey as Api, RDKafkaRespErr as Answer};
pub use producers::{builder, eventually, in_time, record, runs_out, sources};
pub use proxy::{Counts as ProxyCounts, Proxy, Then, Way};
pub use random::Random;
pub use registry::{Asked, RegistryDouble};
pub use topics::{
    Partition, Stored, add_partitions, delete_topic, make_topic, partitions_of, read, read_each,
    read_topics, replicated_topic, topic, topic_name,
};

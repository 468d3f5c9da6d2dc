//! What integration tests share. Use it with `mod support;`.

// Each test binary compiles all of this, uses a part, and exports nothing itself.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod kafka;

pub use kafka::{Cluster, kafka};

//! Chance that can be repeated.

use std::time::Duration;

/// xorshift, to repeat a run by its seed.
pub struct Random(u64);

impl Random {
    /// Seeded by `FRANKING_SEED`, or by the clock. Prints the seed.
    pub fn new() -> Self {
        let seed = match std::env::var("FRANKING_SEED") {
            Ok(seed) => seed.parse().expect("FRANKING_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        };
        println!("FRANKING_SEED={seed}");
        Self(seed | 1)
    }

    /// 64 bits, of which one at least is set.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 to `n` - 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// A time between these two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = (most - least).as_millis() as u64;
        least + Duration::from_millis(self.below(range + 1))
    }
}

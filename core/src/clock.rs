//! The wall clock, from the monotonic one that was read already.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Both clocks are read again after this time, so that a change of the system's clock is followed.
const ANCHOR: Duration = Duration::from_secs(1);

thread_local! {
    static READ: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// This instant, of the last moments, in milliseconds since the epoch.
pub(crate) fn wall(at: Instant) -> i64 {
    if let Some((then, wall)) = READ.get()
        && let Some(since) = at.checked_duration_since(then)
        && since < ANCHOR
    {
        return millis(wall + since);
    }
    let (now, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let wall = wall.unwrap_or_default();
    READ.set(Some((now, wall)));
    millis(wall.saturating_sub(now.saturating_duration_since(at)))
}

/// Not `as_millis`, which divides 128 bits.
fn millis(wall: Duration) -> i64 {
    wall.as_secs() as i64 * 1000 + i64::from(wall.subsec_millis())
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_wall_clock() {
        let read = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis() as i64
        };
        for _ in 0..3 {
            let before = read();
            let told = wall(Instant::now());
            // Truncated twice, and a clock may be slewed.
            assert!((before - 2..=read() + 2).contains(&told));
        }
        let early = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let late = wall(Instant::now());
        assert!((15..200).contains(&(late - wall(early))));
    }
}

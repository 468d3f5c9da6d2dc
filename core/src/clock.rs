//! The wall clock, from the monotonic one that was read already.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Both clocks are read again after this time, so that a change of the system's clock is followed.
const ANCHOR: Duration = Duration::from_secs(1);

thread_local! {
    static READ: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    static LAST: Cell<Option<Told>> = const { Cell::new(None) };
}

/// A millisecond that was told. Most records come in that of the record before them, and to compare instants takes a
/// fraction of what it takes to subtract them.
#[derive(Clone, Copy)]
struct Told {
    from: Instant,
    to: Instant,
    millis: i64,
}

/// This instant, of the last moments, in milliseconds since the epoch.
pub(crate) fn wall(at: Instant) -> i64 {
    match LAST.get() {
        Some(last) if last.from <= at && at < last.to => last.millis,
        _ => tell(at),
    }
}

#[cold]
fn tell(at: Instant) -> i64 {
    let wall = READ.get().and_then(|read| from(read, at));
    let wall = wall.unwrap_or_else(|| read(at));
    let since = Duration::from_nanos(u64::from(wall.subsec_nanos() % 1_000_000));
    let told = at.checked_sub(since).map(|from| Told {
        from,
        to: from + Duration::from_millis(1),
        millis: millis(wall),
    });
    LAST.set(told);
    millis(wall)
}

/// Reads both clocks.
fn read(at: Instant) -> Duration {
    let (now, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH));
    let wall = wall.unwrap_or_default();
    READ.set(Some((now, wall)));
    wall.saturating_sub(now.saturating_duration_since(at))
}

/// From what was read, unless that was too long ago, or only after this instant.
fn from((then, wall): (Instant, Duration), at: Instant) -> Option<Duration> {
    let since = at.checked_duration_since(then)?;
    (since < ANCHOR).then(|| wall + since)
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

    #[test]
    fn reads_the_clocks_again_after_a_second() {
        let (then, wall) = (Instant::now(), Duration::from_millis(5_000));
        let told = |after| from((then, wall), then + Duration::from_millis(after));
        assert_eq!(told(0), Some(wall));
        assert_eq!(told(999), Some(Duration::from_millis(5_999)));
        assert_eq!((told(1_000), told(9_000)), (None, None));
        let later = then + Duration::from_millis(1);
        assert_eq!(from((later, wall), then), None);
    }
}

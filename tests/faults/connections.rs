//! Row 2: connections are cut while records are on their way.

use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{HASTY, ground};
use crate::load::Load;
use crate::support::{Full, Proxy, Random};

/// How long a cut waits for a request on each connection: with one in flight for each broker, there mostly is one, or soon.
const A_MOMENT: Duration = Duration::from_millis(100);

#[test]
fn row_2_connections_that_are_cut_lose_double_and_invert_nothing() {
    const RECORDS: u64 = 500_000;
    let ground = ground();
    let mut random = Random::new();
    let topic = ground.topic("cut", 6);
    let full = Full::new(ground.bootstrap(), HASTY);
    let before = ground.counts();

    let (mut now, mut sent) = (before, 0);
    // A machine that is fast has sent them all before enough was cut: it sends on.
    while sent < RECORDS || now.cut < before.cut + 10 || now.unanswered < before.unanswered + 10 {
        assert!(
            sent < 10 * RECORDS,
            "{now:?} after {sent} records, {before:?} before"
        );
        let load = Load::of(&full, &topic, RECORDS / 5);
        sent += RECORDS / 5;
        while !load.is_over() {
            thread::sleep(random.between(Duration::from_millis(500), Duration::from_millis(1_500)));
            cut_some(ground.proxies(), &mut random);
        }
        load.finish(Duration::from_secs(120));
        now = ground.counts();
    }

    let copies = full.history.stored(ground.direct(), &topic);
    let (cut, unanswered) = (now.cut - before.cut, now.unanswered - before.unanswered);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(10))
        .verdict();
    verdict.must_hold(&format!(
        "row 2, {cut} connections cut with {unanswered} requests in flight"
    ));
    assert!(
        cut >= 10 && unanswered >= 10,
        "{cut} cut, {unanswered} in flight"
    );
    assert_eq!(verdict.acked, sent);
    assert_eq!(full.retry.retries(), 0);
}

/// Cuts the connections to one broker, or to all.
fn cut_some(proxies: &[Proxy], random: &mut Random) {
    let hit = match random.below(6) {
        n @ 0..3 => std::slice::from_ref(&proxies[n as usize]),
        _ => proxies,
    };
    // Where nothing is on its way, a cut shows nothing.
    let since = Instant::now();
    while hit.iter().any(|proxy| proxy.in_flight() == 0) && since.elapsed() < A_MOMENT {
        thread::yield_now();
    }
    hit.iter().for_each(Proxy::cut);
}

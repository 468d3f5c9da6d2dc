//! Rows 3, 4 and 6: a partition's leader is killed, frozen, or stopped in good order.

use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{HASTY, ground, seconds, within};
use crate::load::Load;
use crate::support::Full;

#[test]
fn row_3_killed_leaders_take_no_acknowledged_record_with_them() {
    let ground = ground();
    let topic = ground.topic("killed", 6);
    let full = Full::new(ground.bootstrap(), HASTY);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 1_500);
    let mut in_flight = vec![];
    for _ in 0..5 {
        let leader = ground.leader(&topic, 0);
        let proxy = ground.proxy(leader);
        // Not between two requests.
        within(Duration::from_secs(20), "requests to the leader", || {
            proxy.in_flight() > 0
        });
        in_flight.push(history.in_flight());
        ground.kill_node(leader);
        let acked = history.acked();
        within(Duration::from_secs(20), "acknowledgements go on", || {
            history.acked() > acked + 1_000
        });
        within(Duration::from_secs(20), "all know the new leader", || {
            ground.leader(&topic, 0) != leader
        });
        ground.restart_node(leader);
        ground.wait_until_whole(&topic);
    }
    within(Duration::from_secs(60), "50,000 acknowledgements", || {
        history.acked() >= 50_000
    });
    load.finish(Duration::from_secs(60));

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(15))
        .verdict();
    verdict.must_hold(&format!(
        "row 3, a leader killed 5 times, with {in_flight:?} records in flight"
    ));
    assert!(in_flight.iter().all(|&records| records > 0));
    assert!(verdict.acked >= 50_000);
    assert_eq!(verdict.acked, verdict.sent);
}

#[test]
fn row_4_a_frozen_leader_does_not_hold_up_other_partitions() {
    let ground = ground();
    let topic = ground.topic("frozen", 6);
    let full = Full::new(ground.bootstrap(), HASTY);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 1_000);
    within(Duration::from_secs(20), "the first thousand", || {
        history.acked() >= 1_000
    });
    let frozen = ground.leader(&topic, 0);
    let elsewhere: Vec<_> = (0..6)
        .filter(|&partition| ground.leader(&topic, partition) != frozen)
        .collect();
    let acked = || {
        let by_partition = history.acked_by_partition();
        let count = |&partition: &usize| by_partition.get(partition).copied().unwrap_or(0);
        elsewhere.iter().map(count).sum::<u64>()
    };
    let proxy = ground.proxy(frozen);
    within(Duration::from_secs(20), "requests to the leader", || {
        proxy.in_flight() > 0
    });
    ground.freeze(frozen);
    let (in_flight, before, start) = (history.in_flight(), acked(), Instant::now());
    // What was on its way when it froze does not count.
    thread::sleep(Duration::from_secs(1));
    let on_their_way = acked() - before;
    thread::sleep(seconds(15, 60) - start.elapsed());
    let meanwhile = acked() - before - on_their_way;
    ground.thaw(frozen);
    let frozen_for = start.elapsed();
    ground.wait_until_whole(&topic);
    load.finish(Duration::from_secs(60));

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(15))
        .verdict();
    verdict.must_hold(&format!(
        "row 4, a leader frozen for {frozen_for:.1?} with {in_flight} records in flight, \
         {meanwhile} acked by {} other partitions meanwhile",
        elsewhere.len()
    ));
    assert!(in_flight > 0 && !elsewhere.is_empty());
    assert!(meanwhile >= 100, "{meanwhile}");
    assert_eq!(verdict.acked, verdict.sent);
}

#[test]
fn row_6_an_application_does_not_notice_a_rolling_restart() {
    let ground = ground();
    let topic = ground.topic("rolling", 6);
    let full = Full::new(ground.bootstrap(), HASTY);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 1_000);
    let mut in_flight = vec![];
    for n in 1..=3 {
        within(Duration::from_secs(20), "requests to the broker", || {
            ground.proxy(n).in_flight() > 0
        });
        in_flight.push(history.in_flight());
        let acked = history.acked();
        ground.stop_node(n);
        within(Duration::from_secs(20), "acknowledgements go on", || {
            history.acked() > acked + 1_000
        });
        ground.restart_node(n);
        ground.wait_until_whole(&topic);
    }
    load.finish(Duration::from_secs(60));

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(10))
        .verdict();
    verdict.must_hold(&format!(
        "row 6, all three brokers restarted, with {in_flight:?} records in flight"
    ));
    assert!(in_flight.iter().all(|&records| records > 0));
    assert_eq!((verdict.not_persisted, verdict.unknown), (0, 0));
    assert_eq!(full.retry.retries(), 0);
}

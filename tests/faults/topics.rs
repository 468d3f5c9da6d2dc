//! Row 18: the topic changes while it is written to.

use std::time::Duration;

use crate::ground::{HASTY, ground, within};
use crate::load::Load;
use crate::support::oracle::Clause;
use crate::support::{Full, add_partitions, delete_topic, make_topic};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn row_18_partitions_that_are_added_are_used() {
    let ground = ground();
    let topic = ground.topic("grown", 3);
    // A new partition is found when the producer looks for it.
    let properties = [HASTY, &[("metadata.max.age.ms", "1000")]].concat();
    let full = Full::new(ground.bootstrap(), &properties);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 2_000);
    within(SOON, "all three partitions are used", || {
        history
            .acked_by_partition()
            .iter()
            .filter(|&&n| n > 0)
            .count()
            == 3
    });
    let in_flight = history.in_flight();
    add_partitions(ground.direct(), &topic, 6);
    within(SOON, "all six partitions are used", || {
        history
            .acked_by_partition()
            .iter()
            .filter(|&&n| n > 0)
            .count()
            == 6
    });
    ground.wait_until_whole(&topic);
    load.finish(SOON);

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(5))
        .verdict();
    verdict.must_hold(&format!(
        "row 18, three partitions added with {in_flight} records in flight, \
         acked by each {:?}",
        history.acked_by_partition()
    ));
    assert_eq!(verdict.acked, verdict.sent);
}

#[test]
fn row_18_a_leader_that_moves_is_followed() {
    let ground = ground();
    let topic = ground.topic("moved", 1);
    let full = Full::new(ground.bootstrap(), HASTY);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 2_000);
    let mut in_flight = vec![];
    for _ in 0..3 {
        let from = ground.leader(&topic, 0);
        let (next, last) = (from % 3 + 1, (from + 1) % 3 + 1);
        within(SOON, "requests to the leader", || {
            ground.proxy(from).in_flight() > 0
        });
        in_flight.push(history.in_flight());
        ground.move_leader(&topic, 0, &[next, last, from]);
        within(SOON, "another leader", || ground.leader(&topic, 0) == next);
        let produced = ground.proxy(next).counts().produced;
        within(SOON, "requests to the new leader", || {
            ground.proxy(next).counts().produced > produced + 10
        });
    }
    load.finish(SOON);

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(5))
        .verdict();
    verdict.must_hold(&format!(
        "row 18, a leader moved three times, with {in_flight:?} records in flight"
    ));
    assert!(in_flight.iter().all(|&records| records > 0));
    assert_eq!(verdict.acked, verdict.sent);
}

#[test]
fn row_18_a_topic_that_is_deleted_takes_nothing_and_one_that_comes_again_does() {
    let ground = ground();
    let topic = ground.topic("deleted", 3);
    let properties = [
        HASTY,
        &[
            ("metadata.max.age.ms", "1000"),
            ("delivery.timeout.ms", "5000"),
            ("max.block.ms", "2000"),
        ],
    ]
    .concat();
    let full = Full::new(ground.bootstrap(), &properties);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 1_000);
    within(SOON, "the first thousand", || history.acked() >= 1_000);
    within(SOON, "records in flight", || history.in_flight() > 0);
    let in_flight = history.in_flight();
    delete_topic(ground.direct(), &topic);
    within(SOON, "a record fails", || {
        history.ends().last().is_some_and(|end| !end.is_delivered())
    });
    let gone_with_it = history.acked();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(history.acked(), gone_with_it, "acknowledged by nobody");

    make_topic(ground.direct(), &topic, 3, 3, &[]);
    within(SOON, "sends resume", || {
        history.acked() >= gone_with_it + 1_000
    });
    load.finish(SOON);

    let copies = history.stored(ground.direct(), &topic);
    let resent = full.retry.retries();
    let verdict = full
        .judge(&copies)
        // What the deleted topic had is gone, and only that.
        .without(Clause::AckedIsStored)
        .verdict();
    verdict.must_hold(&format!(
        "row 18, a topic deleted with {in_flight} records in flight and {gone_with_it} acked, \
         and made again, {resent} resent"
    ));
    assert!(in_flight > 0);
    assert_eq!(verdict.lost, gone_with_it, "{verdict}");
}

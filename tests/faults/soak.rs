//! Row 22: a long run, with a fault of any kind every fifteen seconds. `scripts/soak` runs it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{Ground, HASTY, ground, within};
use crate::load::Load;
use crate::support::{Full, Random, Then, Way, delete_topic};

const EVERY: Duration = Duration::from_secs(15);
/// A topic is read back and deleted after so many faults, so that the disk never holds more than two.
const CHAPTER: u32 = 8;
const PER_SECOND: u32 = 1_000;

#[test]
#[ignore = "takes 1,000 s: scripts/soak runs it"]
fn row_22_every_clause_holds_through_a_long_run_of_all_faults() {
    let length = std::env::var("FRANKING_SOAK_SECONDS").map_or(1_000, |text| {
        text.parse().expect("FRANKING_SOAK_SECONDS is a number")
    });
    let ground = ground();
    let mut random = Random::new();
    // One producer for all of it.
    let set = std::env::var("FRANKING_SOAK_SET").unwrap_or_default();
    let set = set.split_whitespace().map(|set| {
        set.split_once('=')
            .expect("FRANKING_SOAK_SET is of key=value")
    });
    let properties: Vec<_> = HASTY.iter().copied().chain(set).collect();
    let full = Full::new(ground.bootstrap(), &properties);
    let end = Instant::now() + Duration::from_secs(length);
    let (mut copies, mut faults, mut most_bytes) = (vec![], BTreeMap::new(), 0);
    let before = ground.counts();
    for chapter in 0.. {
        if Instant::now() >= end {
            break;
        }
        let topic = ground.topic("soak", 6);
        let load = Load::chapter(&full, &topic, PER_SECOND, chapter);
        for _ in 0..CHAPTER {
            if Instant::now() >= end {
                break;
            }
            let next = Instant::now() + EVERY;
            within(Duration::from_secs(60), "records in flight", || {
                full.history.in_flight() > 0
            });
            let fault = any_fault(&ground, &topic, &mut random);
            *faults.entry(fault).or_insert(0) += 1;
            println!(
                "soak: {fault}; {} sent, {} acked, longest stall so far {:.1?}",
                full.history.sent(),
                full.history.acked(),
                full.history.longest_stall()
            );
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        ground.heal();
        ground.wait_until_whole(&topic);
        load.finish(Duration::from_secs(150));
        most_bytes = most_bytes.max(ground.bytes());
        copies.extend(full.history.stored(ground.direct(), &topic));
        delete_topic(ground.direct(), &topic);
    }

    let counts = ground.counts();
    let verdict = full
        .judge(&copies)
        .progress(Duration::from_secs(60))
        .verdict();
    verdict.must_hold(&format!(
        "row 22, {length} s, faults {faults:?}, {} connections cut and {} acknowledgements dropped \
         with {} requests in flight, at most {} MB on disk",
        counts.cut - before.cut,
        counts.acks_dropped - before.acks_dropped,
        counts.unanswered - before.unanswered,
        most_bytes >> 20,
    ));
    assert_eq!(verdict.acked, verdict.sent, "{verdict}");
    assert_eq!(full.retry.retries(), 0);
}

/// Does harm, mends it, and says what it was.
fn any_fault(ground: &Ground, topic: &str, random: &mut Random) -> &'static str {
    let broker = 1 + random.below(3) as u8;
    let other = broker % 3 + 1;
    let proxy = ground.proxy(broker);
    let while_it_lasts = random.between(Duration::from_secs(1), Duration::from_secs(9));
    let way = [Way::There, Way::Back][random.below(2) as usize];
    match random.below(10) {
        0 => {
            for _ in 0..5 {
                ground.proxy(1 + random.below(3) as u8).cut();
                thread::sleep(
                    random.between(Duration::from_millis(500), Duration::from_millis(1_500)),
                );
            }
            "cut"
        }
        1 => {
            proxy.half_close(way);
            "half-close"
        }
        2 => {
            proxy.stall(way);
            thread::sleep(while_it_lasts);
            proxy.resume();
            "stall"
        }
        3 => {
            proxy.slow(Duration::from_millis(100), Some(100_000));
            thread::sleep(while_it_lasts);
            proxy.resume();
            "slow"
        }
        4 => {
            proxy.drop_acks(1 + random.below(5), Then::Close);
            "acknowledgements lost"
        }
        5 => {
            proxy.drop_acks(1 + random.below(2), Then::Silence);
            "acknowledgements lost in silence"
        }
        6 => {
            ground.freeze(broker);
            thread::sleep(while_it_lasts);
            ground.thaw(broker);
            ground.wait_until_whole(topic);
            "freeze"
        }
        7 => {
            ground.kill_node(ground.leader(topic, 0));
            thread::sleep(while_it_lasts);
            ground.heal();
            ground.wait_until_whole(topic);
            "kill"
        }
        8 => {
            ground.stop_node(broker);
            ground.restart_node(broker);
            ground.wait_until_whole(topic);
            "restart"
        }
        _ => {
            ground.kill_node(broker);
            ground.kill_node(other);
            thread::sleep(while_it_lasts);
            ground.heal();
            ground.wait_until_whole(topic);
            "kill two"
        }
    }
}

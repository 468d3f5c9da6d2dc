//! Rows 5 and 8: more brokers are away than records can bear.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::ground::{HASTY, ground, within};
use crate::load::Load;
use crate::support::oracle::{Clause, Heard};
use crate::support::{Full, Way, partitions_of, topic};

#[test]
fn row_5_nothing_is_acknowledged_by_too_few_replicas_and_sends_resume_by_themselves() {
    const OUTAGE: Duration = Duration::from_secs(30);
    let ground = ground();
    let topic = ground.topic("outage", 6);
    // Shorter than the outage, so that there is something to tell of.
    let properties = [HASTY, &[("delivery.timeout.ms", "10000")]].concat();
    let full = Full::new(ground.bootstrap(), &properties);
    let history = &full.history;
    let load = Load::paced(&full, &topic, 1_000);
    within(Duration::from_secs(20), "requests to both", || {
        history.acked() >= 1_000 && ground.proxy(1).in_flight() + ground.proxy(2).in_flight() > 0
    });

    let in_flight = history.in_flight();
    ground.kill_node(1);
    ground.kill_node(2);
    let start = Instant::now();
    // Until the controller misses them they count as in sync: what one of them had may still be acknowledged.
    within(Duration::from_secs(20), "they are out of sync", || {
        let partitions = partitions_of(ground.direct(), &topic);
        partitions.iter().all(|partition| partition.in_sync == 1)
    });
    thread::sleep(Duration::from_secs(1));
    let acked = history.acked();
    thread::sleep(OUTAGE - start.elapsed());
    let below_min_isr = history.acked() - acked;

    ground.restart_node(1);
    within(Duration::from_secs(30), "sends resume", || {
        history.acked() > acked + 1_000
    });
    ground.restart_node(2);
    ground.wait_until_whole(&topic);
    load.finish(Duration::from_secs(60));

    let copies = history.stored(ground.direct(), &topic);
    let resent = full.retry.retries();
    let verdict = full
        .judge(&copies)
        // librdkafka begins a new epoch, on all partitions, when a record that may be stored reaches its delivery
        // timeout; what it sends again after that, the broker cannot tell from new records (its issue 4953: see `copies`).
        .without(Clause::OneCopy)
        .verdict();
    verdict.must_hold(&format!(
        "row 5, two brokers of three down for {OUTAGE:?} with {in_flight} records in flight, \
         {below_min_isr} acked below min.isr, {resent} resent"
    ));
    assert!(in_flight > 0);
    assert_eq!(below_min_isr, 0);
    assert!(
        verdict.unknown > 0 && verdict.not_persisted > 0,
        "{verdict}"
    );
}

#[test]
fn row_8_what_was_in_flight_is_unknown_and_what_was_queued_is_not_persisted() {
    const RECORDS: u64 = 5_000;
    const PATIENCE: Duration = Duration::from_secs(60);
    let ground = ground();
    // One replica: nobody takes its leader's place.
    let topic: franking::Topic = topic(ground.direct(), "gone", 1, &[]).into();
    let properties = [
        ("request.timeout.ms", "2000"),
        ("delivery.timeout.ms", "4000"),
        ("batch.num.messages", "500"),
    ];
    let full = Full::new(ground.bootstrap(), &properties);
    let history = &full.history;
    Load::of(&full, &topic, 100).finish(PATIENCE);

    let leader = ground.leader(&topic, 0);
    let proxy = ground.proxy(leader);
    let on_the_wire = Arc::new(Mutex::new(HashSet::new()));
    let (seen, witness) = (Arc::clone(&on_the_wire), history.clone());
    proxy.witness(move |request| seen.lock().unwrap().extend(witness.ids_within(request)));
    proxy.stall(Way::Back);
    let load = Load::of(&full, &topic, RECORDS);
    within(
        PATIENCE,
        "a request in flight, and records behind it",
        || proxy.in_flight() > 0 && load.is_over(),
    );
    ground.kill_node(leader);
    load.finish(PATIENCE);

    let on_the_wire = std::mem::take(&mut *on_the_wire.lock().unwrap());
    let (mut wrong, mut queued) = (vec![], 0);
    for end in history.ends().into_iter().skip(100) {
        let was_sent = on_the_wire.contains(&end.id);
        queued += u64::from(!was_sent);
        match end.heard {
            // Never sent again: it may be there.
            Heard::Unknown if was_sent && end.attempts == 1 => {}
            Heard::NotPersisted if !was_sent => {}
            _ => wrong.push(end),
        }
    }
    let resent = full.retry.retries();
    proxy.heal();
    ground.restart_node(leader);
    Load::of(&full, &topic, 100).finish(PATIENCE);

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold(&format!(
        "row 8, a broker gone with {} records in flight and {queued} queued, of which {resent} resends",
        on_the_wire.len()
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(!on_the_wire.is_empty() && queued > 0);
    assert_eq!(verdict.acked, 200, "before and after");
}

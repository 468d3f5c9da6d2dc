//! Row 7: the broker has the record, and its acknowledgement is lost.

use std::time::Duration;

use crate::ground::{ground, within};
use crate::load::Load;
use crate::support::{Full, Then, Way};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn row_7_records_whose_acknowledgement_is_lost_have_one_copy() {
    const RECORDS: u64 = 200;
    let ground = ground();
    let properties = [
        ("request.timeout.ms", "1000"),
        // Many small requests.
        ("batch.num.messages", "10"),
    ];
    let (mut runs, mut dropped, mut unanswered) = (0, 0, 0);
    for producer in 0..4 {
        let topic = ground.topic("lost", 6);
        let proxy = ground.proxy(ground.leader(&topic, 0));
        let full = Full::new(ground.bootstrap(), &properties);
        Load::of(&full, &topic, RECORDS).finish(PATIENCE);
        for losses in 1..=5 {
            // A connection that falls silent takes its time to be given up.
            let then = match (producer, losses) {
                (2.., 1 | 2) => Then::Silence,
                _ => Then::Close,
            };
            let before = proxy.counts();
            proxy.stall(Way::Back);
            let load = Load::of(&full, &topic, RECORDS);
            within(PATIENCE, "a request in flight", || proxy.in_flight() > 0);
            proxy.drop_acks(losses, then);
            proxy.resume();
            load.finish(PATIENCE);

            let counts = proxy.counts();
            assert_eq!(counts.acks_dropped - before.acks_dropped, losses);
            runs += 1;
            dropped += losses;
            unanswered += counts.unanswered - before.unanswered;
        }
        let copies = full.history.stored(ground.direct(), &topic);
        let verdict = full.judge(&copies).verdict();
        verdict.must_hold(&format!(
            "row 7, {runs} runs, {dropped} acknowledgements lost with {unanswered} requests in flight"
        ));
        assert_eq!(verdict.acked, 6 * RECORDS, "{verdict}");
        assert_eq!(verdict.stored, verdict.acked, "{verdict}");
    }
    assert_eq!((runs, dropped), (20, 60));
}

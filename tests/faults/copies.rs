//! Where the promise of one copy ends.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use franking::ProducerRecord;

use crate::ground::{ground, within};
use crate::support::oracle::{Clause, Heard};
use crate::support::{Full, Way, partitions_of};

/// When librdkafka gives up a record that may be stored, it begins a new epoch, for all partitions; what it then sends
/// again, the broker cannot tell from new records (librdkafka's issue 4953). So idempotence means one copy as long as no
/// record of the producer reaches `delivery.timeout.ms` in flight.
#[test]
fn a_record_that_is_given_up_may_double_one_of_another_partition() {
    const SOON: Duration = Duration::from_secs(20);
    let ground = ground();
    let topic = ground.topic("epoch", 6);
    let partitions = partitions_of(ground.direct(), &topic);
    let one = partitions[0];
    let other = partitions.iter().find(|p| p.leader != one.leader).unwrap();
    let (here, there) = (one.leader.unwrap(), other.leader.unwrap());
    let (here, there) = (ground.proxy(here), ground.proxy(there));
    let properties = [
        ("request.timeout.ms", "1000"),
        ("delivery.timeout.ms", "4000"),
    ];
    let full = Full::new(ground.bootstrap(), &properties);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let history = &full.history;
    let send = |partition: i32| {
        let id = history.sends(partition as u32);
        let record = ProducerRecord::<Bytes, Bytes>::new(topic.clone())
            .partition(partition)
            .value(history.value(id, 50));
        let heard = history.clone();
        runtime.block_on(
            full.producer
                .send_with(record, move |result| heard.hears(id, &result)),
        );
    };
    send(one.id);
    send(other.id);
    runtime.block_on(full.producer.flush());

    there.stall(Way::Back);
    send(other.id);
    within(SOON, "the first in flight", || there.in_flight() > 0);
    // The second has time left when the first has none.
    thread::sleep(Duration::from_millis(2_500));
    here.stall(Way::Back);
    send(one.id);
    within(SOON, "the second in flight", || here.in_flight() > 0);
    within(SOON, "the first is given up", || history.ends().len() == 3);
    assert_eq!(history.ends()[2].heard, Heard::Unknown);
    ground.heal();
    runtime.block_on(full.producer.flush());

    let copies = history.stored(ground.direct(), &topic);
    let verdict = full.judge(&copies).without(Clause::OneCopy).verdict();
    verdict.must_hold("one record given up, another in flight");
    assert_eq!((verdict.acked, verdict.unknown), (3, 1), "{verdict}");
    assert_eq!(
        verdict.doubled, 1,
        "librdkafka tells them apart: say so in docs/guarantees.md"
    );
}

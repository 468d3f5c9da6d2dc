//! Where the promise of one copy ends: librdkafka begins a new epoch for all partitions, and what it then sends again,
//! the broker cannot tell from new records ([librdkafka's issue 4953]). It does so when it gives a record up, and, with
//! more than one request in flight, when a request is refused and the next one is not.
//!
//! [librdkafka's issue 4953]: https://github.com/confluentinc/librdkafka/issues/4953

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use franking::{ProducerRecord, Topic};
use tokio::runtime::Runtime;

use crate::ground::{Ground, ground, within};
use crate::support::oracle::{Clause, Heard, Verdict};
use crate::support::{Full, Way, partitions_of, replicated_topic, topic};

const SOON: Duration = Duration::from_secs(20);
/// For what nobody tells: that a broker or librdkafka knows of it.
const A_MOMENT: Duration = Duration::from_secs(1);

/// An application that sends one record after the other.
struct Sender {
    full: Full,
    runtime: Runtime,
}

impl Sender {
    fn new(ground: &Ground, properties: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        Self {
            full: Full::new(ground.bootstrap(), properties),
            runtime,
        }
    }

    /// Sends a record to this partition. The oracle takes all records of a run for one topic's: `stream` tells them apart.
    fn send(&self, topic: &Topic, partition: i32, stream: u32) {
        let history = &self.full.history;
        let id = history.sends(stream);
        let record = ProducerRecord::<Bytes, Bytes>::new(topic.clone())
            .partition(partition)
            .value(history.value(id, 50));
        let heard = history.clone();
        let send = self
            .full
            .producer
            .send_with(record, move |result| heard.hears(id, &result));
        self.runtime.block_on(send);
    }

    /// Asks where the topic's partitions are.
    fn knows(&self, topic: &Topic) {
        let partitions = self.full.producer.partitions_for(topic);
        self.runtime.block_on(partitions).unwrap();
    }

    fn flush(&self) {
        self.runtime.block_on(self.full.producer.flush());
    }

    /// What the oracle finds in these topics, without the clause of one copy.
    fn verdict(&self, ground: &Ground, topics: &[&Topic]) -> Verdict {
        let history = &self.full.history;
        let copies: Vec<_> = topics
            .iter()
            .flat_map(|topic| history.stored(ground.direct(), topic))
            .collect();
        self.full.judge(&copies).without(Clause::OneCopy).verdict()
    }
}

// === a record that is given up ===

#[test]
fn a_record_that_is_given_up_may_double_one_of_another_partition() {
    let ground = ground();
    let topic = ground.topic("epoch", 6);
    let partitions = partitions_of(ground.direct(), &topic);
    let one = partitions[0];
    let other = partitions.iter().find(|p| p.leader != one.leader).unwrap();
    let (here, there) = (one.leader.unwrap(), other.leader.unwrap());
    let (here, there) = (ground.proxy(here), ground.proxy(there));
    let properties = [
        ("request.timeout.ms", "1000"),
        ("delivery.timeout.ms", "8000"),
    ];
    let sender = Sender::new(&ground, &properties);
    let history = &sender.full.history;
    sender.send(&topic, one.id, 1);
    sender.send(&topic, other.id, 2);
    sender.flush();

    there.stall(Way::Back);
    sender.send(&topic, other.id, 2);
    within(SOON, "the first in flight", || there.in_flight() > 0);
    // The second has time left when the first has none.
    thread::sleep(Duration::from_secs(6));
    here.stall(Way::Back);
    sender.send(&topic, one.id, 1);
    within(SOON, "the second in flight", || here.in_flight() > 0);
    within(SOON, "the first is given up", || history.ends().len() == 3);
    assert_eq!(history.ends()[2].heard, Heard::Unknown);
    thread::sleep(Duration::from_millis(100));
    here.cut();
    ground.heal();
    sender.flush();

    let verdict = sender.verdict(&ground, &[&topic]);
    verdict.must_hold("one record given up, another in flight");
    assert_eq!((verdict.acked, verdict.unknown), (3, 1), "{verdict}");
    assert_eq!(
        verdict.doubled, 1,
        "librdkafka tells them apart: say so in docs/guarantees.md"
    );
}

#[test]
fn a_record_that_is_refused_for_good_may_double_one_of_another_partition() {
    let ground = ground();
    let small = [("max.message.bytes", "100")];
    let small: Topic = topic(ground.direct(), "small", 1, &small).into();
    let large = ground.topic("large", 6);
    let leader = ground.leader(&small, 0);
    let other = partitions_of(ground.direct(), &large)
        .into_iter()
        .find(|p| p.leader != Some(leader))
        .unwrap();
    let there = ground.proxy(other.leader.unwrap());
    let sender = Sender::new(&ground, &[]);
    let history = &sender.full.history;
    // Where it is, librdkafka might ask the broker whose answers do not come.
    sender.knows(&small);
    sender.send(&large, other.id, 2);
    sender.flush();

    there.stall(Way::Back);
    sender.send(&large, other.id, 2);
    within(SOON, "one in flight", || there.in_flight() > 0);
    sender.send(&small, 0, 1);
    within(SOON, "the other is refused", || history.ends().len() == 2);
    assert_eq!(history.ends()[1].heard, Heard::NotPersisted);
    thread::sleep(A_MOMENT);
    there.cut();
    ground.heal();
    sender.flush();

    let verdict = sender.verdict(&ground, &[&small, &large]);
    verdict.must_hold("one record refused for good, another in flight");
    assert_eq!((verdict.acked, verdict.not_persisted), (2, 1), "{verdict}");
    assert_eq!(
        verdict.doubled, 1,
        "librdkafka tells them apart: say so in docs/guarantees.md"
    );
}

// === a request that is refused for the moment ===

/// Two partitions have a request refused, as too few replicas are in sync, and one that comes when there are enough
/// again, before the answers to the first are seen. Of one, the broker has records of this producer; of the other, none.
/// Elsewhere a third partition's request is taken, and its answer lost. All is well with the brokers all the time, but
/// that one is restarted.
fn refused_for_the_moment(properties: &[(&str, &str)], in_flight: [u64; 2]) -> Verdict {
    let ground = ground();
    let strict = [("min.insync.replicas", "3")];
    let strict: Topic = replicated_topic(ground.direct(), "strict", 6, 3, &strict).into();
    let lenient = ground.topic("lenient", 6);
    let leader = ground.leader(&strict, 0);
    let led: Vec<_> = partitions_of(ground.direct(), &strict)
        .into_iter()
        .filter(|p| p.leader == Some(leader))
        .collect();
    let [known, fresh] = led[..] else {
        panic!("{led:?} of 6 partitions on 3 brokers")
    };
    let other = partitions_of(ground.direct(), &lenient)
        .into_iter()
        .find(|p| p.leader != Some(leader))
        .unwrap();
    let third = (1..=3)
        .find(|&n| n != leader && Some(n) != other.leader)
        .unwrap();
    let (here, there) = (ground.proxy(leader), ground.proxy(other.leader.unwrap()));
    let sender = Sender::new(&ground, properties);
    for partition in 0..6 {
        sender.send(&lenient, partition, 10 + partition as u32);
        if partition != fresh.id {
            sender.send(&strict, partition, partition as u32);
        }
    }
    sender.flush();
    let both = || {
        for partition in [known.id, fresh.id] {
            sender.send(&strict, partition, partition as u32);
        }
    };
    let in_sync = |replicas| {
        let partitions = partitions_of(ground.direct(), &strict);
        partitions.iter().all(|p| p.in_sync == replicas)
    };

    ground.stop_node(third);
    within(SOON, "too few replicas", || in_sync(2));
    thread::sleep(A_MOMENT);
    here.stall(Way::Back);
    there.stall(Way::Back);
    both();
    sender.send(&lenient, other.id, 10 + other.id as u32);
    within(SOON, "what is refused, and the third, in flight", || {
        here.in_flight() == in_flight[0] && there.in_flight() == 1
    });
    ground.restart_node(third);
    within(SOON, "enough replicas", || in_sync(3));
    thread::sleep(A_MOMENT);
    both();
    thread::sleep(A_MOMENT);
    assert_eq!(here.in_flight(), in_flight[1]);
    here.resume();
    thread::sleep(A_MOMENT);
    there.cut();
    there.resume();
    sender.flush();

    let verdict = sender.verdict(&ground, &[&strict, &lenient]);
    verdict.must_hold(&format!(
        "refused for the moment, with {in_flight:?} requests in flight to one broker and 1 to another"
    ));
    assert_eq!(verdict.sent, 16);
    verdict
}

#[test]
fn a_request_that_is_refused_for_the_moment_does_no_harm_while_none_follows_it() {
    let verdict = refused_for_the_moment(&[], [1, 1]);
    assert_eq!((verdict.acked, verdict.doubled), (16, 0), "{verdict}");
}

#[test]
fn one_that_others_follow_may_double_a_third_or_be_unknown() {
    let pipelined = [("max.in.flight.requests.per.connection", "5")];
    let verdict = refused_for_the_moment(&pipelined, [2, 4]);
    // librdkafka calls the fresh partition's first record delivered, and it is nowhere.
    assert_eq!((verdict.acked, verdict.unknown), (15, 1), "{verdict}");
    assert_eq!(
        verdict.doubled, 1,
        "librdkafka tells them apart: let 5 be the default again"
    );
}

//! What is in the topic, as a client that is not ours reads it.

use std::time::Duration;

use franking::testing::block_on;
use rdkafka::ClientConfig;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::History;
use crate::support::read_each;

/// A record that was found in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub partition: i32,
    pub offset: i64,
    /// Its number; `None` if it is not of this run.
    pub id: Option<u64>,
}

/// The value of what the oracle itself writes.
const END: &[u8] = b"the oracle reads up to here";
const PATIENCE: Duration = Duration::from_secs(60);

impl History {
    /// The whole topic. Nothing may be in flight.
    pub fn stored(&self, bootstrap: &str, topic: &str) -> Vec<Copy> {
        write_ends(bootstrap, topic);
        let mut copies = vec![];
        read_each(bootstrap, topic, |message| {
            if message.payload() != Some(END) {
                copies.push(Copy {
                    partition: message.partition(),
                    offset: message.offset(),
                    id: self.id_in(message.payload()),
                });
            }
        });
        copies
    }
}

/// Ends each partition of a replicated topic with a record. A new leader shows its records only once it knows that the
/// others have them; when one more is acknowledged, all before it are shown.
fn write_ends(bootstrap: &str, topic: &str) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .create()
        .unwrap();
    let metadata = producer
        .client()
        .fetch_metadata(Some(topic), PATIENCE)
        .unwrap();
    let partitions = metadata.topics()[0].partitions();
    if partitions.iter().all(|known| known.replicas().len() < 2) {
        return;
    }
    for partition in partitions {
        let end = FutureRecord::<(), [u8]>::to(topic)
            .partition(partition.id())
            .payload(END);
        let sent = producer.send_result(end).map_err(|(error, _)| error);
        let sent = block_on(sent.unwrap(), PATIENCE).expect("an answer in time");
        sent.unwrap().map_err(|(error, _)| error).unwrap();
    }
}

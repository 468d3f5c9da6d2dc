//! A consumer that knows nothing but what it reads: addresses, names of topics, and Kafka's records.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use franking::{
    Headers,
    provenance::{Provenance, Writer, Writers},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::Headers as _,
};
use serde::Serialize;

use crate::BoxError;

/// How long reading a topic to its end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record as it was read.
pub(super) struct Read {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) headers: Headers,
}

impl Read {
    /// What its headers say.
    pub(super) fn provenance(&self) -> Provenance<'_> {
        Provenance::read(&self.headers)
    }

    /// The trace that it was sent in.
    pub(super) fn trace(&self) -> Option<u128> {
        Some(self.provenance().trace?.trace_id)
    }
}

/// Reads a topic from its beginning to its end as it is now. Blocks.
pub(super) fn read(bootstrap: &str, topic: &str) -> Result<Vec<Read>, BoxError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "auditor")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let mut open = BTreeSet::new();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
    {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        open.insert(partition.id());
    }
    consumer.assign(&assignment)?;

    let mut records = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        if Instant::now() > deadline {
            return Err(format!("reading `{topic}` did not come to its end").into());
        }
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let mut headers = Headers::new();
                for header in message.headers().into_iter().flat_map(|list| list.iter()) {
                    headers.append(header.key, header.value)?;
                }
                records.push(Read {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                    value: message.payload().unwrap_or_default().to_vec(),
                    headers,
                });
            }
        }
    }
    Ok(records)
}

/// What the headers of one writer's records in one topic say.
#[derive(Serialize)]
pub(super) struct Learned {
    pub(super) topic: String,
    /// `namespace/name version`, from `prov-origin`.
    pub(super) who: String,
    /// `service.instance.id`, from `prov-origin`.
    pub(super) instance: String,
    pub(super) records: u64,
    /// Records whose `prov-seq` was read before.
    pub(super) duplicates: u64,
    /// Numbers that are missing below the highest `prov-seq`.
    pub(super) missing: Vec<u64>,
    /// Milliseconds since the epoch, from the first `prov-id` (a UUIDv7 begins with its time).
    pub(super) first_ms: u64,
    /// Of the last one.
    pub(super) last_ms: u64,
    /// Different traces.
    pub(super) traces: u64,
    /// Bytes of headers on the wire.
    pub(super) header_bytes: u64,
    /// Bytes of keys and values.
    pub(super) payload_bytes: u64,
    /// Records that lack one of the four headers, or have one that cannot be read.
    pub(super) unreadable: u64,
}

/// Sums up the headers, one entry for each topic and writing instance.
pub(super) fn learn(topics: &[(&str, &[Read])]) -> Vec<Learned> {
    let mut numbers = Writers::new();
    let mut tallies: BTreeMap<(String, String), Tally> = BTreeMap::new();
    for (topic, records) in topics {
        for record in *records {
            let read = record.provenance();
            numbers.see(topic, &read);
            let instance = read.instance().unwrap_or("?").to_owned();
            tallies
                .entry(((*topic).to_owned(), instance))
                .or_default()
                .add(record, &read);
        }
    }
    let learned = tallies.into_iter().map(|((topic, instance), tally)| {
        let writer = numbers
            .iter()
            .find(|writer| (writer.topic(), writer.instance()) == (&*topic, &*instance));
        tally.learned(topic.clone(), instance.clone(), writer)
    });
    learned.collect()
}

#[derive(Default)]
struct Tally {
    who: String,
    records: u64,
    traces: BTreeSet<u128>,
    times: BTreeSet<u64>,
    header_bytes: u64,
    payload_bytes: u64,
    unreadable: u64,
}

impl Tally {
    fn add(&mut self, record: &Read, read: &Provenance<'_>) {
        if self.records == 0 {
            self.who = format!(
                "{}/{} {}",
                read.namespace().unwrap_or("?"),
                read.service().unwrap_or("?"),
                read.origin.get("service.version").unwrap_or("?")
            );
        }
        self.records += 1;
        self.header_bytes += record.headers.wire().len() as u64;
        self.payload_bytes += (record.key.len() + record.value.len()) as u64;
        let (Some(millis), Some(trace), Some(_)) = (
            read.id.and_then(|id| id.millis()),
            &read.trace,
            &read.sequence,
        ) else {
            self.unreadable += 1;
            return;
        };
        self.times.insert(millis);
        self.traces.insert(trace.trace_id);
    }

    fn learned(self, topic: String, instance: String, writer: Option<Writer<'_>>) -> Learned {
        // It reads from the beginning, so that those below the first are missing too.
        let missing = writer.into_iter().flat_map(|writer| {
            let before = 1..=writer.first() - 1;
            std::iter::once(before).chain(writer.gaps()).flatten()
        });
        Learned {
            topic,
            who: self.who,
            instance,
            records: self.records,
            duplicates: writer.map_or(0, |writer| writer.duplicates()),
            missing: missing.collect(),
            first_ms: self.times.first().copied().unwrap_or(0),
            last_ms: self.times.last().copied().unwrap_or(0),
            traces: self.traces.len() as u64,
            header_bytes: self.header_bytes,
            payload_bytes: self.payload_bytes,
            unreadable: self.unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(seq: &str, id: &str) -> Read {
        let mut headers = Headers::new();
        headers
            .append(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .unwrap();
        headers.append("prov-id", id).unwrap();
        headers
            .append(
                "prov-origin",
                "service.namespace=shop,service.name=a,service.version=1,service.instance.id=i",
            )
            .unwrap();
        headers.append("prov-seq", seq).unwrap();
        Read {
            partition: 0,
            offset: 0,
            key: "k".to_owned(),
            value: b"v".to_vec(),
            headers,
        }
    }

    #[test]
    fn gaps_duplicates_and_times_are_in_the_headers() {
        let first = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
        let last = "01a203c9-2b04-7c41-9d2e-5b6f0a1c2d3e";
        let records = [
            read("1", first),
            read("1", first),
            read("4", last),
            read("x", last),
        ];
        let learned = &learn(&[("t", &records)])[0];
        assert_eq!(learned.who, "shop/a 1");
        assert_eq!((learned.records, learned.duplicates), (4, 1));
        assert_eq!((&learned.missing[..], learned.unreadable), (&[2, 3][..], 1));
        assert_eq!(learned.last_ms - learned.first_ms, 1);
        assert_eq!((learned.first_ms, learned.traces), (0x01a2_03c9_2b03, 1));
        assert_eq!(learned.payload_bytes, 8);
    }
}

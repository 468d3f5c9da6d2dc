//! A consumer that knows nothing but what it reads: addresses, names of topics, and Kafka's records.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use franking::{Headers, middleware::origin};
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
    /// The last header of this name, as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    /// All headers that are text, as OpenTelemetry's propagators take them.
    pub(super) fn carrier(&self) -> HashMap<String, String> {
        let text = |value: Option<&[u8]>| String::from_utf8(value?.to_vec()).ok();
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(value)?)))
            .collect()
    }

    /// The trace that it was sent in.
    pub(super) fn trace(&self) -> Option<&str> {
        self.header("traceparent")?.get(3..35)
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
    /// Records whose `prov-id` was read before.
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
    let mut writers: BTreeMap<(String, String), Tally> = BTreeMap::new();
    for (topic, records) in topics {
        for record in *records {
            let origin = origin::parse(record.header("prov-origin").unwrap_or_default());
            let attribute = |name: &str| {
                origin
                    .iter()
                    .find(|(key, _)| key == name)
                    .map_or("?", |(_, value)| value.as_str())
            };
            let instance = attribute("service.instance.id").to_owned();
            writers
                .entry(((*topic).to_owned(), instance))
                .or_insert_with(|| Tally {
                    who: format!(
                        "{}/{} {}",
                        attribute("service.namespace"),
                        attribute("service.name"),
                        attribute("service.version")
                    ),
                    ..Tally::default()
                })
                .add(record);
        }
    }
    writers
        .into_iter()
        .map(|((topic, instance), tally)| tally.learned(topic, instance))
        .collect()
}

#[derive(Default)]
struct Tally {
    who: String,
    records: u64,
    ids: BTreeSet<String>,
    numbers: BTreeSet<u64>,
    traces: BTreeSet<String>,
    times: BTreeSet<u64>,
    header_bytes: u64,
    payload_bytes: u64,
    unreadable: u64,
}

impl Tally {
    fn add(&mut self, record: &Read) {
        self.records += 1;
        self.header_bytes += record.headers.wire().len() as u64;
        self.payload_bytes += (record.key.len() + record.value.len()) as u64;
        let id = record.header("prov-id");
        let number = record.header("prov-seq").and_then(|n| n.parse().ok());
        let (Some(id), Some(millis), Some(number), Some(trace)) =
            (id, id.and_then(millis), number, record.trace())
        else {
            self.unreadable += 1;
            return;
        };
        self.ids.insert(id.to_owned());
        self.times.insert(millis);
        self.numbers.insert(number);
        self.traces.insert(trace.to_owned());
    }

    fn learned(self, topic: String, instance: String) -> Learned {
        let last = self.numbers.last().copied().unwrap_or(0);
        Learned {
            topic,
            who: self.who,
            instance,
            records: self.records,
            duplicates: self.records - self.unreadable - self.ids.len() as u64,
            missing: (1..=last)
                .filter(|number| !self.numbers.contains(number))
                .collect(),
            first_ms: self.times.first().copied().unwrap_or(0),
            last_ms: self.times.last().copied().unwrap_or(0),
            traces: self.traces.len() as u64,
            header_bytes: self.header_bytes,
            payload_bytes: self.payload_bytes,
            unreadable: self.unreadable,
        }
    }
}

/// The time in a UUIDv7: its first 48 bits.
fn millis(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(|&c| c != '-').take(12).collect();
    (id.len() == 36 && id.as_bytes()[14] == b'7')
        .then(|| u64::from_str_radix(&digits, 16).ok())
        .flatten()
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

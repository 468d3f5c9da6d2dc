//! A topic as the buffer before a database: changes go to Kafka at once, and a writer applies them as it can.
//!
//! The application is synchronous here, as many that talk to databases are: it uses the blocking send, with the three ways
//! in which that fails. The writer applies whole batches. After a crash it may read a change again, so each row remembers
//! the offset of the change that made it, and an older one does nothing: at least once, applied once. A record without a
//! value deletes its row.
//!
//! `scripts/kafka start`, then `cargo run --example before_a_database -- BOOTSTRAP`

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::Duration,
};

use franking::{Code, Interrupt, Producer, ProducerRecord};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Partition and offset.
type Place = (i32, i64);

/// Stores a change, and says where. `value` of `None` deletes.
fn change(
    producer: &Producer<String, String>,
    stop: &Interrupt,
    key: &str,
    value: Option<&str>,
) -> Result<Place, Box<dyn Error>> {
    // Compacted, such a topic keeps the last value of each key.
    let mut record = ProducerRecord::new("stock-changes").key(key.to_owned());
    if let Some(value) = value {
        record = record.value(value.to_owned());
    }
    let send = producer.blocking().timeout(PATIENCE).interrupted_by(stop);
    match send.send(record) {
        Ok(stored) => Ok((
            stored.partition,
            stored.offset.ok_or("acks=0 has no offset")?,
        )),
        Err(error) => {
            let what = match error.code() {
                Code::Serialization => "it can never be sent as it is",
                // The same change may be sent again: the last one counts.
                Code::TimedOut => "too slow",
                Code::Interrupted => "the program ends",
                _ => "not possible",
            };
            Err(format!("{what}: {error}").into())
        }
    }
}

/// The database: the value of each row, and the offset of the change that made it. A deleted row keeps its offset.
#[derive(Default)]
struct Table(BTreeMap<String, (i64, Option<String>)>);

impl Table {
    /// Does nothing if this change, or a later one of the row, was applied already.
    fn apply(&mut self, key: &str, offset: i64, value: Option<String>) -> bool {
        let new = self.0.get(key).is_none_or(|(applied, _)| *applied < offset);
        if new {
            self.0.insert(key.to_owned(), (offset, value));
        }
        new
    }

    fn rows(&self) -> impl Iterator<Item = (&str, &str)> {
        let rows = self.0.iter();
        rows.filter_map(|(key, (_, value))| Some((key.as_str(), value.as_deref()?)))
    }
}

/// Applies what is stored at these places, and says how much of it was new. A real writer never ends, and takes its
/// partitions from a consumer group.
fn write(table: &mut Table, bootstrap: &str, places: &[Place]) -> Result<usize, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "stock-writer")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut left: BTreeSet<Place> = places.iter().copied().collect();
    let mut firsts = BTreeMap::new();
    for (partition, offset) in &left {
        firsts.entry(*partition).or_insert(*offset);
    }
    let mut start = TopicPartitionList::new();
    for (partition, first) in firsts {
        start.add_partition_offset("stock-changes", partition, Offset::Offset(first))?;
    }
    consumer.assign(&start)?;
    let mut applied = 0;
    while !left.is_empty() {
        let change = consumer.poll(PATIENCE).ok_or("no change came in time")??;
        let key = String::from_utf8_lossy(change.key().unwrap_or_default());
        let value = change.payload();
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        applied += usize::from(table.apply(&key, change.offset(), value));
        left.remove(&(change.partition(), change.offset()));
    }
    Ok(applied)
}

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let producer: Producer<String, String> = Producer::builder()
        .property("bootstrap.servers", &bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        .build()?;
    // For the thread that hears of the program's end: `stop.interrupt()`.
    let stop = Interrupt::new();

    let places = [
        change(&producer, &stop, "espresso", Some("40 kg"))?,
        change(&producer, &stop, "tea", Some("7 kg"))?,
        change(&producer, &stop, "espresso", Some("38 kg"))?,
        change(&producer, &stop, "tea", None)?,
    ];

    // The writer may run at any time later, on any machine.
    let mut table = Table::default();
    let applied = write(&mut table, &bootstrap, &places)?;
    // As after a crash before its offsets were committed.
    let again = write(&mut table, &bootstrap, &places)?;
    println!("applied {applied} changes, and {again} when they were read again");
    for (key, value) in table.rows() {
        println!("{key}: {value}");
    }
    Ok(())
}

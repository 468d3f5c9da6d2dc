//! What a batch holds with sticky partitions, and with round robin.
//!
//! 12 partitions on the embedded broker, 20,000 records of 100 bytes a second without keys, `linger.ms` 5. Round robin gives
//! each partition its share of what comes in 5 ms; sticky partitioning gives all of it to one, then to another.
//!
//! `cargo run --release --features cli --example partitioners`

use std::{error::Error, future::poll_fn, time::Duration};

use franking::{
    Record,
    config::{Config, Properties, Required},
    engine::rdkafka::RdkafkaEngine,
};
use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use tower_service::Service;

const PARTITIONS: i32 = 12;
const RECORDS: u32 = 60_000;
/// Every 5 ms.
const BURST: u32 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = MockCluster::<DefaultProducerContext>::new(1)?;
    broker.create_topic("readings", PARTITIONS, 1)?;
    println!(
        "{:>16}  {:>18}  {:>18}",
        "partitioner", "records a batch", "bytes a batch"
    );
    for partitioner in ["murmur2_random", "round_robin"] {
        let properties = Properties::from_iter([
            ("bootstrap.servers", broker.bootstrap_servers()),
            ("linger.ms", "5".into()),
            ("partitioner", partitioner.into()),
            ("statistics.interval.ms", "500".into()),
        ]);
        // The engine by itself, which is a tower service of records: it knows what its batches hold.
        let mut engine = RdkafkaEngine::new(&Config::check(&properties, Required::default())?)?;
        let mut clock = tokio::time::interval(Duration::from_millis(5));
        let mut last = None;
        for _ in 0..RECORDS / BURST {
            clock.tick().await;
            for _ in 0..BURST {
                poll_fn(|cx| engine.poll_ready(cx)).await?;
                last = Some(engine.call(Record::new("readings").value(vec![b'x'; 100])));
            }
        }
        if let Some(last) = last {
            last.await?;
        }
        let statistics = engine.statistics().ok_or("no statistics")?;
        println!(
            "{partitioner:>16}  {:>18.1}  {:>18.0}",
            statistics.batch_records, statistics.batch_bytes
        );
    }
    Ok(())
}

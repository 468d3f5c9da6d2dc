//! What devices measured: small Protobuf messages with the device's own time, each device in order.
//!
//! A device that was offline brings old readings, and their time is when they were measured, not when they came. The key
//! is the device, so its readings stay in order; `acks=all` and idempotence (the defaults) keep that through retries.
//! Throughput comes from batches: all readings are queued first, and then waited for.
//!
//! `scripts/kafka start`, then `cargo run --example device_data -- BOOTSTRAP`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use franking::{
    Producer, ProducerRecord,
    serializers::{ProtobufSerializer, StringSerializer},
};

#[derive(Clone, PartialEq, prost::Message)]
struct Reading {
    #[prost(double, tag = "1")]
    celsius: f64,
    #[prost(uint32, tag = "2")]
    battery_percent: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let readings = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("linger.ms", "20")
        .property("compression.type", "lz4")
        .key_serializer(StringSerializer)
        .value_serializer(ProtobufSerializer::new())
        .build()?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let (devices, minutes) = (20, 60);
    let mut queued = Vec::new();
    for minute in 0..minutes {
        for device in 0..devices {
            let reading = Reading {
                celsius: 19.5 + f64::from(device) / 10.0 + f64::from(minute) / 100.0,
                battery_percent: 80,
            };
            let record = ProducerRecord::new("device-readings")
                .key(format!("thermostat-{device}"))
                .value(reading)
                // When it was measured: this device was offline for an hour.
                .timestamp(now - i64::from(minutes - minute) * 60_000);
            queued.push(readings.enqueue(record).await?);
        }
    }

    let (mut stored, mut failed) = (0, 0);
    for reading in queued {
        match reading.await {
            Ok(_) => stored += 1,
            Err(error) => {
                // Not persisted: keep it on the device. Unknown: send it again only if two of a reading do no harm.
                eprintln!("{}: {error}", error.persistence());
                failed += 1;
            }
        }
    }
    println!("{stored} readings of {devices} devices stored, {failed} failed");
    readings.close(Duration::from_secs(10)).await;
    Ok(())
}

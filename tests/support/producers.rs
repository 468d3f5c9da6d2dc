//! Producers and records as most tests want them.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use franking::serializers::StringSerializer;
use franking::{Producer, ProducerBuilder, ProducerRecord};

/// A producer of text for this cluster, with Kafka's defaults.
pub fn builder(bootstrap: impl Into<String>) -> ProducerBuilder<String, String> {
    Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
}

/// A record with this value and no key.
pub fn record(topic: &str, value: impl Into<String>) -> ProducerRecord<String, String> {
    ProducerRecord::new(topic.to_owned()).value(value.into())
}

/// Waits until it holds, as long as a slow machine may take; `false` if it never did.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Whether a wait of `promised` ended within 10 % (and 50 ms for a machine that is busy), and not before its time.
pub fn runs_out(promised: Duration, waited: Duration) -> bool {
    waited >= promised && waited <= promised + promised / 10 + Duration::from_millis(50)
}

/// Does it until it takes less than this, three times at most: a machine may be busy with something else.
pub fn in_time(limit: Duration, mut it_takes: impl FnMut() -> Duration) {
    let mut took = vec![];
    while took.iter().all(|took| *took >= limit) {
        assert!(took.len() < 3, "{took:?}");
        took.push(it_takes());
    }
}

/// Everything that an error and its sources say, to users and to developers.
pub fn sources(error: &dyn Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    if let Some(source) = error.source() {
        text += &format!("\n{}", sources(source));
    }
    text
}

//! Whether anybody answers, asked before anything is measured.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{BaseProducer, Producer as _},
};

use super::workload::Workload;
use crate::{BoxError, text::escaped};

/// How long a cluster may take to answer, and to create the topic.
const PATIENCE: Duration = Duration::from_secs(8);

/// Asks the cluster for the topic, which creates it where brokers do that.
pub(super) fn check(workload: &Workload) -> Result<(), BoxError> {
    let topic = &*workload.topic;
    let bootstrap = workload.properties.get("bootstrap.servers");
    let bootstrap = escaped(bootstrap.unwrap_or_default());
    let mut config = ClientConfig::new();
    for (name, value) in workload.config.librdkafka() {
        config.set(name, value);
    }
    let client: BaseProducer = config.create().map_err(without_value)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match client.client().fetch_metadata(Some(topic), left) {
            Err(error) => format!(
                "no broker answers at {bootstrap} within {} s ({error}). Is it running, and is that the address it \
                 advertises? In this project's checkout, `scripts/kafka start` starts one and prints its address",
                PATIENCE.as_secs()
            ),
            Ok(metadata) => match metadata.topics() {
                [topic] if !topic.partitions().is_empty() => return Ok(()),
                _ => format!(
                    "the cluster at {bootstrap} answers, but has no topic `{topic}` and does not create it: create it, \
                     or name another with --topic"
                ),
            },
        };
        if left.is_zero() {
            return Err(why.into());
        }
        std::thread::sleep(Duration::from_millis(100).min(left));
    }
}

/// What librdkafka does not like; its own message shows the value, which can be a secret.
fn without_value(error: KafkaError) -> BoxError {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("`{name}`: librdkafka does not take its value").into()
        }
        error => error.into(),
    }
}

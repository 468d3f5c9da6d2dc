//! librdkafka's statistics, as far as a user of a producer asks for them.

use std::collections::HashMap;

use serde::Deserialize;

/// A snapshot of librdkafka's own view of the producer, taken every `statistics.interval.ms`.
///
/// The fields and units are librdkafka's (`STATISTICS.md`), summed or averaged over brokers and topics.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Records in librdkafka's queues and in flight.
    pub queued_records: u64,
    /// Their payload bytes.
    pub queued_bytes: u64,
    /// Records sent to brokers so far, retries included.
    pub sent_records: u64,
    /// Bytes sent to brokers so far, with the protocol's framing, after compression.
    pub sent_bytes: u64,
    /// Requests that were sent again.
    pub request_retries: u64,
    /// Requests that timed out.
    pub request_timeouts: u64,
    /// Average records a batch, over the topics that sent any.
    pub batch_records: f64,
    /// Average bytes a batch, over the topics that sent any.
    pub batch_bytes: f64,
    /// Average time of a request to a broker, in seconds, over the brokers that answered.
    pub round_trip: f64,
    /// Average time a record waited in the producer before it was sent, in seconds.
    pub queue_time: f64,
    /// Brokers with an open connection.
    pub brokers_up: u64,
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    msg_cnt: u64,
    #[serde(default)]
    msg_size: u64,
    #[serde(default)]
    txmsgs: u64,
    #[serde(default)]
    tx_bytes: u64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct Broker {
    #[serde(default)]
    nodeid: i64,
    #[serde(default)]
    state: String,
    #[serde(default)]
    txretries: u64,
    #[serde(default)]
    req_timeouts: u64,
    #[serde(default)]
    rtt: Window,
    #[serde(default)]
    int_latency: Window,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    batchsize: Window,
    #[serde(default)]
    batchcnt: Window,
}

/// librdkafka's rolling window: microseconds for times.
#[derive(Clone, Copy, Default, Deserialize)]
struct Window {
    #[serde(default)]
    avg: i64,
    #[serde(default)]
    cnt: i64,
}

impl Statistics {
    pub(super) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let json: Json = serde_json::from_str(json)?;
        // The bootstrap entries are not brokers of the cluster.
        let brokers = || json.brokers.values().filter(|broker| broker.nodeid >= 0);
        Ok(Self {
            queued_records: json.msg_cnt,
            queued_bytes: json.msg_size,
            sent_records: json.txmsgs,
            sent_bytes: json.tx_bytes,
            request_retries: brokers().map(|broker| broker.txretries).sum(),
            request_timeouts: brokers().map(|broker| broker.req_timeouts).sum(),
            batch_records: mean(json.topics.values().map(|topic| topic.batchcnt)),
            batch_bytes: mean(json.topics.values().map(|topic| topic.batchsize)),
            round_trip: mean(brokers().map(|broker| broker.rtt)) / 1e6,
            queue_time: mean(brokers().map(|broker| broker.int_latency)) / 1e6,
            brokers_up: brokers().filter(|broker| broker.state == "UP").count() as u64,
        })
    }
}

/// The mean of windows, each weighted by what it saw.
fn mean(windows: impl Iterator<Item = Window>) -> f64 {
    let (sum, count) = windows.fold((0.0, 0.0), |(sum, count), window| {
        let seen = window.cnt as f64;
        (sum + window.avg as f64 * seen, count + seen)
    });
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_librdkafka_writes() {
        let json = r#"{"msg_cnt":3,"msg_size":300,"txmsgs":10,"tx_bytes":2000,"brokers":{
            "a:1/bootstrap":{"nodeid":-1,"state":"UP","rtt":{"avg":9,"cnt":9}},
            "a:1/1":{"nodeid":1,"state":"UP","txretries":2,"req_timeouts":1,"rtt":{"avg":1000,"cnt":1}},
            "b:1/2":{"nodeid":2,"state":"DOWN","rtt":{"avg":4000,"cnt":2}}},
            "topics":{"t":{"batchcnt":{"avg":5,"cnt":2},"batchsize":{"avg":500,"cnt":2}}}}"#;
        let statistics = Statistics::parse(json).unwrap();
        assert_eq!(statistics.queued_records, 3);
        assert_eq!(statistics.request_retries, 2);
        assert_eq!(statistics.brokers_up, 1);
        assert_eq!(statistics.batch_records, 5.0);
        assert_eq!(statistics.round_trip, 0.003);
        assert!(Statistics::parse("{").is_err());
    }
}

//! The client against librdkafka's own mock cluster, in this process.
//!
//! `FRANKING_NATIVE_RECORDS` sets the number of records of the long tests: `scripts/valgrind` asks for fewer.

#[cfg(feature = "rdkafka")]
mod consumed;
mod delivery;
mod ending;
mod failure;
mod round_trip;
// librdkafka has tokens where it has OpenSSL.
#[cfg(any(feature = "tls", feature = "tls-vendored"))]
mod token;

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int};
use std::time::{Duration, Instant};

use bytes::Bytes;
use franking_core::Headers;
use rdkafka_sys as rd;

use super::*;

unsafe extern "C" {
    // With numbers for codes, for the reason that `sys` gives.
    fn rd_kafka_mock_push_request_errors_array(
        cluster: *mut rd::rd_kafka_mock_cluster_t,
        api_key: i16,
        count: usize,
        errors: *const i32,
    );
    fn rd_kafka_test_fatal_error(rk: *mut rd::rd_kafka_t, code: i32, reason: *const c_char) -> i32;
    fn rd_kafka_mock_topic_create(
        cluster: *mut rd::rd_kafka_mock_cluster_t,
        topic: *const c_char,
        partitions: c_int,
        replicas: c_int,
    ) -> i32;
}

/// The API key of Produce.
const PRODUCE: i16 = 0;

type Pairs = Vec<(String, Option<Vec<u8>>)>;

/// How many records a long test sends.
fn records(usual: usize) -> usize {
    std::env::var("FRANKING_NATIVE_RECORDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
        .min(usual)
}

fn conf(more: &[(&str, &str)]) -> Vec<(String, String)> {
    [
        ("test.mock.num.brokers", "1"),
        ("linger.ms", "1"),
        ("log_level", "3"),
    ]
    .iter()
    .chain(more)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect()
}

fn client<T: Send + 'static>(more: &[(&str, &str)]) -> Client<T> {
    Client::new(&conf(more)).expect("a client")
}

fn cluster<T: Send + 'static>(client: &Client<T>) -> *mut rd::rd_kafka_mock_cluster_t {
    // SAFETY: the client is alive; the result belongs to it.
    let cluster = unsafe { rd::rd_kafka_handle_mock_cluster(client.raw()) };
    assert!(!cluster.is_null());
    cluster
}

fn create<T: Send + 'static>(client: &Client<T>, topic: &str, partitions: c_int) {
    let topic = CString::new(topic).unwrap();
    // SAFETY: the cluster lives as long as the client, and the name is copied.
    assert_eq!(
        unsafe { rd_kafka_mock_topic_create(cluster(client), topic.as_ptr(), partitions, 1) },
        0
    );
}

fn fail_produce<T: Send + 'static>(client: &Client<T>, codes: &[i32]) {
    // SAFETY: the cluster lives as long as the client, and the codes are copied.
    unsafe {
        rd_kafka_mock_push_request_errors_array(
            cluster(client),
            PRODUCE,
            codes.len(),
            codes.as_ptr(),
        )
    };
}

fn bootstrap<T: Send + 'static>(client: &Client<T>) -> String {
    // SAFETY: the cluster lives as long as the client, and so does its text.
    unsafe { CStr::from_ptr(rd::rd_kafka_mock_cluster_bootstraps(cluster(client))) }
        .to_str()
        .unwrap()
        .to_owned()
}

#[expect(clippy::too_many_arguments, reason = "as `Client::produce`")]
fn produce<T: Send + 'static>(
    client: &Client<T>,
    topic: &str,
    partition: i32,
    timestamp: Option<i64>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: &Headers,
    user: T,
) -> Result<(), Rejected<T>> {
    match client.topic(topic) {
        Ok(topic) => client
            .produce(topic, partition, timestamp, key, value, headers, user)
            .map(drop),
        Err(code) => Err(Rejected {
            code,
            key,
            value,
            user,
        }),
    }
}

/// Sends a value without key and headers.
fn send<T: Send + 'static>(
    client: &Client<T>,
    topic: &str,
    value: &'static [u8],
    user: T,
) -> Result<(), Rejected<T>> {
    produce(
        client,
        topic,
        -1,
        None,
        None,
        Some(Bytes::from_static(value)),
        &Headers::new(),
        user,
    )
}

fn headers<'h>(pairs: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(name, value).unwrap();
    }
    headers
}

/// A report, with what its slot kept.
struct Told<T> {
    user: T,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: HeaderList,
    code: i32,
    status: Status,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

impl<T> Told<T> {
    fn of(report: &mut Report<T>) -> Self {
        let slot = report.place.slot.take().expect("a slot");
        Self {
            user: slot.user,
            key: slot.key,
            value: slot.value,
            headers: std::mem::replace(&mut report.headers, HeaderList::EMPTY),
            code: report.code,
            status: report.status,
            partition: report.partition,
            offset: report.offset,
            timestamp: report.timestamp,
        }
    }
}

/// Polls until `count` reports came, and recycles every other one's memory.
fn reports<T: Send + 'static>(client: &Client<T>, count: usize) -> VecDeque<Told<T>> {
    let mut all = VecDeque::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while all.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} reports",
            all.len()
        );
        client.poll(Duration::from_millis(100), |event| {
            if let Event::Reports(mut reports) = event {
                while let Some(mut report) = reports.next() {
                    let mut told = Told::of(&mut report);
                    if all.len() % 2 == 0 {
                        std::mem::swap(&mut told.headers, &mut report.headers);
                        reports.recycle(report);
                    }
                    all.push_back(told);
                }
            }
        });
    }
    all
}

/// A small generator: tests print its seed through their assertions, and need no more than that.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap_or(0))
            .collect()
    }
}

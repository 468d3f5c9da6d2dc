//! What the writers' audit layers reported.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, BufRead},
};

use serde::Deserialize;
use serde_json::Value;

use crate::BoxError;

/// A line longer than this is no report.
const LONGEST: u64 = 1 << 20;

/// The sums of all closed lines of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) delivered: u64,
    pub(super) not_persisted: u64,
    pub(super) unknown: u64,
}

/// What was reported of one topic.
pub(super) struct Reports {
    topic: String,
    width: i64,
    ids: HashSet<String>,
    pub(super) buckets: BTreeMap<i64, Reported>,
    /// Lines that are about this topic.
    pub(super) lines: u64,
}

/// What a line says, as `franking_middleware::audit` names it.
#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    topic: String,
    bucket_start: i64,
    bucket_millis: i64,
    delivered: u64,
    #[serde(default)]
    not_persisted: u64,
    #[serde(default)]
    unknown: u64,
    /// What is not closed is a picture, repeated in a later line.
    #[serde(default = "yes")]
    closed: bool,
}

fn yes() -> bool {
    true
}

impl Reports {
    pub(super) fn new(topic: &str, width: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            width,
            ids: HashSet::new(),
            buckets: BTreeMap::new(),
            lines: 0,
        }
    }

    /// Adds the lines of a file; those that are no report, or of another topic, are passed over.
    pub(super) fn read(&mut self, mut lines: impl BufRead) -> Result<(), BoxError> {
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            number += 1;
            if io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let Some(report) = report(&line) else {
                continue;
            };
            if report.topic != self.topic {
                continue;
            }
            if report.bucket_millis != self.width {
                return Err(format!(
                    "line {number} has buckets of {} ms, not {}: say so with --bucket",
                    report.bucket_millis, self.width
                )
                .into());
            }
            self.add(report);
        }
    }

    fn add(&mut self, report: Line) {
        self.lines += 1;
        if !report.closed || report.id.is_some_and(|id| !self.ids.insert(id)) {
            return;
        }
        let bucket = self.buckets.entry(report.bucket_start).or_default();
        bucket.delivered = bucket.delivered.saturating_add(report.delivered);
        bucket.not_persisted = bucket.not_persisted.saturating_add(report.not_persisted);
        bucket.unknown = bucket.unknown.saturating_add(report.unknown);
    }

    /// Records that had a number and may not be there.
    pub(super) fn failed(&self) -> u64 {
        let failed = |sum: u64, b: &Reported| {
            sum.saturating_add(b.not_persisted)
                .saturating_add(b.unknown)
        };
        self.buckets.values().fold(0, failed)
    }
}

/// A plain object, or one of tracing's, whose values are in `fields`.
fn report(line: &[u8]) -> Option<Line> {
    let mut object: Value = serde_json::from_slice(line).ok()?;
    let fields = match object.get_mut("fields") {
        Some(fields) => fields.take(),
        None => object,
    };
    serde_json::from_value(fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_by_bucket() {
        let text = r#"
{"topic":"t","bucket_start":0,"bucket_millis":10,"delivered":5,"not_persisted":1,"unknown":2}
no JSON
{"timestamp":"now","level":"INFO","fields":{"message":"balance","topic":"t","bucket_start":0,"bucket_millis":10,"delivered":3,"closed":true},"target":"franking::audit"}
{"topic":"t","bucket_start":0,"bucket_millis":10,"delivered":100,"closed":false}
{"topic":"other","bucket_start":0,"bucket_millis":99,"delivered":100}
{"id":"a","topic":"t","bucket_start":10,"bucket_millis":10,"delivered":1}
{"id":"a","topic":"t","bucket_start":10,"bucket_millis":10,"delivered":1}
{"level":"INFO","fields":{"message":"something else"}}"#;
        let mut reports = Reports::new("t", 10);
        reports.read(text.as_bytes()).unwrap();
        let first = Reported {
            delivered: 8,
            not_persisted: 1,
            unknown: 2,
        };
        let second = Reported {
            delivered: 1,
            ..Reported::default()
        };
        assert_eq!(reports.buckets, BTreeMap::from([(0, first), (10, second)]));
        assert_eq!((reports.lines, reports.failed()), (5, 3));

        let mut other_width = Reports::new("t", 20);
        let error = other_width.read(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("line 2 has buckets of 10 ms"),
            "{error}"
        );
    }
}

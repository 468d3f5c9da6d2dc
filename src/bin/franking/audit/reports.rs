//! What the writers' audit layers reported.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, BufRead},
};

use franking::middleware::audit::Report;
use serde_json::Value;

use crate::BoxError;

/// A line longer than this is no report.
const LONGEST: u64 = 1 << 20;

/// Sums of closed reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) delivered: u64,
    pub(super) not_persisted: u64,
    pub(super) unknown: u64,
}

impl Reported {
    fn add(&mut self, report: &Report) {
        self.delivered = self.delivered.saturating_add(report.delivered);
        self.not_persisted = self.not_persisted.saturating_add(report.not_persisted);
        self.unknown = self.unknown.saturating_add(report.unknown);
    }

    /// Records that had a number and may not be there.
    pub(super) fn failed(&self) -> u64 {
        self.not_persisted.saturating_add(self.unknown)
    }
}

/// What was reported of one topic.
pub(super) struct Reports {
    topic: String,
    width: i64,
    ids: HashSet<String>,
    pub(super) buckets: BTreeMap<i64, Reported>,
    /// By who sent the records; `None`: the report does not say.
    instances: HashMap<Option<String>, Reported>,
    /// Reports about this topic.
    pub(super) count: u64,
    /// Delivered records that reports tell of without saying to which topic.
    pub(super) unplaced: u64,
}

impl Reports {
    pub(super) fn new(topic: &str, width: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            width,
            ids: HashSet::new(),
            buckets: BTreeMap::new(),
            instances: HashMap::new(),
            count: 0,
            unplaced: 0,
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
            self.add(&line)
                .map_err(|width| format!("line {number} has {width}"))?;
        }
    }

    /// Adds a report, if it is one.
    pub(super) fn add(&mut self, json: &[u8]) -> Result<(), String> {
        let Some(report) = report(json) else {
            return Ok(());
        };
        let place = report.bucket_start.zip(report.bucket_millis);
        let (start, width) = match (&report.topic, place) {
            (Some(topic), Some(place)) if *topic == self.topic => place,
            (None, None) => {
                if report.closed && self.is_new(&report) {
                    self.unplaced = self.unplaced.saturating_add(report.delivered);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if width != self.width {
            return Err(format!(
                "buckets of {width} ms, not {}: say so with --bucket",
                self.width
            ));
        }
        self.count += 1;
        if report.closed && self.is_new(&report) {
            self.buckets.entry(start).or_default().add(&report);
            let instance = self.instances.entry(report.instance.clone());
            instance.or_default().add(&report);
        }
        Ok(())
    }

    /// Of reports with the same id the first counts.
    fn is_new(&mut self, report: &Report) -> bool {
        match &report.id {
            Some(id) => self.ids.insert(id.clone()),
            None => true,
        }
    }

    /// What was reported of this instance's records, if reports say whose they are.
    pub(super) fn of(&self, instance: &str) -> Option<Reported> {
        self.instances.get(&Some(instance.to_owned())).copied()
    }

    /// What was reported without saying of whose records.
    pub(super) fn of_nobody(&self) -> Reported {
        self.instances.get(&None).copied().unwrap_or_default()
    }
}

/// A plain object, or one of tracing's, whose values are in `fields`.
fn report(json: &[u8]) -> Option<Report> {
    let mut object: Value = serde_json::from_slice(json).ok()?;
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
{"id":"a","instance":"one","topic":"t","bucket_start":10,"bucket_millis":10,"delivered":1}
{"id":"a","instance":"one","topic":"t","bucket_start":10,"bucket_millis":10,"delivered":1}
{"id":"b","delivered":9}
{"id":"b","delivered":9}
{"delivered":"many"}
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
        assert_eq!((reports.count, reports.unplaced), (5, 9));
        assert_eq!(reports.of("one"), Some(second));
        assert_eq!(reports.of("two"), None);
        assert_eq!(reports.of_nobody().failed(), 3);

        let mut other_width = Reports::new("t", 20);
        let error = other_width.read(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("line 2 has buckets of 10 ms"),
            "{error}"
        );
    }
}

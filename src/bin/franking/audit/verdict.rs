//! What is stored against what was numbered and reported.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{reports::Reports, tally::Tally};

/// How many gaps are told of an instance.
const MOST_GAPS: usize = 10;

/// All that is told, and what it means.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) topic: String,
    /// Whether it was read to its end.
    pub(super) complete: bool,
    pub(super) records: u64,
    /// Records without a number, or of more instances than are told apart.
    pub(super) unnumbered: u64,
    pub(super) untracked: u64,
    pub(super) malformed: u64,
    /// Records without a time, or in one bucket too many.
    pub(super) elsewhere: u64,
    pub(super) instances: Vec<Instance>,
    pub(super) buckets: Vec<BucketLine>,
    /// How many reports there were, if they were asked for.
    pub(super) reports: Option<u64>,
    /// Delivered records that reports tell of without saying to which topic.
    pub(super) unplaced: u64,
    /// Numbers that are missing because their records failed, as the reports say.
    pub(super) explained: u64,
    /// Numbers that are missing, less those that are explained; or records that buckets lack, if that is more.
    pub(super) missing: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
    /// Records that are stored and that no report tells of.
    pub(super) unreported: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Instance {
    pub(super) instance: String,
    /// `namespace/name`, if the instance wrote records of its own.
    pub(super) service: String,
    pub(super) records: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Numbers between the first and the last that are not there.
    pub(super) missing: u64,
    /// Of these: as many as its records failed, as the reports say.
    pub(super) explained: u64,
    /// As its reports say; `None` if there are none that name it.
    pub(super) delivered: Option<u64>,
    /// First and last number of the lowest gaps.
    pub(super) gaps: Vec<(u64, u64)>,
    pub(super) doubled: u64,
    pub(super) late: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct BucketLine {
    /// Milliseconds since the epoch.
    pub(super) start: i64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
    /// What the reports say; `None` without reports.
    pub(super) delivered: Option<u64>,
    pub(super) unknown: Option<u64>,
    /// Delivered and not there.
    pub(super) missing: u64,
    /// There, and neither delivered nor unknown.
    pub(super) unreported: u64,
}

impl Verdict {
    pub(super) fn of(topic: &str, tally: &Tally, reports: Option<&Reports>) -> Self {
        let mut instances: Vec<_> = tally
            .writers
            .iter()
            .map(|writer| {
                let (late, service) = tally.instance(writer.instance());
                let gaps = writer.gaps().take(MOST_GAPS);
                let reported = reports.and_then(|reports| reports.of(writer.instance()));
                let failed = reported.map_or(0, |reported| reported.failed());
                Instance {
                    instance: writer.instance().to_owned(),
                    service: service.to_owned(),
                    records: writer.records(),
                    first: writer.first(),
                    last: writer.last(),
                    missing: writer.missing(),
                    explained: writer.missing().min(failed),
                    delivered: reported.map(|reported| reported.delivered),
                    gaps: gaps.map(|gap| (*gap.start(), *gap.end())).collect(),
                    doubled: writer.duplicates(),
                    late,
                }
            })
            .collect();
        instances.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
        let buckets = buckets(tally, reports);
        let sum = |of: fn(&Instance) -> u64| instances.iter().map(of).fold(0, u64::saturating_add);
        let gaps = sum(|instance| instance.missing);
        let explained = sum(|instance| instance.explained);
        // Those of reports that name nobody can be anybody's.
        let failed = reports.map_or(0, |reports| reports.of_nobody().failed());
        let explained = explained.saturating_add(failed).min(gaps);
        let numbers = gaps - explained;
        let records = buckets.iter().map(|bucket| bucket.missing).sum();
        Self {
            topic: topic.to_owned(),
            complete: true,
            records: tally.records,
            unnumbered: tally.writers.unnumbered(),
            untracked: tally.writers.untracked(),
            malformed: tally.malformed,
            elsewhere: tally.elsewhere,
            reports: reports.map(|reports| reports.count),
            unplaced: reports.map_or(0, |reports| reports.unplaced),
            explained,
            missing: numbers.max(records),
            doubled: sum(|instance| instance.doubled),
            late: buckets.iter().map(|bucket| bucket.late).sum(),
            unreported: buckets.iter().map(|bucket| bucket.unreported).sum(),
            instances,
            buckets,
        }
    }

    /// How the program ends.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self { missing: 1.., .. } => 3,
            Self { doubled: 1.., .. }
            | Self {
                unreported: 1.., ..
            } => 4,
            _ => 0,
        }
    }
}

fn buckets(tally: &Tally, reports: Option<&Reports>) -> Vec<BucketLine> {
    let mut lines: BTreeMap<i64, BucketLine> = BTreeMap::new();
    for (start, bucket) in &tally.buckets {
        let line = lines.entry(*start).or_default();
        line.records = bucket.records;
        line.bytes = bucket.bytes;
        line.doubled = bucket.doubled;
        line.late = bucket.late;
    }
    if let Some(reports) = reports {
        for start in reports.buckets.keys() {
            lines.entry(*start).or_default();
        }
        for (start, line) in &mut lines {
            let reported = reports.buckets.get(start).copied().unwrap_or_default();
            let distinct = line.records - line.doubled;
            line.delivered = Some(reported.delivered);
            line.unknown = Some(reported.unknown);
            line.missing = reported.delivered.saturating_sub(distinct);
            let accounted = reported.delivered.saturating_add(reported.unknown);
            line.unreported = distinct.saturating_sub(accounted);
        }
    }
    lines
        .into_iter()
        .map(|(start, line)| BucketLine { start, ..line })
        .collect()
}

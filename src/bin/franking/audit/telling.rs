//! The verdict as a person reads it.

use std::io::{self, Write};

use anstyle::Style;

use super::verdict::{Instance, Verdict};
use crate::{
    tail::clock,
    terminal::{BAD, FAINT, GOOD, HEADING},
    text::push,
};

/// So many instances and buckets are told one by one; `--json` has all.
const MOST: usize = 50;

pub(super) fn tell(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    instances(out, verdict)?;
    buckets(out, verdict)?;
    let Verdict {
        records,
        unnumbered,
        untracked,
        malformed,
        elsewhere,
        ..
    } = verdict;
    writeln!(
        out,
        "{FAINT}{records} records: {unnumbered} without a number, {untracked} of more instances than are told apart, \
         {malformed} with malformed headers, {elsewhere} without a bucket{FAINT:#}"
    )?;
    if !verdict.complete {
        writeln!(
            out,
            "{BAD}interrupted{BAD:#}: the topic was not read to its end"
        )?;
    }
    let mut said = vec![];
    for (count, what) in [
        (verdict.missing, "missing"),
        (verdict.doubled, "doubled"),
        (verdict.unreported, "not reported"),
    ] {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    if said.is_empty() {
        writeln!(out, "{GOOD}✓{GOOD:#} nothing is missing or doubled")
    } else {
        writeln!(out, "{BAD}✗ {}{BAD:#}", said.join(", "))
    }
}

fn instances(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    writeln!(
        out,
        "{HEADING}{:<40} {:>10} {:>10} {:>10} {:>10} {:>10}{HEADING:#}",
        "instance", "last", "records", "missing", "doubled", "late"
    )?;
    for instance in verdict.instances.iter().take(MOST) {
        let name = format!("{} {}", instance.service, instance.instance);
        writeln!(
            out,
            "{} {:>10} {:>10} {} {} {:>10}",
            fitting(name.trim_start(), 40),
            instance.last,
            instance.records,
            bad(instance.missing),
            bad(instance.doubled),
            instance.late
        )?;
        gaps(out, instance)?;
    }
    more(out, verdict.instances.len(), "instances")
}

fn gaps(out: &mut impl Write, instance: &Instance) -> io::Result<()> {
    let mut gaps: Vec<_> = instance
        .gaps
        .iter()
        .map(|(first, last)| match first == last {
            true => format!("#{first}"),
            false => format!("#{first}–#{last}"),
        })
        .collect();
    let told: u64 = instance
        .gaps
        .iter()
        .map(|(first, last)| last - first + 1)
        .sum();
    if told < instance.missing {
        gaps.push("…".to_owned());
    }
    if instance.first > 1 {
        gaps.push(format!("begins with #{}", instance.first));
    }
    if !gaps.is_empty() {
        writeln!(out, "  {FAINT}{}{FAINT:#}", gaps.join(", "))?;
    }
    Ok(())
}

fn buckets(out: &mut impl Write, verdict: &Verdict) -> io::Result<()> {
    let reported = verdict.reports.is_some();
    write!(
        out,
        "{HEADING}{:<26} {:>10} {:>12} {:>8} {:>8}",
        "bucket", "records", "bytes", "doubled", "late"
    )?;
    if reported {
        write!(out, " {:>10} {:>10}", "delivered", "missing")?;
    }
    writeln!(out, "{HEADING:#}")?;
    for bucket in verdict.buckets.iter().take(MOST) {
        write!(
            out,
            "{:<26} {:>10} {:>12} {:>8} {:>8}",
            clock(bucket.start),
            bucket.records,
            bucket.bytes,
            bucket.doubled,
            bucket.late
        )?;
        if let Some(delivered) = bucket.delivered {
            write!(out, " {delivered:>10} {}", bad(bucket.missing))?;
            if bucket.unreported > 0 {
                write!(out, " {BAD}{} not reported{BAD:#}", bucket.unreported)?;
            }
        }
        writeln!(out)?;
    }
    more(out, verdict.buckets.len(), "buckets")?;
    if verdict.explained > 0 {
        writeln!(
            out,
            "{FAINT}{} of the missing numbers are of records that failed, as the reports say{FAINT:#}",
            verdict.explained
        )?;
    }
    if verdict.unplaced > 0 {
        writeln!(
            out,
            "{FAINT}{} delivered records are reported without their topic: some may be of this one{FAINT:#}",
            verdict.unplaced
        )?;
    }
    Ok(())
}

fn more(out: &mut impl Write, count: usize, what: &str) -> io::Result<()> {
    match count.checked_sub(MOST) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(
            out,
            "{FAINT}and {more} more {what}; --json tells all{FAINT:#}"
        ),
    }
}

/// A count in its column, in red unless it is 0.
fn bad(count: u64) -> String {
    let style = if count > 0 { BAD } else { Style::new() };
    format!("{style}{count:>10}{style:#}")
}

/// A text that somebody else wrote, in exactly so many columns.
fn fitting(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut left = columns;
    push(&mut out, text.as_bytes(), &mut left);
    out + &" ".repeat(left)
}

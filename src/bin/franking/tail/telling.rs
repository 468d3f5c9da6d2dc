//! A record as a person reads it.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, UNIX_EPOCH},
};

use anstyle::Style;
use franking::provenance::{Hop, Provenance};

use super::Args;
use crate::{
    reading::Record,
    terminal::{BAD, FAINT, HEADING},
    text::push,
};

/// How many headers are shown of a record that has more.
const MOST_HEADERS: usize = 100;
/// So many columns at least: below, nothing can be told.
const NARROWEST: usize = 20;

/// Writes records as lines.
pub(super) struct Teller {
    colour: bool,
    width: usize,
    verbose: bool,
    max_bytes: usize,
}

impl Teller {
    pub(super) fn new(stdout: &io::Stdout, args: &Args) -> Self {
        let size = terminal_size::terminal_size_of(stdout).map(|(width, _)| width.0.into());
        let terminal = size.or(stdout.is_terminal().then_some(80));
        Self {
            colour: anstream::AutoStream::choice(stdout) != anstream::ColorChoice::Never,
            width: args.width.or(terminal).unwrap_or(usize::MAX).max(NARROWEST),
            verbose: args.verbose,
            max_bytes: args.max_bytes,
        }
    }

    /// All lines of a record.
    pub(super) fn tell(&self, record: &Record<'_>) -> String {
        let read = &record.provenance;
        let mut page = Page {
            teller: self,
            text: String::with_capacity(512),
            left: self.width,
        };
        page.head(record);
        if let Some(trace) = &read.trace {
            let sampled = if trace.is_sampled() {
                ""
            } else {
                "  not sampled"
            };
            let trace = format!(
                "{:032x}  span {:016x}{sampled}",
                trace.trace_id, trace.span_id
            );
            page.line("trace", &trace);
        }
        if let Some(id) = read.id {
            page.line("id", &id.to_string());
        }
        if let Some(path) = &read.path {
            let cut = path.cut.then(|| "…".to_owned());
            let hops: Vec<_> = cut.into_iter().chain(path.hops.iter().map(hop)).collect();
            page.line("path", &hops.join(" → "));
        }
        if !read.marks.is_empty() {
            page.line("marks", &read.marks.join(" "));
        }
        if self.verbose {
            page.more(read);
        }
        page.bytes("key", record.key);
        match record.value {
            Some(value) => page.bytes("value", Some(value)),
            None => {
                page.label("value", FAINT);
                page.put(FAINT, b"null");
                page.end();
            }
        }
        if self.verbose {
            page.headers(&record.headers);
        }
        for note in read.notes.iter() {
            page.label("note", BAD);
            page.put(BAD, note.to_string().as_bytes());
            page.end();
        }
        page.text
    }
}

/// The lines of one record; what goes into them is escaped and cut.
struct Page<'t> {
    teller: &'t Teller,
    text: String,
    /// Columns of the line.
    left: usize,
}

impl Page<'_> {
    fn head(&mut self, record: &Record<'_>) {
        let read = &record.provenance;
        self.put(HEADING, record.topic.as_bytes());
        let place = format!("-{}@{}", record.partition, record.offset);
        self.put(HEADING, place.as_bytes());
        let made = read.id.and_then(|id| id.millis()).map(|made| made as i64);
        if let Some(millis) = made.or(record.timestamp) {
            self.put(Style::new(), b"  ");
            self.put(Style::new(), clock(millis).as_bytes());
        }
        self.put(Style::new(), b"  ");
        if read.is_empty() {
            self.put(FAINT, b"no provenance");
        } else {
            self.put(HEADING, who(read).as_bytes());
        }
        if let Some(sequence) = &read.sequence {
            let number = format!("  #{}", sequence.number);
            self.put(Style::new(), number.as_bytes());
            if let Some(instance) = &sequence.instance {
                self.put(FAINT, b" of ");
                self.put(FAINT, instance.as_bytes());
            }
        }
        self.end();
    }

    /// What only `--verbose` shows.
    fn more(&mut self, read: &Provenance<'_>) {
        for (name, value) in read.origin.iter() {
            self.label("origin", FAINT);
            self.put(FAINT, name.as_bytes());
            self.put(FAINT, b" ");
            self.put(Style::new(), value.as_bytes());
            self.end();
        }
        if let Some(revision) = read.revision {
            self.line("stack", revision);
        }
        if let Some(signature) = &read.signature {
            let told = format!(
                "{} bytes, not checked, key {}",
                signature.bytes.len(),
                signature.key_id
            );
            self.line("signed", &told);
        }
        if let Some(trace) = &read.trace {
            for (key, value) in trace.members() {
                self.line("state", &format!("{key}={value}"));
            }
        }
    }

    fn headers(&mut self, headers: &[(&[u8], Option<&[u8]>)]) {
        for (name, value) in headers.iter().take(MOST_HEADERS) {
            self.label("header", FAINT);
            self.limited(FAINT, name);
            self.put(FAINT, b" ");
            match value {
                Some(value) => self.limited(Style::new(), value),
                None => self.put(FAINT, b"null"),
            }
            self.end();
        }
        if headers.len() > MOST_HEADERS {
            let more = format!("and {} more", headers.len() - MOST_HEADERS);
            self.line("header", &more);
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        self.bytes(label, Some(text.as_bytes()));
    }

    fn bytes(&mut self, label: &str, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.label(label, FAINT);
        self.limited(Style::new(), bytes);
        self.end();
    }

    fn limited(&mut self, style: Style, bytes: &[u8]) {
        let max = self.teller.max_bytes;
        self.put(style, &bytes[..bytes.len().min(max)]);
        if bytes.len() > max {
            let told = format!("… {} bytes in all", bytes.len());
            self.put(FAINT, told.as_bytes());
        }
    }

    fn label(&mut self, label: &str, style: Style) {
        let label = format!("  {label:<6} ");
        self.put(style, label.as_bytes());
    }

    fn put(&mut self, style: Style, bytes: &[u8]) {
        let style = if self.teller.colour {
            style
        } else {
            Style::new()
        };
        self.text.push_str(&style.render().to_string());
        push(&mut self.text, bytes, &mut self.left);
        self.text.push_str(&style.render_reset().to_string());
    }

    fn end(&mut self) {
        self.text.push('\n');
        self.left = self.teller.width;
    }
}

/// `namespace/name version (environment)`.
fn who(read: &Provenance<'_>) -> String {
    let mut who = String::new();
    if let Some(namespace) = read.namespace() {
        who = format!("{namespace}/");
    }
    who += read.service().unwrap_or("?");
    if let Some(version) = read.origin.get("service.version") {
        who += &format!(" {version}");
    }
    if let Some(environment) = read.origin.get("deployment.environment.name") {
        who += &format!(" ({environment})");
    }
    who
}

fn hop(hop: &Hop<'_>) -> String {
    let namespace = match &hop.namespace {
        Some(namespace) => format!("{namespace}/"),
        None => String::new(),
    };
    format!(
        "{namespace}{} {}-{}@{}",
        hop.service, hop.topic, hop.partition, hop.offset
    )
}

/// In UTC; what is beyond the year 9999, as milliseconds.
pub(crate) fn clock(millis: i64) -> String {
    const END_OF_9999: u64 = 253_402_300_800_000;
    match u64::try_from(millis) {
        Ok(since) if since < END_OF_9999 => {
            let time = UNIX_EPOCH + Duration::from_millis(since);
            humantime::format_rfc3339_millis(time)
                .to_string()
                .replace('T', " ")
        }
        _ => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_year_are_told() {
        assert_eq!(clock(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(clock(253_402_300_799_999), "9999-12-31 23:59:59.999Z");
        assert_eq!(clock(253_402_300_800_000), "253402300800000 ms");
        assert_eq!(clock(-1), "-1 ms");
        assert_eq!(clock(i64::MAX), "9223372036854775807 ms");
    }
}

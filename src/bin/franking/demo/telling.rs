//! The story as it is told: in text while it happens, or as one JSON object at its end.

use std::io::Write as _;

use crate::{
    BoxError,
    terminal::{BAD, FAINT, GOOD, HEADING},
};

use super::{Learned, Story};

/// Fits a terminal of 80 columns.
const WIDTH: usize = 79;

/// Tells the story to a person, or keeps silent until it is over.
pub(super) struct Teller {
    json: bool,
    step: u32,
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        Self { json, step: 0 }
    }

    /// One line, at once.
    fn say(&self, line: impl AsRef<str>) -> Result<(), BoxError> {
        if !self.json {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}", line.as_ref())?;
            out.flush()?;
        }
        Ok(())
    }

    fn step(&mut self, what: &str) -> Result<(), BoxError> {
        self.step += 1;
        self.say(format!("{HEADING}{}  {what}{HEADING:#}", self.step))
    }

    fn good(&self, what: impl AsRef<str>) -> Result<(), BoxError> {
        let mut lines = wrapped(what.as_ref(), " ", WIDTH - 5).into_iter();
        let first = lines.next().unwrap_or_default();
        self.say(format!("   {GOOD}✓{GOOD:#} {first}"))?;
        lines.try_for_each(|line| self.say(format!("     {line}")))
    }

    fn faint(&self, indent: usize, what: impl AsRef<str>) -> Result<(), BoxError> {
        wrapped(what.as_ref(), " ", WIDTH - indent)
            .iter()
            .try_for_each(|line| self.say(format!("{:indent$}{FAINT}{line}{FAINT:#}", "")))
    }

    pub(super) fn begin(&self, bootstrap: &str) -> Result<(), BoxError> {
        self.say(format!(
            "{HEADING}A shop on Kafka{HEADING:#}, where services leave records for each other: checkout writes"
        ))?;
        self.say("orders, payment reads them and writes payments. Their code only knows how to")?;
        self.say("send; the layers around its producer write down who sent each record, when and")?;
        self.say("in which trace, count it, and send it again where that is safe.")?;
        self.faint(
            0,
            format!(
                "Kafka: librdkafka's mock cluster, three brokers in this process, at {}",
                bootstrap.replace(',', ", ")
            ),
        )?;
        self.say("")
    }

    pub(super) fn orders_begin(&mut self) -> Result<(), BoxError> {
        self.step("Checkout takes orders, and in the middle the brokers cut their connections")
    }

    pub(super) fn orders_end(&self, story: &Story) -> Result<(), BoxError> {
        self.good(format!(
            "{} connections were lost, with up to {} records on their way",
            story.cut.connections, story.cut.records_in_flight
        ))?;
        self.good(format!(
            "{} orders sent, {} delivered, {} failed",
            story.orders.sent, story.orders.delivered, story.orders.failed
        ))
    }

    pub(super) fn refused_begin(&mut self) -> Result<(), BoxError> {
        self.step("One order comes with a note of 2 MiB: too large for Kafka")
    }

    pub(super) fn refused_end(&self, story: &Story) -> Result<(), BoxError> {
        let Some(refused) = &story.refused else {
            return Ok(());
        };
        self.good(format!(
            "the caller hears {}: {}, and {}",
            refused.code,
            refused.persistence,
            match refused.given_back {
                true => "gets the record back",
                false => "does not get the record back",
            }
        ))?;
        self.faint(5, format!("to do: {}", refused.what_to_do))?;
        self.good("the customer writes a shorter note, and that order is taken")
    }

    pub(super) fn payments_begin(&mut self, orders: usize) -> Result<(), BoxError> {
        self.step(&format!(
            "Payment pays the {orders} orders that it read; a broker's disk fails at the first"
        ))
    }

    pub(super) fn payments_end(&self, story: &Story) -> Result<(), BoxError> {
        let retried = &story.retried;
        self.good(format!(
            "librdkafka gave up: {}; the retry layer sent {} again: {} delivered, after {} attempts",
            retried.failures.join("; "),
            retried.resends,
            retried.delivered,
            retried.attempts,
        ))?;
        self.good(format!(
            "{} payments sent, {} delivered, {} failed",
            story.payments.sent, story.payments.delivered, story.payments.failed
        ))
    }

    /// What was learned, or all of it as JSON.
    pub(super) fn end(&mut self, story: &Story) -> Result<(), BoxError> {
        if self.json {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(story)?)?;
            return Ok(());
        }
        self.say("")?;
        self.learned(story)?;
        self.example(story)?;
        self.audit(story)?;
        if story.ok {
            return self.say(format!(
                "{GOOD}All of it agrees{GOOD:#}, in {:.1} s.",
                story.took_ms as f64 / 1000.0
            ));
        }
        for unexpected in &story.unexpected {
            self.say(format!("{BAD}✗ {unexpected}{BAD:#}"))?;
        }
        Ok(())
    }

    fn learned(&self, story: &Story) -> Result<(), BoxError> {
        self.say(format!(
            "{HEADING}What any consumer learns from the headers alone{HEADING:#}"
        ))?;
        self.say(format!(
            "{FAINT}   {:<9} {:<20} {:>7} {:>7} {:>8} {:>8} {:>11}{FAINT:#}",
            "topic", "written by", "records", "traces", "missing", "doubled", "bytes each"
        ))?;
        for learned in &story.learned {
            self.say(format!(
                "   {:<9} {:<20} {:>7} {:>7} {:>8} {:>8} {:>11}",
                learned.topic,
                learned.who,
                learned.records,
                learned.traces,
                learned.missing.len(),
                learned.duplicates,
                cost(learned),
            ))?;
        }
        self.faint(3, "bytes each: of key and value + of headers")?;
        for learned in &story.learned {
            self.faint(
                3,
                format!(
                    "{} were written from {} to {} UTC",
                    learned.topic,
                    clock(learned.first_ms),
                    clock(learned.last_ms)
                ),
            )?;
            for number in &learned.missing {
                self.faint(
                    3,
                    format!(
                        "missing: {}'s record {number} to {}; its audit, below, says why",
                        learned.who, learned.topic
                    ),
                )?;
            }
        }
        self.good(format!(
            "{} of {} payments are in the trace of their order",
            story.traces.continued, story.traces.payments
        ))?;
        self.say("")
    }

    fn example(&self, story: &Story) -> Result<(), BoxError> {
        let Some(example) = &story.example else {
            return Ok(());
        };
        self.say(format!(
            "{HEADING}The payment that was sent twice{HEADING:#}, as it was read, once"
        ))?;
        self.say(format!(
            "   {} {} {}",
            example.place, example.key, example.value
        ))?;
        for (name, value) in &example.headers {
            // A long one goes on below its beginning.
            let mut label = name.as_str();
            for line in wrapped(value, ",", WIDTH - 16) {
                self.say(format!("   {HEADING}{label:<12}{HEADING:#} {line}"))?;
                label = "";
            }
        }
        self.say("")
    }

    fn audit(&self, story: &Story) -> Result<(), BoxError> {
        self.say(format!(
            "{HEADING}The audits balance{HEADING:#}: attempted = delivered + not persisted + unknown + in flight"
        ))?;
        for balance in &story.audit {
            let agrees = balance.holds() && balance.delivered == balance.read_back;
            let (style, mark) = match agrees {
                true => (GOOD, "✓"),
                false => (BAD, "✗"),
            };
            self.say(format!(
                "   {style}{mark}{style:#} {:<9} {} = {} + {} + {} + {};  the consumer read {}",
                balance.topic,
                balance.attempted,
                balance.delivered,
                balance.not_persisted,
                balance.unknown,
                balance.in_flight,
                balance.read_back,
            ))?;
        }
        self.say("")
    }
}

/// Breaks a text behind this into lines of that many characters, if it can be.
fn wrapped(text: &str, behind: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(behind) {
        let line = lines.last_mut().expect("never empty");
        let length = line.chars().count() + part.trim_end().chars().count();
        if length > width && !line.is_empty() {
            lines.push(part.to_owned());
        } else {
            line.push_str(part);
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// Bytes of a record: key and value, and headers.
fn cost(learned: &Learned) -> String {
    let each = |bytes: u64| bytes as f64 / learned.records.max(1) as f64;
    format!(
        "{:.0} + {:.0}",
        each(learned.payload_bytes),
        each(learned.header_bytes)
    )
}

/// The time of day in UTC.
fn clock(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_where_they_can_be() {
        assert_eq!(wrapped("one two three", " ", 8), ["one two", "three"]);
        assert_eq!(
            wrapped("a=1,bb=22222222,c=3", ",", 8),
            ["a=1,", "bb=22222222,", "c=3"]
        );
        assert_eq!(wrapped("", " ", 8), [""]);
    }

    #[test]
    fn the_clock_is_utc() {
        assert_eq!(clock(0), "00:00:00.000");
        assert_eq!(clock(86_400_000 + 3_723_004), "01:02:03.004");
    }
}

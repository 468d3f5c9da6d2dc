//! The story as it is told: in text while it happens, or as one JSON object at its end.

use std::io::Write as _;

use crate::{
    BoxError,
    terminal::{BAD, FAINT, GOOD, HEADING},
};

use super::{Learned, Story};

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
        self.say(format!("   {GOOD}✓{GOOD:#} {}", what.as_ref()))
    }

    pub(super) fn begin(&self, bootstrap: &str) -> Result<(), BoxError> {
        self.say(format!(
            "{HEADING}A shop on Kafka{HEADING:#}, where services leave records for each other: checkout writes orders, payment"
        ))?;
        self.say("reads them and writes payments. Their code only knows how to send; the layers around its producer write")?;
        self.say("down who sent each record, when and in which trace, count it, and send it again where that is safe.")?;
        self.say(format!(
            "{FAINT}Kafka: librdkafka's mock cluster, three brokers in this process, at {bootstrap}{FAINT:#}"
        ))?;
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
        self.say(format!(
            "     {FAINT}to do: {}{FAINT:#}",
            refused.what_to_do
        ))?;
        self.good("the customer writes a shorter note, and that order is taken")
    }

    pub(super) fn payments_begin(&mut self, orders: usize) -> Result<(), BoxError> {
        self.step(&format!(
            "Payment pays the {orders} orders that it read, and a broker's disk fails at the first"
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
            "{FAINT}   {:<9} {:<20} {:>7}  {:<29} {:>6} {:>7} {:>10}  {:>15}{FAINT:#}",
            "topic",
            "written by",
            "records",
            "when (UTC)",
            "traces",
            "missing",
            "duplicates",
            "bytes per record"
        ))?;
        for learned in &story.learned {
            self.say(format!(
                "   {:<9} {:<20} {:>7}  {:<29} {:>6} {:>7} {:>10}  {}",
                learned.topic,
                learned.who,
                learned.records,
                format!("{} – {}", clock(learned.first_ms), clock(learned.last_ms)),
                learned.traces,
                learned.missing.len(),
                learned.duplicates,
                cost(learned),
            ))?;
        }
        for learned in &story.learned {
            for number in &learned.missing {
                self.say(format!(
                    "   {FAINT}missing: {}'s record {number} to {}; its audit, below, says what became of it{FAINT:#}",
                    learned.who, learned.topic
                ))?;
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
            "{HEADING}The payment that was sent twice{HEADING:#}, as it was read, once: {} {} {}",
            example.place, example.key, example.value
        ))?;
        for (name, value) in &example.headers {
            // A long one goes on below its beginning.
            let mut parts = value.split_inclusive(',').peekable();
            let mut label = name.as_str();
            while parts.peek().is_some() {
                let line: String = parts.by_ref().take(3).collect();
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

/// Bytes of a record: headers and the rest.
fn cost(learned: &Learned) -> String {
    let each = |bytes: u64| bytes as f64 / learned.records.max(1) as f64;
    format!(
        "{:.0} + {:.0} of headers",
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
    fn the_clock_is_utc() {
        assert_eq!(clock(0), "00:00:00.000");
        assert_eq!(clock(86_400_000 + 3_723_004), "01:02:03.004");
    }
}

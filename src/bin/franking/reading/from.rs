//! Where the reading begins.

use std::{
    collections::BTreeSet,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{Hearing, Starts, list};
use crate::BoxError;

/// A place in every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Beginning,
    End,
    /// This offset, or the nearest that there is.
    Offset(i64),
    /// So many before the end.
    Last(i64),
    /// The first record with this timestamp, in milliseconds, or a later one.
    Time(i64),
}

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const OTHERWISE: &str = "write beginning, end, an offset, -N for the last N, a time as 2026-11-22T10:00:00Z, or @MILLISECONDS";
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        match (text, text.split_at_checked(1)) {
            ("beginning", _) => Ok(Self::Beginning),
            ("end", _) => Ok(Self::End),
            (_, Some(("-", last))) => number(last).map(Self::Last).ok_or(OTHERWISE),
            (_, Some(("@", millis))) => number(millis).map(Self::Time).ok_or(OTHERWISE),
            _ => match number(text) {
                Some(offset) => Ok(Self::Offset(offset)),
                None => time(text).map(Self::Time).ok_or(OTHERWISE),
            },
        }
    }
}

/// Milliseconds since the epoch.
fn time(text: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

impl From {
    pub(super) fn assignment(
        self,
        consumer: &BaseConsumer<Hearing>,
        topic: &str,
        partitions: &BTreeSet<i32>,
        patience: Duration,
    ) -> Result<TopicPartitionList, BoxError> {
        if let Self::Time(millis) = self {
            let times = partitions.iter().map(|id| (*id, Offset::Offset(millis)));
            let mut found = consumer.offsets_for_times(list(topic, &times.collect())?, patience)?;
            for partition in partitions {
                let place = found.find_partition(topic, *partition);
                // Nothing is as new as that.
                if !matches!(place.map(|place| place.offset()), Some(Offset::Offset(_))) {
                    found.set_partition_offset(topic, *partition, Offset::End)?;
                }
            }
            return Ok(found);
        }
        let mut starts = Starts::new();
        for partition in partitions {
            // Numbers, so that what is written from now on belongs to it, also before the first fetch.
            let (low, high) = consumer.fetch_watermarks(topic, *partition, patience)?;
            let start = match self {
                Self::Beginning => low,
                Self::End | Self::Time(_) => high,
                Self::Offset(offset) => offset.clamp(low, high),
                Self::Last(count) => high.saturating_sub(count).max(low),
            };
            starts.push((*partition, Offset::Offset(start)));
        }
        Ok(list(topic, &starts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read() {
        for (text, from) in [
            ("beginning", From::Beginning),
            ("end", From::End),
            ("0", From::Offset(0)),
            ("42", From::Offset(42)),
            ("-10", From::Last(10)),
            ("@1700000000000", From::Time(1_700_000_000_000)),
            ("2023-11-14T22:13:20Z", From::Time(1_700_000_000_000)),
            ("2023-11-14 22:13:20", From::Time(1_700_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(from), "{text}");
        }
        for text in [
            "",
            "-",
            "@",
            "--1",
            "@-1",
            "-x",
            "99999999999999999999",
            "1e3",
            "é",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}

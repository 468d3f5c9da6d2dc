//! The promise *given back*.

use std::sync::{Arc, mpsc};

use super::{
    Fixture,
    bench::{self, Bench, Watch, number},
    report::{Checked, Stop, ensure},
};
use crate::{Code, Failed, InvalidHeaderName, Parts, Persistence, Record, Recover};

/// A failed record comes back whole, with why and how often it was tried.
pub(super) fn to_the_caller<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let mut service = bench.service.clone();
    for kind in 0..3 {
        let topic = bench.fail_next()?;
        let mut record = Record::new(&topic)
            .partition(0)
            .timestamp(1_700_000_000_000);
        record = match kind {
            0 => record.key("key").value("value"),
            1 => record.key("").value(""),
            // A tombstone; its key is null as well.
            _ => record,
        };
        headers(&mut record).map_err(|error| Stop::Broken(error.to_string()))?;
        let sent_parts = Parts::clone(&record);
        let sent = bench.call(&mut service, record)?;
        let Err(error) = bench.outcome(sent)? else {
            return Err(Stop::Broken(
                "a record that the lever `fail_next` was for was delivered".into(),
            ));
        };
        ensure!(
            error.persistence() == Persistence::NotPersisted,
            "the failed record is said to be {}",
            error.persistence()
        );
        ensure!(
            error.attempts() >= 1,
            "the engine had the record, and the error says 0 attempts"
        );
        ensure!(
            *error.code() != Code::Dropped,
            "the engine had the record, and the error says {}",
            error.code()
        );
        let Some(back) = error.into_record() else {
            return Err(Stop::Broken("the error holds no record".into()));
        };
        ensure!(
            back.topic == sent_parts.topic,
            "the record came back with another topic"
        );
        ensure!(
            back.partition == sent_parts.partition,
            "the record came back with another partition"
        );
        ensure!(
            back.timestamp == sent_parts.timestamp,
            "the record came back with another timestamp"
        );
        ensure!(
            back.key == sent_parts.key,
            "the record came back with another key"
        );
        ensure!(
            back.value == sent_parts.value,
            "the record came back with another value"
        );
        // Layers may have stamped more.
        let mut others = back.headers.iter();
        let all = sent_parts
            .headers
            .iter()
            .all(|header| others.any(|other| other == header));
        ensure!(
            all,
            "the record came back without some of its headers, or with others"
        );
    }
    Ok(())
}

/// Repeated names, a null, an empty value, bytes that are no text.
fn headers(record: &mut Record) -> Result<(), InvalidHeaderName> {
    record.headers.append("repeated", "first")?;
    record.headers.append("null", None::<&str>)?;
    record.headers.append("repeated", "second")?;
    record.headers.append("empty", "")?;
    record.headers.append("bytes", [0, 0xff, 0xc0])
}

/// Hands what it gets to the clause.
struct Catch(mpsc::SyncSender<Failed>);

impl Recover for Catch {
    fn recover(self: Arc<Self>, failed: Failed) {
        // If the clause is over, the record is declined by being dropped.
        let _ = self.0.try_send(failed);
    }
}

/// A recoverer gets the failed record before the caller; sent again, it resolves the first caller's future; dropped, it
/// is declined.
pub(super) fn to_recoverers<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (catch, caught) = mpsc::sync_channel(1);
    let catch = Arc::new(Catch(catch));
    let mut service = bench.service.clone();
    for resend in [true, false] {
        let (outside, inside) = (Watch::default(), Watch::default());
        let topic = bench.fail_next()?;
        let mut record = bench::record(&topic, 7);
        outside.on(0, &mut record);
        record.push_recover(catch.clone());
        inside.on(0, &mut record);
        let sent = bench.send(&mut service, record)?;
        let Ok(failed) = caught.recv_timeout(bench.patience) else {
            return Err(Stop::Broken(
                "the recoverer of a failed record did not get it".into(),
            ));
        };
        ensure!(
            number(failed.record()) == Some(7),
            "the recoverer got another record"
        );
        ensure!(
            failed.attempts() == 1,
            "the recoverer's record has {} attempts",
            failed.attempts()
        );
        let (in_, out) = (inside.heard(), outside.heard());
        ensure!(
            in_.len() == 1 && in_[0].result.is_err(),
            "the hook inside of the recoverer heard {in_:?}"
        );
        ensure!(
            out.is_empty(),
            "the hook outside of the recoverer heard an attempt"
        );
        if resend && topic == bench.topic {
            failed.resend(&mut service, None);
            let result = bench.outcome(sent)?;
            ensure!(
                result.is_ok(),
                "the record was sent again, and its first caller heard {result:?}"
            );
            let out = outside.heard();
            ensure!(
                out.len() == 1 && out[0].result.is_ok(),
                "the hook outside of the recoverer heard {out:?}"
            );
            ensure!(
                out[0].attempts == 2,
                "a record that was sent again has {} attempts",
                out[0].attempts
            );
        } else if resend {
            // The topic takes nothing, so it fails again: the recoverer is off the record, and the caller hears it.
            failed.resend(&mut service, None);
            let result = bench.outcome(sent)?;
            let attempts = result.as_ref().map_or_else(|error| error.attempts(), |_| 0);
            ensure!(
                attempts == 2,
                "the record was sent again, and its first caller heard {result:?}"
            );
        } else {
            drop(failed);
            let result = bench.outcome(sent)?;
            ensure!(
                result.is_err(),
                "the recoverer declined, and the caller heard of a success"
            );
            let out = outside.heard();
            ensure!(
                out.len() == 1 && out[0].result.is_err(),
                "the hook outside of the recoverer heard {out:?}"
            );
        }
    }
    Ok(())
}

//! The promise *eager*.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Fixture,
    bench::{Bench, Watch},
    report::{Checked, ensure},
};

/// When `call` returns the record is on its way: its future need not be polled, nor dropped.
pub(super) fn without_a_poll<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const MANY: usize = 10;
    let watch = Watch::default();
    let mut service = bench.service.clone();
    let mut sent = Vec::new();
    for n in 0..MANY {
        let mut record = bench.record(n);
        watch.on(n, &mut record);
        sent.push(bench.call(&mut service, record)?);
    }
    let heard = watch.wait(MANY, bench.patience).len();
    ensure!(
        heard == MANY,
        "of {MANY} records whose futures nobody polled, {heard} had an outcome"
    );
    // Looked for a while: what heard a wrong outcome may still come.
    let mut copies = bench.copies(MANY)?;
    let deadline = Instant::now() + bench.patience;
    while copies.as_ref().is_some_and(|copies| copies.contains(&0)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
        copies = bench.copies(MANY)?;
    }
    ensure!(
        copies.is_none_or(|copies| !copies.contains(&0)),
        "a record whose future nobody polled is not in the topic"
    );
    drop(sent);
    Ok(())
}

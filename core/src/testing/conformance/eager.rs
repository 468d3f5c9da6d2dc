//! The promise *eager*.

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
    if let Some(copies) = bench.copies(MANY)? {
        ensure!(
            !copies.contains(&0),
            "a record whose future nobody polled is not in the topic"
        );
    }
    drop(sent);
    Ok(())
}

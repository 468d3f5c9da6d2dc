//! The promise *detached*.

use super::{
    Fixture,
    bench::{Bench, Watch},
    report::{Checked, ensure},
};

/// Futures are dropped before a poll, after one, or kept: each record has its outcome, and is in the topic.
pub(super) fn dropped<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const MANY: usize = 60;
    // A stall makes futures pend at their first poll; without one, some will all the same.
    let stalled = bench.stall_if_possible()?;
    let watch = Watch::default();
    let mut service = bench.service.clone();
    let mut kept = Vec::new();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for n in 0..MANY {
        let mut record = bench.record(n);
        watch.on(n, &mut record);
        let sent = bench.call(&mut service, record)?;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match dice >> 62 {
            0 => kept.push(Bench::<F>::polled(sent)),
            1 => drop(sent),
            _ => drop(Bench::<F>::polled(sent)),
        }
    }
    if stalled {
        bench.resume()?;
    }
    let heard = watch.wait(MANY, bench.patience);
    for n in 0..MANY {
        let times = heard.iter().filter(|heard| heard.id == n).count();
        ensure!(
            times == 1,
            "the hook of record {n}, whose future may have been dropped, heard {times} outcomes"
        );
    }
    for sent in kept {
        let _ = bench.outcome(sent)?;
    }
    if let Some(copies) = bench.copies(MANY)? {
        let lost = copies.iter().filter(|copies| **copies == 0).count();
        ensure!(
            lost == 0,
            "{lost} of {MANY} records, most of whose futures were dropped, are not in the topic"
        );
    }
    Ok(())
}

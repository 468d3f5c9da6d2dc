//! What holds for hooks.

use std::panic::resume_unwind;

use super::{
    Fixture,
    bench::{Bench, Watch},
    report::{Checked, ensure},
};
use crate::{Outcome, hooks_panicked};

/// Hooks run innermost first, and before the caller's future wakes.
pub(super) fn before_the_caller<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let mut service = bench.service.clone();
    for n in 0..10 {
        let watch = Watch::default();
        let mut record = bench.record(n);
        for layer in 0..3 {
            watch.on(layer, &mut record);
        }
        let sent = bench.call(&mut service, record)?;
        let _ = bench.outcome(sent)?;
        let order: Vec<_> = watch.heard().iter().map(|heard| heard.id).collect();
        ensure!(
            order.len() == 3,
            "the caller had the outcome when {} of 3 hooks had heard it",
            order.len()
        );
        ensure!(
            order == [2, 1, 0],
            "hooks pushed as 0, 1, 2 heard the outcome in the order {order:?}"
        );
    }
    Ok(())
}

/// A panic in a hook stays its own: it is counted, and other hooks, the caller and other records go on.
pub(super) fn panic<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let before = hooks_panicked();
    let watch = Watch::default();
    let mut service = bench.service.clone();
    let mut record = bench.record(0);
    watch.on(0, &mut record);
    // Not `panic!`, which would print it.
    record.push_hook(Box::new(|_: &Outcome<'_>| {
        resume_unwind(Box::new("a hook of the conformance suite panics"))
    }));
    watch.on(0, &mut record);
    let sent = bench.call(&mut service, record)?;
    let _ = bench.outcome(sent)?;
    let heard = watch.wait(2, bench.patience).len();
    ensure!(
        heard == 2,
        "of the 2 hooks around one that panicked, {heard} heard the outcome"
    );
    ensure!(
        hooks_panicked() > before,
        "a hook panicked, and nobody counted it"
    );
    for n in 1..5 {
        let sent = bench.call(&mut service, bench.record(n))?;
        let _ = bench.outcome(sent)?;
    }
    Ok(())
}

//! What holds when a producer closes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tower_service::Service;

use super::{
    Fixture,
    bench::{Awaited, Bench, Heard, Watch},
    report::{Checked, Stop, ensure},
};
use crate::{Code, Persistence, Totals};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A closed service says so in `poll_ready`, to ready and to waiting handles, at once and for good.
pub(super) fn refuses<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (mut ready, mut waiting) = bench.fill()?;
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    ensure!(
        waiting
            .poll_ready(&mut Context::from_waker(&waker))
            .is_pending(),
        "a handle got ready without room"
    );
    bench.close(bench.patience / 50)?;
    let told = bench.eventually(|| woken.0.load(Ordering::Acquire));
    ensure!(
        told,
        "a handle that waited for room was not woken by the close"
    );
    let Some(mut was_ready) = ready.pop() else {
        return Err(Stop::Broken("no handle got ready".into()));
    };
    let mut idle = bench.service.clone();
    for handle in [&mut waiting, &mut was_ready, &mut idle] {
        for _ in 0..2 {
            match Bench::<F>::poll(handle) {
                Poll::Ready(Err(error)) if *error.code() == Code::Closed => {}
                other => {
                    return Err(Stop::Broken(format!(
                        "poll_ready after the close says {other:?}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Sends records that are outstanding when the service closes: what their hooks heard, what close counted, and the
/// futures.
fn close_under_way<F: Fixture>(
    bench: &mut Bench<'_, F>,
    many: usize,
) -> Checked<(Vec<Heard>, Totals, Vec<Awaited>)> {
    let watch = Watch::default();
    let mut service = bench.service.clone();
    bench.stall()?;
    let mut sent = Vec::new();
    for n in 0..many {
        let mut record = bench.record(n);
        watch.on(n, &mut record);
        sent.push(bench.send(&mut service, record)?);
    }
    let early = watch.heard().len();
    ensure!(
        early == 0,
        "the lever `stall` does not hold: {early} records were settled"
    );
    let totals = bench.close(bench.patience / 50)?;
    Ok((watch.wait(many, bench.patience), totals, sent))
}

/// Every record that is outstanding at the close is settled, and truly.
pub(super) fn settles<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const MANY: usize = 20;
    let (heard, _, sent) = close_under_way(bench, MANY)?;
    ensure!(
        heard.len() == MANY,
        "of {MANY} records that were outstanding at the close, {} had an outcome",
        heard.len()
    );
    for sent in sent {
        let _ = bench.outcome(sent)?;
    }
    bench.resume()?;
    let Some(copies) = bench.copies(MANY)? else {
        return Ok(());
    };
    for heard in heard {
        let copies = copies[heard.id];
        let true_ = match heard.result {
            Ok(_) => copies > 0,
            Err((_, Persistence::NotPersisted)) => copies == 0,
            Err((_, Persistence::Unknown)) => true,
        };
        ensure!(
            true_,
            "record {} ended as {:?}, and is {copies} times in the topic",
            heard.id,
            heard.result
        );
    }
    Ok(())
}

/// Close counts the ends of what was outstanding.
pub(super) fn counts<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (heard, totals, _sent) = close_under_way(bench, 20)?;
    let mut ends = Totals::default();
    for heard in heard {
        match heard.result {
            Ok(_) => ends.delivered += 1,
            Err((_, Persistence::NotPersisted)) => ends.not_persisted += 1,
            Err((_, Persistence::Unknown)) => ends.unknown += 1,
        }
    }
    ensure!(
        totals == ends,
        "close counted {totals:?}, and the hooks heard {ends:?}"
    );
    Ok(())
}

//! The promise *room*.

use std::task::Poll;

use tower_service::Service;

use super::{
    Fixture, LITTLE,
    bench::{Bench, Watch},
    report::{Checked, Stop, ensure},
};
use crate::Code;

/// Who asked first is ready first, and nobody overtakes.
pub(super) fn fair<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (ready, first) = bench.fill()?;
    let mut line = vec![first];
    for _ in 0..3 {
        let mut next = bench.service.clone();
        ensure!(
            Bench::<F>::poll(&mut next).is_pending(),
            "a handle got ready though another waits for room"
        );
        line.push(next);
    }
    // Small records need less than was reserved for them, so the room comes back bit by bit.
    for (n, mut handle) in ready.into_iter().enumerate() {
        drop(bench.call(&mut handle, bench.record(n))?);
        in_turn::<F>(&mut line)?;
    }
    let mut checked = Ok(());
    let served = bench.eventually(|| {
        let turn = in_turn::<F>(&mut line);
        let all = matches!(turn, Ok(true));
        checked = turn.map(|_| ());
        all || checked.is_err()
    });
    checked?;
    ensure!(
        served,
        "a handle still waits for room though all room was given back"
    );
    Ok(())
}

/// Asks the whole line, the last first: nobody is ready before one that asked earlier. True if all are ready.
fn in_turn<F: Fixture>(line: &mut [F::Service]) -> Checked<bool> {
    let ready: Vec<_> = line
        .iter_mut()
        .rev()
        .map(|handle| Bench::<F>::poll(handle).is_ready())
        .collect();
    // Once one is ready, so are all that are asked after it.
    ensure!(
        ready.is_sorted(),
        "a handle got ready before one that had asked earlier"
    );
    Ok(ready[0])
}

/// No more is accepted than the room, and one record a ready handle.
pub(super) fn bounded<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const SIZE: usize = 4000;
    const HANDLES: usize = 3;
    bench.stall()?;
    let room = bench.room()?;
    let mut handles = vec![bench.service.clone(); HANDLES];
    let mut sent = Vec::new();
    loop {
        let mut waiting = 0;
        for handle in &mut handles {
            match Bench::<F>::poll(handle) {
                Poll::Ready(Ok(())) => {
                    let record = bench.record(sent.len()).value(vec![b'x'; SIZE]);
                    sent.push(handle.call(record));
                }
                Poll::Pending => waiting += 1,
                Poll::Ready(Err(error)) => {
                    return Err(Stop::Broken(format!("poll_ready failed: {error}")));
                }
            }
        }
        let bytes = sent.len() * SIZE;
        ensure!(
            bytes <= LITTLE + HANDLES * SIZE,
            "{bytes} bytes of records were accepted into a room of {LITTLE}"
        );
        if waiting == HANDLES {
            break;
        }
    }
    if let Some(room) = room {
        // Bookkeeping for a record costs less than the record.
        let most = LITTLE + HANDLES * 2 * SIZE;
        ensure!(
            room.high_water() <= most,
            "the room was drawn to {} of {LITTLE}",
            room.high_water()
        );
    }
    bench.resume()
}

/// What a ready handle did not use comes back when it is dropped, as does the place of one that waits.
pub(super) fn given_back_on_drop<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let room = bench.room()?;
    let (ready, waiting) = bench.fill()?;
    let many = ready.len();
    drop((waiting, ready));
    let again = bench.fill()?.0.len();
    ensure!(
        again == many,
        "{many} handles could be ready, and after they were dropped {again}"
    );
    if let Some(room) = room {
        ensure!(
            room.used() == 0,
            "{} bytes are in use though no handle is ready",
            room.used()
        );
    }
    Ok(())
}

/// A settled record gives its room back, delivered or failed.
pub(super) fn given_back_when_settled<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const SIZE: usize = 4000;
    let room = bench.room()?;
    let watch = Watch::default();
    let mut service = bench.service.clone();
    // Four times the room.
    let many = 4 * LITTLE / SIZE;
    let mut sent = Vec::new();
    for n in 0..many {
        let mut record = bench.record(n).value(vec![b'x'; SIZE]);
        watch.on(n, &mut record);
        sent.push(bench.send(&mut service, record)?);
    }
    watch.wait(many, bench.patience);
    if let Some(room) = room {
        let empty = bench.eventually(|| room.used() == 0);
        ensure!(
            empty,
            "{} bytes are in use though every record is settled",
            room.used()
        );
    }
    Ok(())
}

/// A clone of a ready handle is not ready.
pub(super) fn clone_inherits_none<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (ready, _waiting) = bench.fill()?;
    for handle in &ready {
        ensure!(
            Bench::<F>::poll(&mut handle.clone()).is_pending(),
            "a clone of a ready handle was ready though there is no room"
        );
    }
    Ok(())
}

/// After ready no record fails for want of room, however large.
pub(super) fn ready_means_room<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let (ready, _waiting) = bench.fill()?;
    let stalled = bench.stall_if_possible()?;
    let mut sent = Vec::new();
    for (n, mut handle) in ready.into_iter().enumerate() {
        let record = bench.record(n).value(vec![b'x'; 8000]);
        sent.push(handle.call(record));
    }
    if stalled {
        bench.resume()?;
    }
    for sent in sent {
        if let Err(error) = bench.outcome(sent)? {
            ensure!(
                *error.code() != Code::NoRoom,
                "a record that was called after ready failed: {error}"
            );
        }
    }
    Ok(())
}

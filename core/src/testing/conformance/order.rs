//! The promise *order*.

use super::{
    Fixture,
    bench::{Bench, Watch, number},
    report::{Checked, ensure},
};

/// Records of one partition are acknowledged and stored in the order of their calls, by whichever handle.
pub(super) fn of_calls<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const MANY: usize = 200;
    let watch = Watch::default();
    let mut handles = vec![bench.service.clone(); 3];
    for n in 0..MANY {
        let mut record = bench.record(n);
        watch.on(n, &mut record);
        let turn = n % handles.len();
        drop(bench.call(&mut handles[turn], record)?);
    }
    let heard = watch.wait(MANY, bench.patience);
    if let Some(pair) = heard.windows(2).find(|pair| pair[0].id > pair[1].id) {
        ensure!(
            false,
            "record {} was acknowledged before record {}",
            pair[0].id,
            pair[1].id
        );
    }
    let offsets: Vec<_> = heard
        .iter()
        .filter_map(|heard| heard.result.as_ref().ok()?.offset)
        .collect();
    ensure!(
        offsets.is_sorted(),
        "the offsets do not follow the order of the calls"
    );
    let topic = bench.topic.clone();
    if let Some(stored) = bench.stored(&topic)? {
        let stored: Vec<_> = stored.iter().filter_map(number).collect();
        ensure!(
            stored.is_sorted(),
            "the topic does not hold the records in the order of their calls"
        );
    }
    Ok(())
}

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
    let mut sent = Vec::new();
    for n in 0..MANY {
        let mut record = bench.record(n);
        watch.on(n, &mut record);
        let turn = n % handles.len();
        sent.push(bench.send(&mut handles[turn], record)?);
    }
    let heard = watch.wait(MANY, bench.patience);
    ensure!(
        heard.len() == MANY,
        "of {MANY} records, {} had an outcome",
        heard.len()
    );
    for (n, heard) in heard.iter().enumerate() {
        ensure!(
            heard.id == n,
            "record {} was acknowledged when it was record {n}'s turn",
            heard.id
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

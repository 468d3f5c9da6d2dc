//! The promise *one outcome*.

use std::thread;

use super::{
    Fixture,
    bench::{self, Bench, Heard, Watch},
    report::{Checked, Stop, ensure},
};
use crate::{Persistence, SendResult};

/// Each record has one outcome; its hook and its future say the same, and the topic has it once.
pub(super) fn agree<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    const THREADS: usize = 4;
    const EACH: usize = 25;
    const MANY: usize = THREADS * EACH;
    let watch = Watch::default();
    let mut sent = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut service = bench.service.clone();
                let (topic, watch, patience) = (&bench.topic, &watch, bench.patience);
                scope.spawn(move || -> Checked<Vec<_>> {
                    (thread * EACH..(thread + 1) * EACH)
                        .map(|n| {
                            let mut record = bench::record(topic, n);
                            watch.on(n, &mut record);
                            Ok((n, bench::call(&mut service, record, patience)?))
                        })
                        .collect()
                })
            })
            .collect();
        for thread in threads {
            let of_thread = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sent.extend(of_thread?);
        }
        Ok::<_, Stop>(())
    })?;
    let mut results = Vec::new();
    for (n, sent) in sent {
        results.push((n, bench.outcome(sent)?));
    }
    let heard = watch.wait(MANY, bench.patience);
    for (n, result) in results {
        agrees(n, &heard, &result)?;
        ensure!(
            result.is_ok(),
            "record {n} failed though no lever was moved: {result:?}"
        );
    }
    if let Some(copies) = bench.copies(MANY)? {
        for (n, copies) in copies.into_iter().enumerate() {
            ensure!(
                copies == 1,
                "record {n} was delivered, and is {copies} times in the topic"
            );
        }
    }
    // And one that fails.
    let topic = bench.fail_next()?;
    let mut record = bench::record(&topic, MANY);
    watch.on(MANY, &mut record);
    let mut service = bench.service.clone();
    let sent = bench.call(&mut service, record)?;
    let result = bench.outcome(sent)?;
    ensure!(
        result.is_err(),
        "a record that the lever `fail_next` was for was delivered"
    );
    agrees(MANY, &watch.wait(MANY + 1, bench.patience), &result)
}

fn agrees(n: usize, heard: &[Heard], result: &SendResult) -> Checked {
    let of_record: Vec<_> = heard.iter().filter(|heard| heard.id == n).collect();
    let [hook] = of_record[..] else {
        return Err(Stop::Broken(format!(
            "the hook of record {n} heard {} outcomes",
            of_record.len()
        )));
    };
    let same = match (&hook.result, result) {
        (Ok(placed), Ok(metadata)) => {
            (placed.partition, placed.offset) == (metadata.partition, metadata.offset)
        }
        (Err((code, persistence)), Err(error)) => {
            (code, *persistence) == (error.code(), error.persistence())
        }
        _ => false,
    };
    ensure!(
        same,
        "record {n}: the hook heard {:?}, and the future says {result:?}",
        hook.result
    );
    Ok(())
}

/// What was answered as *not persisted* is not in the topic.
pub(super) fn not_persisted_is_true<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let topic = bench.fail_next()?;
    let mut service = bench.service.clone();
    let sent = bench.call(&mut service, bench::record(&topic, 0))?;
    let failed = bench
        .outcome(sent)?
        .is_err_and(|error| error.persistence() == Persistence::NotPersisted);
    ensure!(
        failed,
        "a record that the lever `fail_next` was for did not fail as not persisted"
    );
    // What is acknowledged later comes behind it, if it was stored.
    let sent = bench.call(&mut service, bench.record(1))?;
    let _ = bench.outcome(sent)?;
    if let Some(stored) = bench.stored(&topic)? {
        let lie = stored.iter().any(|parts| bench::number(parts) == Some(0));
        ensure!(
            !lie,
            "a record that failed as not persisted is in the topic"
        );
    }
    Ok(())
}

/// A lost acknowledgement is answered as *possibly persisted*.
pub(super) fn lost<F: Fixture>(bench: &mut Bench<'_, F>) -> Checked {
    let watch = Watch::default();
    let mut service = bench.service.clone();
    let mut record = bench.record(0);
    watch.on(0, &mut record);
    bench.lose_acknowledgement()?;
    let sent = bench.call(&mut service, record)?;
    let result = bench.outcome(sent);
    bench.resume()?;
    let result = result?;
    let unknown = matches!(&result, Err(error) if error.persistence() == Persistence::Unknown);
    ensure!(
        unknown,
        "the acknowledgement was lost, and the future says {result:?}"
    );
    agrees(0, &watch.wait(1, bench.patience), &result)
}

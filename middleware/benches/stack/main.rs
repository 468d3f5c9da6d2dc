//! What the layers cost a record, in nanoseconds: see [`rows`].
//!
//! `cargo bench -p franking-middleware` prints a table for the docs, and another one of allocations. The rows take turns
//! in short rounds, so that another process on the machine disturbs all of them alike; a row's figure is the median of its
//! rounds. There is no harness because none does that.

mod rows;

use std::time::Instant;

use rows::{Row, Telemetry};

/// The program's; to count allocations takes time, so it has a bench of its own.
#[global_allocator]
static MIMALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 201;
const RECORDS: usize = 4_000;

fn main() {
    // `cargo test` runs benches too, without this argument: then once is enough.
    let (rounds, records) = match std::env::args().any(|arg| arg == "--bench") {
        true => (ROUNDS, RECORDS),
        false => (1, 100),
    };
    let telemetry = Telemetry::install();
    let mut rows = rows::rows(&telemetry);
    // One row alone, for a profiler.
    if let Ok(only) = std::env::var("ROW") {
        rows.retain(|row| row.name == only);
    }
    let mut times = vec![Vec::with_capacity(rounds); rows.len()];
    // Names, series and thread-locals are made at the first records.
    rows.iter_mut().for_each(|row| (row.send)(1_000));
    for _ in 0..rounds {
        for (row, times) in rows.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            (row.send)(records);
            times.push(begin.elapsed().as_nanos() as f64 / records as f64);
        }
    }
    print(&rows, times);
}

fn print(rows: &[Row], times: Vec<Vec<f64>>) {
    println!("| layers | ns | more than none | lowest | middle half |");
    println!("|---|---|---|---|---|");
    let mut none = None;
    for (row, mut times) in rows.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
        let none = *none.get_or_insert(at(0.5));
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0}–{:.0} |",
            row.name,
            at(0.5),
            at(0.5) - none,
            at(0.0),
            at(0.25),
            at(0.75)
        );
    }
}

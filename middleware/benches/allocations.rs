//! How many allocations the layers make a record: see [`rows`].

#[path = "stack/rows.rs"]
mod rows;

use rows::Telemetry;

const RECORDS: usize = 1_000;

fn main() {
    let telemetry = Telemetry::install();
    println!("| layers | allocations |");
    println!("|---|---|");
    for mut row in rows::rows(&telemetry) {
        // Names, series and thread-locals are made at the first records.
        (row.send)(RECORDS);
        let counted = allocation_counter::measure(|| (row.send)(RECORDS));
        let each = counted.count_total as f64 / RECORDS as f64;
        println!("| {} | {each:.2} |", row.name);
    }
}

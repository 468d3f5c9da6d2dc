//! Measurements, run by hand:
//! `cargo test --release --lib native::tests::bench -- --ignored --nocapture --test-threads=1`.

use super::*;

const IN_FLIGHT: usize = 50_000;

/// Nanoseconds of the sending thread, of all threads' processor time and of the clock, a record.
fn run(count: usize, headers: &[(&str, Option<&[u8]>)], recycle: bool) -> (u128, u128, u128) {
    let client = client::<()>(&[("linger.ms", "5"), ("queue.buffering.max.messages", "0")]);
    create(&client, "t", 1);
    let (key, value) = (Bytes::from_static(b"key-0123"), Bytes::from(vec![7; 100]));
    let mut sending = Duration::ZERO;
    let (processor, clock) = (processor_time(), Instant::now());
    let mut handle = |event: Event<'_, ()>| {
        let Event::Reports(mut reports) = event else {
            return;
        };
        while let Some(report) = reports.next() {
            if recycle {
                reports.recycle(report.headers);
            }
        }
    };
    let mut left = count;
    while left > 0 {
        while client.in_flight() > IN_FLIGHT - 1_000 {
            client.poll(Duration::from_millis(10), &mut handle);
        }
        let some = left.min(1_000);
        left -= some;
        let start = Instant::now();
        for _ in 0..some {
            let (key, value) = (Some(key.clone()), Some(value.clone()));
            client
                .produce("t", 0, None, key, value, headers.iter().copied(), ())
                .unwrap();
        }
        sending += start.elapsed();
        while client.poll(Duration::ZERO, &mut handle) {}
    }
    while client.in_flight() > 0 {
        client.poll(Duration::from_millis(10), &mut handle);
    }
    let (processor, clock) = (processor_time() - processor, clock.elapsed());
    let each = |duration: Duration| duration.as_nanos() / count as u128;
    (each(sending), each(processor), each(clock))
}

fn processor_time() -> Duration {
    // Fields 14 and 15 are ticks of a hundredth of a second in user and system mode.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[test]
#[ignore = "a measurement"]
fn headers() {
    let value = [b'v'; 55];
    let five = ["origin", "trace-parent", "schema", "content-type", "tenant"]
        .map(|name| (name, Some(&value[..])));
    println!("ns a record: produce on the sending thread / processor time of all threads / clock");
    for _ in 0..4 {
        for (what, headers, recycle) in [
            ("no headers", &five[..0], true),
            ("5, new", &five[..], false),
            ("5, recycled", &five[..], true),
        ] {
            println!("{what:>12}: {:?}", run(1_000_000, headers, recycle));
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn fatal() {
    let client = client::<()>(&[]);
    let start = Instant::now();
    for _ in 0..10_000_000 {
        assert!(std::hint::black_box(&client).fatal().is_none());
    }
    println!("fatal(): {:.1} ns", start.elapsed().as_nanos() as f64 / 1e7);
}

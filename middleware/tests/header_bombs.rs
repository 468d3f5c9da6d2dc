//! Header bombs: what reading and stamping take grows with the headers, not with their square, and has a bound where a
//! reader looks at a part only.
//!
//! Each work is measured for one size and for sixteen times as much. Linear work takes sixteen times as long, quadratic work
//! 256 times; the tests want less than 80.
#![cfg(all(
    feature = "trace",
    feature = "origin",
    feature = "audit",
    feature = "provenance"
))]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use allocation_counter::AllocationInfo;
use franking_core::{ConsumerRecord, Headers, Interceptor, Record};
use franking_middleware::{
    audit::Audit,
    origin::{Origin, OriginBuilder},
    provenance::{Header, Names, Provenance},
    trace::{HeaderExtractor, Trace},
};
use opentelemetry::{propagation::Extractor, trace::TracerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

const ONCE: usize = 2_500;
const MANY: usize = 16 * ONCE;
/// Between 16 and 256, nearer to what caches that are too small make of 16.
const LIMIT: f64 = 80.0;
const RUNS: usize = 3;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The least time of some runs, and the memory of one.
fn cost<T>(mut make: impl FnMut() -> T, mut work: impl FnMut(T)) -> (Duration, AllocationInfo) {
    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        let input = make();
        let begun = Instant::now();
        work(input);
        least = least.min(begun.elapsed());
    }
    let input = make();
    (least, allocation_counter::measure(|| work(input)))
}

/// Work on an input of this size, which grows with it at most as fast as it does.
fn linear<T>(what: &str, make: impl Fn(usize) -> T, mut work: impl FnMut(T)) {
    let mut ratio = f64::MAX;
    // What else the machine does can only make the ratio worse.
    for _ in 0..5 {
        let (little, before) = cost(|| make(ONCE), &mut work);
        let (much, after) = cost(|| make(MANY), &mut work);
        ratio = ratio.min(much.as_secs_f64() / little.as_secs_f64());
        if ratio < LIMIT {
            println!(
                "{what}: {ONCE}: {little:?}, {} allocations, {} bytes; {MANY}: {much:?}, {} allocations, {} bytes; x{ratio:.1}",
                before.count_total, before.bytes_max, after.count_total, after.bytes_max
            );
            assert!(
                after.count_total <= 16 * before.count_total + 64,
                "{what}: {after:?}, {before:?}"
            );
            assert!(
                after.bytes_max <= 20 * before.bytes_max + 4096,
                "{what}: {after:?}, {before:?}"
            );
            return;
        }
    }
    panic!("{what}: sixteen times as much takes {ratio:.1} times as long");
}

type Stack = (Trace<SdkTracer>, Origin, Audit);

fn stack(origin: OriginBuilder) -> Stack {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let origin = origin.service_name("s").instance_id("s-1").build().unwrap();
    let names = origin.names().clone();
    let audit = Audit::builder().instance_id("s-1").names(names).build();
    (Trace::new(tracer), origin, audit)
}

/// All that the stack does to a record on its way in.
fn stamp(stack: &Stack, record: &mut Record) {
    drop(black_box(stack.on_send(record)).unwrap());
}

fn headers(n: usize, name: impl Fn(usize) -> String) -> Headers {
    let mut headers = Headers::new();
    for index in 0..n {
        headers.append(&name(index), "value").unwrap();
    }
    headers
}

/// How the names of a bomb are made.
type Named = fn(usize) -> String;

const BOMBS: [(&str, Named); 8] = [
    ("the application's own", |n| format!("mine-{n}")),
    ("one name", |_| "x".to_owned()),
    ("one reserved name", |_| "prov-id".to_owned()),
    ("reserved names", |n| format!("prov-{n}")),
    ("every other one reserved", |n| {
        ["x", "prov-id"][n % 2].to_owned()
    }),
    ("variants", |n| {
        ["PROV-ID", " prov-id", "x", "TraceParent"][n % 4].to_owned()
    }),
    ("trace contexts", |n| {
        ["traceparent", "tracestate", "x"][n % 3].to_owned()
    }),
    ("an organisation's", |n| {
        ["x-acme-id", "X-Acme-Seq", "x"][n % 3].to_owned()
    }),
];

fn own() -> OriginBuilder {
    let names = Names::new().name(Header::Id, "x-acme-id").unwrap();
    Origin::builder().names(names.name(Header::Sequence, "x-acme-seq").unwrap())
}

#[test]
fn stamping_takes_time_in_proportion() {
    for (what, name) in BOMBS {
        let stack = stack(own());
        let make = |n| {
            let mut record = Record::new("t").value("v");
            record.headers = headers(n, name);
            record
        };
        linear(&format!("stamping, {what}"), make, |mut record| {
            stamp(&stack, &mut record);
        });
    }
}

#[test]
fn passing_on_takes_time_in_proportion() {
    for (what, name) in BOMBS {
        let stack = stack(own());
        let consumed = |n| headers(n, name);
        linear(&format!("passing on, {what}"), consumed, |consumed| {
            let consumed = ConsumerRecord::new("in", 0, 1, &consumed);
            let mut record = Record::new("t").forward(consumed);
            // So that it is not as it was.
            record.headers.append("mine", "1").unwrap();
            stamp(&stack, &mut record);
        });
    }
}

/// Values that are lists: a path, attributes, members, marks, a signature.
fn lists(n: usize) -> [(&'static str, String); 7] {
    let many = |part: &str| vec![part; n].join(";");
    [
        ("prov-path", many("shop/service@some.topic-3:184467")),
        ("prov-path", ";".repeat(n * 30)),
        ("prov-origin", vec!["a=%41"; n].join(",")),
        ("prov-mark", vec!["pii@1"; n].join(",")),
        ("tracestate", (0..n).map(|n| format!("k{n}=v,")).collect()),
        ("baggage", (0..n).map(|n| format!("k{n}=v;p,")).collect()),
        ("prov-sig", format!("v1;kid=a;{}", "AAAA".repeat(n))),
    ]
}

#[test]
fn long_values_are_read_and_passed_on_in_proportion() {
    for index in 0..lists(1).len() {
        let name = lists(1)[index].0;
        let stack = stack(Origin::builder());
        let consumed = |n| {
            let mut headers = Headers::new();
            headers.append("traceparent", PARENT).unwrap();
            headers.append(name, lists(n)[index].1.as_str()).unwrap();
            headers
        };
        linear(&format!("reading a long {name}"), consumed, |headers| {
            let read = Provenance::read(&headers);
            // Over 8,192 bytes nothing of it is looked at.
            assert!(
                name == "baggage" || read.notes.len() == 1,
                "{:?}",
                read.notes
            );
        });
        linear(&format!("passing a long {name} on"), consumed, |consumed| {
            let consumed = ConsumerRecord::new("in", 0, 1, &consumed);
            let mut record = Record::new("t").forward(consumed);
            stamp(&stack, &mut record);
        });
        linear(&format!("sending a long {name}"), consumed, |headers| {
            let mut record = Record::new("t");
            record.headers = headers;
            stamp(&stack, &mut record);
        });
    }
}

/// As long as a reader reads it: then with all that stands in it.
#[test]
fn what_is_read_of_a_record_has_a_bound() {
    for (name, text) in lists(MANY) {
        let mut cut = 8192;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut headers = headers(3, |n| format!("mine-{n}"));
        headers.append("traceparent", PARENT).unwrap();
        headers.append(name, &text[..cut]).unwrap();
        let used = allocation_counter::measure(|| {
            black_box(Provenance::read(&headers));
        });
        println!(
            "8,192 bytes of {name}: {} allocations, {} bytes",
            used.count_total, used.bytes_max
        );
        assert!(
            used.count_total < 200 && used.bytes_max < 32 << 10,
            "{name}: {used:?}"
        );
    }
}

#[test]
fn reading_takes_time_in_proportion_and_bounded_memory() {
    for (what, name) in BOMBS {
        let make = |n| headers(n, name);
        linear(&format!("reading, {what}"), make, |headers| {
            black_box(Provenance::read(&headers));
        });
        let headers = headers(MANY, name);
        let used = allocation_counter::measure(|| {
            black_box(Provenance::read(&headers));
        });
        assert!(
            used.count_total < 16 && used.bytes_max < 4096,
            "{what}: {used:?}"
        );
        linear(
            &format!("OpenTelemetry's extractor, {what}"),
            make,
            |headers| {
                let extractor = HeaderExtractor::new(&headers);
                black_box((
                    extractor.get("traceparent").is_some(),
                    extractor.get("tracestate").is_some(),
                ));
            },
        );
    }
}

/// A MiB in a value is not copied by reading, and once by a stamp that moves it.
#[test]
fn long_values_are_not_copied() {
    let value = vec![b'x'; 1 << 20];
    let make = || {
        let mut record = Record::new("t");
        for name in ["mine", "prov-id", "prov-origin", "tracestate", "prov-x"] {
            record.headers.append(name, &value).unwrap();
        }
        record
    };
    let record = make();
    let reading = allocation_counter::measure(|| {
        black_box(Provenance::read(&record.headers));
    });
    assert!(reading.bytes_max < 4096, "{reading:?}");
    let stack = stack(Origin::builder());
    let mut record = make();
    let stamping = allocation_counter::measure(|| stamp(&stack, &mut record));
    println!(
        "values of a MiB: reading {} bytes, stamping {} bytes",
        reading.bytes_max, stamping.bytes_max
    );
    assert!(stamping.bytes_max < 16 << 10, "{stamping:?}");
    assert!(
        record.headers.wire().len() < (1 << 20) + 1024,
        "only the application's own is left"
    );
}

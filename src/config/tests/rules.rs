//! Java's rules, librdkafka's conditions, ranges.

use std::time::Duration;

use super::super::*;
use super::{accepted, check, given, one, problem, warned};

#[test]
fn the_delivery_timeout_has_room_for_linger_and_one_request() {
    let pairs = [("delivery.timeout.ms", "30004")];
    one(&pairs, "delivery.timeout.ms", ProblemKind::Contradiction);
    assert!(problem(&pairs).instead.contains("30005"));
    check(&[("delivery.timeout.ms", "30005")]).unwrap();
    // The other name is as explicit.
    one(
        &[("message.timeout.ms", "20")],
        "message.timeout.ms",
        ProblemKind::Contradiction,
    );
    // What is wrong already is not wrong twice.
    one(
        &[
            ("delivery.timeout.ms", "x"),
            ("request.timeout.ms", "200000"),
        ],
        "delivery.timeout.ms",
        ProblemKind::Invalid,
    );
    // Not written, it gives way.
    let longer = [("request.timeout.ms", "300000"), ("linger.ms", "100")];
    assert_eq!(
        check(&longer).unwrap().delivery_timeout(),
        Duration::from_millis(300_100)
    );
    assert_eq!(warned(&longer), ["delivery.timeout.ms"]);
}

#[test]
fn what_contradicts_idempotence_turns_it_off_unless_it_was_asked_for() {
    for (name, value) in [("acks", "1"), ("acks", "0"), ("retries", "0")] {
        let config = check(&[(name, value)]).unwrap();
        assert!(!config.idempotence(), "{name}={value}");
        assert_eq!(config.warnings()[0].property, name);
        assert_eq!(
            given(&config, "enable.idempotence").as_deref(),
            Some("false")
        );
        let asked = [("enable.idempotence", "true"), (name, value)];
        one(&asked, name, ProblemKind::Contradiction);
        check(&[("enable.idempotence", "false"), (name, value)]).unwrap();
    }
}

#[test]
fn more_than_five_in_flight_needs_idempotence_off_in_so_many_words() {
    let name = "max.in.flight.requests.per.connection";
    one(&[(name, "6")], name, ProblemKind::Contradiction);
    one(
        &[(name, "6"), ("enable.idempotence", "true")],
        name,
        ProblemKind::Contradiction,
    );
    one(
        &[("max.in.flight", "6")],
        "max.in.flight",
        ProblemKind::Contradiction,
    );
    let off = [(name, "6"), ("enable.idempotence", "false")];
    assert_eq!(check(&off).unwrap().max_in_flight(), 6);
    assert_eq!(warned(&off), [name]);
}

#[test]
fn a_loss_of_order_is_warned_of_only_where_it_can_happen() {
    let off = ("enable.idempotence", "false");
    let name = "max.in.flight.requests.per.connection";
    assert_eq!(warned(&[off, (name, "2")]), [name]);
    assert!(warned(&[off]).is_empty());
    assert!(warned(&[off, (name, "2"), ("retries", "0")]).is_empty());
}

#[test]
fn librdkafkas_own_conditions_are_met_before_it_is_asked() {
    let gapless = "enable.gapless.guarantee";
    check(&[(gapless, "true")]).unwrap();
    one(
        &[(gapless, "true"), ("enable.idempotence", "false")],
        gapless,
        ProblemKind::Contradiction,
    );
    let threshold = "queue.buffering.backpressure.threshold";
    one(&[(threshold, "2")], threshold, ProblemKind::Contradiction);
    accepted(&check(&[(threshold, "2"), ("enable.idempotence", "false")]).unwrap());
    one(
        &[
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "10"),
        ],
        "reconnect.backoff.max.ms",
        ProblemKind::Contradiction,
    );
    one(
        &[("reconnect.backoff.max.ms", "10")],
        "reconnect.backoff.max.ms",
        ProblemKind::Contradiction,
    );
    // Above the default maximum: alone, it is its own maximum, as in Java.
    let config = check(&[("reconnect.backoff.ms", "20000")]).unwrap();
    assert_eq!(
        given(&config, "reconnect.backoff.max.ms").as_deref(),
        Some("20000")
    );
    accepted(&config);
}

#[test]
fn compression_levels_follow_the_codec() {
    let gzip = check(&[
        ("compression.type", "GZIP"),
        ("compression.gzip.level", "9"),
    ])
    .unwrap();
    assert_eq!(
        (gzip.compression(), gzip.compression_level()),
        (Compression::Gzip, Some(9))
    );
    assert_eq!(given(&gzip, "compression.level").as_deref(), Some("9"));
    accepted(&gzip);
    let level = "compression.level";
    one(
        &[
            ("compression.type", "gzip"),
            (level, "1"),
            ("compression.gzip.level", "1"),
        ],
        level,
        ProblemKind::Contradiction,
    );
    one(
        &[("compression.type", "gzip"), (level, "10")],
        level,
        ProblemKind::Invalid,
    );
    one(
        &[("compression.lz4.level", "13"), ("compression.type", "lz4")],
        "compression.lz4.level",
        ProblemKind::Invalid,
    );
    assert_eq!(
        warned(&[("compression.gzip.level", "1")]),
        ["compression.gzip.level"]
    );
    let zstd = check(&[
        ("compression.type", "zstd"),
        ("compression.zstd.level", "12"),
    ]);
    if cfg!(feature = "zstd") {
        accepted(&zstd.unwrap());
    } else {
        assert_eq!(
            zstd.unwrap_err().problems()[0].kind,
            ProblemKind::NeedsFeature
        );
    }
}

#[test]
fn numbers_have_librdkafkas_limits() {
    for (name, low, high) in [
        ("linger.ms", 0, 900_000),
        ("batch.size", 1, 2_147_483_647),
        ("request.timeout.ms", 10, 300_000),
        ("max.request.size", 1000, 1_000_000_000),
        ("retries", 0, 2_147_483_647),
        ("retry.backoff.ms", 1, 300_000),
        ("retry.backoff.max.ms", 1, 300_000),
        ("statistics.interval.ms", 0, 86_400_000),
        ("max.block.ms", 0, i64::MAX),
        ("metadata.max.age.ms", -1, 3_600_000),
        ("send.buffer.bytes", -1, 100_000_000),
        ("delivery.timeout.ms", 30_005, 2_147_483_647),
    ] {
        for good in [low, high] {
            accepted(&check(&[(name, &format!(" {good} "))]).unwrap());
        }
        let above = high.checked_add(1).map(|above| above.to_string());
        for bad in [
            Some("-2".to_owned()),
            above,
            Some("1.5".to_owned()),
            Some(String::new()),
        ] {
            let Some(bad) = bad else { continue };
            let problem = problem(&[(name, &bad)]);
            assert_eq!(problem.kind, ProblemKind::Invalid, "{name}={bad}");
            assert!(problem.instead.contains(&high.to_string()), "{problem}");
        }
    }
    // librdkafka cannot wait longer for a topic to appear; the wait for room can be as long as anybody likes.
    let config = check(&[("max.block.ms", "9223372036854775807")]).unwrap();
    assert_eq!(
        given(&config, "topic.metadata.propagation.max.ms").as_deref(),
        Some("3600000")
    );
}

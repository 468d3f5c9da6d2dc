//! What comes back for records that arrive.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[test]
fn a_record_is_delivered_with_everything_it_had() {
    let client = client::<&str>(&[]);
    create(&client, "t", 1);
    for (offset, user) in ["first", "second"].into_iter().enumerate() {
        let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(&b""[..]))];
        let (key, value) = (
            Bytes::from_static(b"key"),
            Bytes::from(user.as_bytes().to_vec()),
        );
        produce(
            &client,
            "t",
            0,
            Some(1_700_000_000_123),
            Some(key),
            Some(value),
            &super::headers(headers),
            user,
        )
        .unwrap();
        assert_eq!(client.in_flight(), 1);
        let mut found = None;
        while found.is_none() {
            client.poll(Duration::from_secs(1), |event| {
                if let Event::Reports(mut reports) = event {
                    found = reports.next();
                    assert!(reports.next().is_none());
                }
            });
        }
        let report = Told::of(&mut found.unwrap());
        assert_eq!((report.code, report.status), (0, Status::Persisted));
        assert_eq!(
            (report.partition, report.offset),
            (0, i64::try_from(offset).unwrap())
        );
        assert!(report.timestamp.is_some());
        assert_eq!(report.user, user);
        assert_eq!(report.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(report.value.as_deref(), Some(user.as_bytes()));
        assert_eq!(report.headers.iter().count(), 3);
        assert_eq!(report.headers.get(2), Some(("a", Some(&b""[..]))));
        assert_eq!(report.headers.get(3), None);
        assert!(report.headers.iter().eq(headers));
        assert_eq!(client.in_flight(), 0);
    }
    assert!(client.flush(Duration::ZERO));
    assert_eq!(client.partitions("t", Duration::from_secs(5)), Ok(1));
    assert!(client.close().is_empty());
}

#[test]
fn two_threads_produce_while_one_polls() {
    let client = client::<usize>(&[]);
    create(&client, "t", 4);
    let (each, done, polled) = (records(20_000), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (client, done) = (&client, &done);
            scope.spawn(move || {
                for number in 0..each {
                    let text = format!("{thread}:{number}");
                    let headers = [("id", Some(text.as_bytes())), ("none", None)];
                    let value = Bytes::from(text.clone());
                    produce(
                        client,
                        "t",
                        -1,
                        None,
                        None,
                        Some(value),
                        &super::headers(headers),
                        thread * each + number,
                    )
                    .unwrap();
                }
                done.fetch_add(1, Ordering::SeqCst);
                client.wake();
            });
        }
        let (client, polled) = (&client, &polled);
        scope.spawn(move || {
            let mut seen = vec![false; 2 * each];
            let mut left = 2 * each;
            while left > 0 {
                client.poll(Duration::from_secs(1), |event| {
                    let Event::Reports(mut reports) = event else {
                        return;
                    };
                    while let Some(mut report) = reports.next() {
                        let user = report.place.slot.as_ref().unwrap().user;
                        assert_eq!((report.code, report.status), (0, Status::Persisted));
                        assert!(
                            !std::mem::replace(&mut seen[user], true),
                            "one report a record"
                        );
                        let text = format!("{}:{}", user / each, user % each);
                        let slot = report.place.slot.as_mut().unwrap();
                        assert_eq!(slot.value.as_deref(), Some(text.as_bytes()));
                        assert_eq!(report.headers.get(0), Some(("id", Some(text.as_bytes()))));
                        left -= 1;
                        reports.recycle(report);
                    }
                });
            }
            polled.store(true, Ordering::SeqCst);
        });
    });
    assert!(polled.load(Ordering::SeqCst));
    assert_eq!((done.load(Ordering::SeqCst), client.in_flight()), (2, 0));
}

#[test]
fn reports_that_are_left_free_their_slots() {
    let client = client::<usize>(&[("linger.ms", "50")]);
    create(&client, "t", 1);
    for panics in [false, true] {
        for user in 0..600 {
            let headers = [("h", Some(&b"v"[..]))];
            produce(
                &client,
                "t",
                0,
                None,
                None,
                Some(Bytes::from_static(b"v")),
                &super::headers(headers),
                user,
            )
            .unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while client.in_flight() > 0 && Instant::now() < deadline {
            let poll = || {
                client.poll(Duration::from_secs(1), |event| {
                    let Event::Reports(mut reports) = event else {
                        return;
                    };
                    drop(reports.next());
                    assert!(!panics, "a receiver's own panic");
                })
            };
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)).is_err();
            assert!(panics || !panicked);
        }
        assert_eq!(client.in_flight(), 0);
    }
    assert!(client.close().is_empty());
}

#[test]
fn wake_ends_a_waiting_poll() {
    let client = client::<()>(&[]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            client.wake();
        });
        let start = Instant::now();
        while client.poll(Duration::from_secs(60), |_| {}) {}
        assert!(start.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn statistics_and_logs_and_errors_are_events() {
    let client = client::<()>(&[
        ("statistics.interval.ms", "50"),
        ("log_level", "7"),
        ("debug", "generic"),
    ]);
    let (mut stats, mut logs, mut errors) = (false, false, false);
    let mut down = false;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !(stats && logs && errors) && Instant::now() < deadline {
        client.poll(Duration::from_millis(100), |event| match event {
            Event::TokenWanted => unreachable!("no mechanism has tokens here"),
            Event::Stats(json) => stats |= json.starts_with('{') && json.contains("\"msg_cnt\""),
            Event::Log {
                level,
                facility,
                message,
            } => {
                assert!((0..=7).contains(&level) && !facility.is_empty() && !message.is_empty());
                logs = true;
            }
            Event::Error {
                code,
                reason,
                fatal,
            } => {
                assert!(code < 0 && !reason.is_empty() && !fatal);
                errors = true;
            }
            Event::Reports(_) => panic!("nothing was sent"),
        });
        if stats && logs && !down {
            down = true;
            // SAFETY: the cluster lives as long as the client.
            unsafe { rd::rd_kafka_mock_broker_set_down(cluster(&client), 1) };
        }
    }
    assert!(
        stats && logs && errors,
        "stats {stats}, logs {logs}, errors {errors}"
    );
}

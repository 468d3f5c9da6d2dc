//! Closing and dropping with records outstanding.

use std::sync::Arc;

use super::*;

/// A client whose first request is never answered, with `count` records of four shapes outstanding.
fn stuck(count: usize) -> (Client<Arc<()>>, Arc<()>) {
    let client = client::<Arc<()>>(&[("max.in.flight", "1"), ("batch.num.messages", "50")]);
    create(&client, "t", 1);
    let token = Arc::new(());
    send(&client, "t", b"warm", Arc::clone(&token)).unwrap();
    drop(reports(&client, 1));
    // SAFETY: the cluster lives as long as the client.
    unsafe { rd::rd_kafka_mock_broker_set_rtt(cluster(&client), 1, 60_000) };
    for number in 0..count {
        let text = number.to_string();
        let headers = [("number", Some(text.as_bytes())), ("null", None)];
        let (key, value) = (Bytes::from(text.clone()), Bytes::from(text.clone()));
        let headers = super::headers(headers.into_iter().take(number % 3));
        produce(
            &client,
            "t",
            0,
            None,
            Some(key),
            Some(value),
            &headers,
            Arc::clone(&token),
        )
        .unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    (client, token)
}

fn check(orphans: Vec<Orphan<Arc<()>>>, count: usize, token: &Arc<()>) {
    assert_eq!(orphans.len(), count);
    let mut numbers: Vec<usize> = Vec::new();
    for orphan in &orphans {
        let text = std::str::from_utf8(orphan.value.as_deref().unwrap()).unwrap();
        let number: usize = text.parse().unwrap();
        numbers.push(number);
        assert_eq!(orphan.key.as_deref(), Some(text.as_bytes()));
        let headers = [("number", Some(text.as_bytes())), ("null", None)];
        assert!(
            orphan
                .headers
                .iter()
                .eq(headers.into_iter().take(number % 3))
        );
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..count));
    assert_eq!(Arc::strong_count(token), count + 1);
    drop(orphans);
    assert_eq!(Arc::strong_count(token), 1);
}

#[test]
fn close_gives_every_record_back() {
    let count = records(5_000);
    let (client, token) = stuck(count);
    assert_eq!(client.in_flight(), count);
    let start = Instant::now();
    let orphans = client.close();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    for orphan in &orphans {
        let (code, status) = orphan.report.expect("a purged record has a report");
        match error_name(code) {
            "_PURGE_QUEUE" => assert_eq!(status, Status::NotPersisted),
            "_PURGE_INFLIGHT" => assert_eq!(status, Status::PossiblyPersisted),
            other => panic!("{other}"),
        }
    }
    check(orphans, count, &token);
}

#[test]
fn close_finds_what_never_gets_a_report() {
    let count = records(5_000);
    let (client, token) = stuck(count);
    let start = Instant::now();
    let orphans = client.abandon();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert!(orphans.iter().all(|orphan| orphan.report.is_none()));
    check(orphans, count, &token);
}

#[test]
fn reports_and_orphans_are_all_that_was_sent() {
    let client = client::<usize>(&[("batch.num.messages", "100")]);
    create(&client, "t", 4);
    let count = records(20_000);
    let mut seen = vec![0; count];
    for user in 0..count {
        send(&client, "t", b"value", user).unwrap();
        if user % 512 == 0 {
            client.poll(Duration::ZERO, |event| {
                if let Event::Reports(reports) = event {
                    reports.for_each(|mut report| seen[Told::of(&mut report).user] += 1);
                }
            });
        }
    }
    for orphan in client.close() {
        seen[orphan.user] += 1;
    }
    assert!(seen.iter().all(|times| *times == 1));
}

#[test]
fn drop_with_records_outstanding_frees_them() {
    let (client, token) = stuck(records(2_000));
    assert!(Arc::strong_count(&token) > 1);
    let start = Instant::now();
    drop(client);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(Arc::strong_count(&token), 1);
}

/// For valgrind: librdkafka reads these payloads in place, larger than what it copies, while they are dropped.
#[test]
fn payloads_outlive_the_threads_that_read_them() {
    for round in 0..6 {
        let client = client::<()>(&[("linger.ms", "0")]);
        create(&client, "t", 1);
        send(&client, "t", b"warm", ()).unwrap();
        drop(reports(&client, 1));
        for _ in 0..100 {
            let value = Some(Bytes::from(vec![7; 100_000]));
            produce(&client, "t", 0, None, None, value, &Headers::new(), ()).unwrap();
        }
        if round % 2 == 0 {
            drop(client);
        } else {
            assert_eq!(client.abandon().len(), 100);
        }
    }
}

#[test]
fn a_header_list_may_outlive_its_client() {
    let client = client::<()>(&[]);
    create(&client, "t", 1);
    let headers = [("name", Some(&b"value"[..]))];
    for _ in 0..2 {
        produce(
            &client,
            "t",
            0,
            None,
            None,
            None,
            &super::headers(headers),
            (),
        )
        .unwrap();
    }
    let all = reports(&client, 2);
    drop(client);
    assert!(all[1].headers.iter().eq(headers));
}

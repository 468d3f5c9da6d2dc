//! What comes back for records that do not arrive.

use super::*;

#[test]
fn a_rejected_record_comes_back_whole() {
    let client = client::<String>(&[("message.max.bytes", "1000")]);
    create(&client, "t", 2);
    send(
        &client,
        "t",
        b"so that the partitions are known",
        String::new(),
    )
    .unwrap();
    reports(&client, 1);

    let long = "x".repeat(250);
    let cases: [(&str, i32, usize, &str); 8] = [
        ("t", 0, 5000, "MSG_SIZE_TOO_LARGE"),
        ("t", 2, 10, "_UNKNOWN_PARTITION"),
        ("", 0, 10, "_INVALID_ARG"),
        ("a\0b", 0, 10, "_INVALID_ARG"),
        (&long, 0, 10, "_INVALID_ARG"),
        ("a b", 0, 10, "_INVALID_ARG"),
        ("..", 0, 10, "_INVALID_ARG"),
        ("t", -7, 10, "_UNKNOWN_PARTITION"),
    ];
    for (topic, partition, length, code) in cases {
        let (key, value) = (Bytes::from_static(b"key"), Bytes::from(vec![7; length]));
        let (key_at, value_at) = (key.as_ptr(), value.as_ptr());
        let headers = headers([("h", Some(&b"value"[..]))]);
        let result = produce(
            &client,
            topic,
            partition,
            None,
            Some(key),
            Some(value),
            &headers,
            topic.to_owned(),
        );
        let rejected = result.unwrap_err();
        assert_eq!(error_name(rejected.code), code);
        assert_eq!(rejected.user, topic);
        assert_eq!(rejected.key.map(|key| key.as_ptr()), Some(key_at));
        assert_eq!(
            rejected.value.map(|value| (value.as_ptr(), value.len())),
            Some((value_at, length))
        );
        assert_eq!(client.in_flight(), 0);
    }
    assert_eq!(client.partitions("", Duration::from_secs(1)), Err(-186));
    assert!(client.close().is_empty());
}

#[test]
fn a_code_that_is_in_no_list_arrives_as_a_number() {
    let client = client::<()>(&[("retries", "0")]);
    create(&client, "t", 1);
    fail_produce(&client, &[4242]);
    send(&client, "t", b"v", ()).unwrap();
    let report = reports(&client, 1).pop_front().unwrap();
    assert_eq!(report.code, 4242);
    assert_eq!((error_name(4242), report.timestamp), ("UNLISTED", None));
    assert_eq!(report.value.as_deref(), Some(&b"v"[..]));
}

#[test]
fn a_broker_error_keeps_its_code() {
    let client = client::<()>(&[("retries", "0")]);
    create(&client, "t", 1);
    for (code, name, status) in [
        (19, "NOT_ENOUGH_REPLICAS", Status::NotPersisted),
        (
            20,
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            Status::PossiblyPersisted,
        ),
        (29, "TOPIC_AUTHORIZATION_FAILED", Status::NotPersisted),
    ] {
        fail_produce(&client, &[code]);
        send(&client, "t", b"v", ()).unwrap();
        let report = reports(&client, 1).pop_front().unwrap();
        assert_eq!(
            (report.code, error_name(report.code), report.status),
            (code, name, status)
        );
    }
}

#[test]
fn codes_have_names() {
    assert_eq!((error_name(0), error_text(0)), ("NO_ERROR", "Success"));
    assert_eq!(error_name(-192), "_MSG_TIMED_OUT");
    assert_eq!(error_text(-192), "Local: Message timed out");
    assert_eq!(error_name(-1), "UNKNOWN");
    for code in [i32::MIN, -201, -200, -99, 1000, i32::MAX] {
        assert_eq!(error_name(code), "UNLISTED", "{code}");
    }
}

#[test]
fn purged_records_say_whether_they_were_sent() {
    // The first record leaves after the linger time and is not answered; the second is purged before that time is up.
    let client = client::<&str>(&[("linger.ms", "500")]);
    create(&client, "t", 1);
    send(&client, "t", b"warm", "warm").unwrap();
    reports(&client, 1);
    // SAFETY: the cluster lives as long as the client.
    unsafe { rd::rd_kafka_mock_broker_set_rtt(cluster(&client), 1, 30_000) };
    send(&client, "t", b"sent", "sent").unwrap();
    assert!(!client.flush(Duration::from_secs(2)));
    send(&client, "t", b"queued", "queued").unwrap();
    client.purge();
    for report in reports(&client, 2) {
        let (name, status) = match report.user {
            "sent" => ("_PURGE_INFLIGHT", Status::PossiblyPersisted),
            _ => ("_PURGE_QUEUE", Status::NotPersisted),
        };
        assert_eq!(
            (error_name(report.code), report.status),
            (name, status),
            "{}",
            report.user
        );
    }
    assert!(client.flush(Duration::from_secs(5)));
}

#[test]
fn a_fatal_error_stays() {
    let client = client::<u8>(&[("enable.idempotence", "true")]);
    assert_eq!(client.fatal(), None);
    // SAFETY: the client is alive, and the text is copied.
    unsafe { rd_kafka_test_fatal_error(client.raw(), 45, c"as a test".as_ptr()) };
    let (code, text) = client.fatal().unwrap();
    assert_eq!(error_name(code), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert!(text.contains("as a test"), "{text}");
    assert_eq!(send(&client, "t", b"v", 1).unwrap_err().user, 1);
    let mut fatal = None;
    let deadline = Instant::now() + Duration::from_secs(20);
    while fatal.is_none() && Instant::now() < deadline {
        client.poll(Duration::from_millis(100), |event| {
            if let Event::Error {
                code, fatal: true, ..
            } = event
            {
                fatal = Some(code);
            }
        });
    }
    assert_eq!(fatal.map(error_name), Some("OUT_OF_ORDER_SEQUENCE_NUMBER"));
}

#[test]
fn a_bad_property_is_named() {
    for (name, value) in [
        ("no.such.property", "1"),
        ("linger.ms", "soon"),
        ("nul.in.value", "a\0b"),
        ("delivery.report.only.error", "true"),
        ("ut_handle_ProduceResponse", "x"),
        ("plugin.library.paths", "x"),
        ("dr_cb", "x"),
    ] {
        let error = Client::<()>::new(&conf(&[(name, value)])).err().unwrap();
        assert_eq!(error.property.as_deref(), Some(name));
        assert!(!error.message.is_empty());
    }
    // librdkafka finds this one only when all are set.
    let error = Client::<()>::new(&conf(&[
        ("linger.ms", "10000"),
        ("message.timeout.ms", "100"),
    ]))
    .err()
    .unwrap();
    assert_eq!(error.property, None);
    assert!(error.message.contains("linger.ms"), "{}", error.message);
}

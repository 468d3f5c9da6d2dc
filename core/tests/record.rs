//! A record's parts, and how others look at them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use franking_core::{
    BoxError, ConsumerRecord, HeaderList, Headers, HeadersView, Outcome, Partitioner, Parts,
    Placed, Record, Serializer, Snapshot, testing::block_on,
};

fn parts(record: Record) -> Parts {
    record.into_parts()
}

fn full() -> Record {
    let mut record = Record::new("t")
        .partition(1)
        .timestamp(2)
        .key("k")
        .value("v");
    record.headers.append("h", "1").unwrap();
    record
}

#[test]
fn records_are_equal_if_everything_that_is_sent_is() {
    assert_eq!(parts(full()), parts(full()));
    let mut others = vec![
        full().partition(2),
        full().timestamp(3),
        full().key("other"),
        full().value("other"),
    ];
    let mut headers = full();
    headers.headers.append("h", "2").unwrap();
    others.push(headers);
    let mut topic = full();
    topic.topic = "other".into();
    others.push(topic);
    for other in others {
        assert_ne!(parts(other), parts(full()));
    }
    // When it was sent, and what it was made of, is not compared.
    let mut sent = full();
    sent.now();
    assert_eq!(parts(sent), parts(full()));
}

#[test]
fn a_records_time_is_the_applications_or_that_of_the_send() {
    let millis = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap().as_millis() as i64
    };
    assert_eq!(full().time(), 2);
    let before = millis();
    let mut record = Record::new("t");
    let (wall, time) = (record.wall(), record.time());
    // Truncated twice, and a clock may be slewed.
    assert!((before - 2..=millis() + 2).contains(&wall), "{wall}");
    assert_eq!((time, record.timestamp), (wall, Some(wall)));
    assert!(
        record
            .started
            .is_some_and(|started| started <= Instant::now())
    );
}

#[test]
fn a_payload_is_key_value_and_headers() {
    let record = Record::new("t").key("four").value("seven..");
    assert_eq!(record.payload_len(), 11);
    // The header is two lengths of a byte each, name and value.
    assert_eq!(full().payload_len(), 2 + 4);
    assert_eq!(Record::new("t").payload_len(), 0);
    assert!(Record::new("t").key("k").is_tombstone() && !full().is_tombstone());
}

#[test]
fn no_debug_shows_a_payload() {
    let mut record = Record::new("topic").key("secret").value("secret");
    record.headers.append("name", "secret").unwrap();
    let headers: [(&str, Option<&[u8]>); 1] = [("name", Some(b"secret"))];
    let consumed = ConsumerRecord::new("topic", 0, 0, headers)
        .key(Some(b"secret"))
        .value(Some(b"secret"));
    let texts = [
        format!("{:?}", &*record),
        format!("{:?}", record.view()),
        format!("{consumed:?}"),
    ];
    for text in texts {
        assert!(!text.contains("secret"), "{text}");
        assert!(
            text.contains("topic") && text.contains("key_len: Some(6)"),
            "{text}"
        );
    }
}

/// As an engine in C keeps them.
struct Kept([(&'static str, Option<&'static [u8]>); 3]);

impl HeaderList for Kept {
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.0.get(index).copied()
    }
}

#[test]
fn an_engines_own_headers_look_like_ours() {
    let kept = Kept([("a", Some(b"1")), ("b", None), ("a", Some(b"\xff"))]);
    let mut record = Record::new("t");
    for (name, value) in kept.0 {
        record.headers.append(name, value).unwrap();
    }
    for view in [
        HeadersView::Foreign(&kept),
        HeadersView::Wire(&record.headers),
    ] {
        assert!(view.iter().eq(kept.0));
        assert_eq!(view.get("a"), Some(Some(&b"\xff"[..])));
        assert_eq!((view.get("b"), view.get("c")), (Some(None), None));
        assert_eq!((view.get_str("a"), view.get_str("b")), (None, None));
    }
}

#[test]
fn a_closure_is_a_partitioner() {
    let last = |_: &franking_core::View<'_>, partitions: i32| partitions - 1;
    assert_eq!(last.partition(&full().view(), 12), 11);
}

#[test]
fn a_closure_is_a_serializer() {
    let even = |number: u8| -> Result<Option<bytes::Bytes>, BoxError> {
        match number {
            0 => Ok(None),
            number if number % 2 == 0 => Ok(Some(vec![number].into())),
            _ => Err("odd".into()),
        }
    };
    let serialized = |number| even.serialize("t", &mut Headers::new(), number);
    assert_eq!(serialized(2).unwrap().as_deref(), Some(&[2][..]));
    assert_eq!(serialized(0).unwrap(), None);
    assert_eq!(serialized(1).unwrap_err().to_string(), "odd");
    assert!(even.prepare("t").is_none());
}

#[test]
fn a_record_is_made_again_of_its_parts() {
    let again = parts(full()).into_record();
    assert_eq!(parts(again), parts(full()));
    assert_eq!(format!("{:?}", full()), format!("{:?}", parts(full())));
    assert!(!full().holds_room());
}

#[test]
fn an_engine_that_answers_at_once_had_the_record_once() {
    let heard = Arc::new(AtomicU32::new(0));
    let attempts = Arc::clone(&heard);
    let mut record = full();
    record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
        attempts.store(outcome.attempts, Ordering::SeqCst);
    }));
    let placed = Placed {
        partition: 3,
        offset: Some(7),
        timestamp: None,
    };
    let metadata = block_on(record.deliver(placed, Instant::now()), Duration::ZERO);
    let metadata = metadata.unwrap().unwrap();
    assert_eq!((metadata.partition, metadata.offset), (3, Some(7)));
    // The broker said none, so it is the record's own.
    assert_eq!(metadata.timestamp, Some(2));
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

/// An engine that took all that is in a record leaves its memory to the next: nothing else of it is seen there.
#[test]
fn memory_that_is_used_again_is_as_new() {
    let new = format!("{:?}", Record::new("t"));
    let mut record = Record::new("t")
        .key("key")
        .value("value")
        .partition(3)
        .timestamp(7);
    record.headers.append("name", Some(&[0; 1000])).unwrap();
    record.now();
    record.reuse();
    let next = Record::new("t");
    assert_eq!(format!("{next:?}"), new);
    assert!(next.started.is_none() && next.history.is_none());
    assert!(next.headers.is_empty() && next.headers.wire().is_empty());
}

/// Hooks are told, whoever thinks that a record is of no use any more.
#[test]
fn a_record_with_a_hook_is_not_just_forgotten() {
    let (told, hears) = std::sync::mpsc::channel();
    let mut record = Record::new("t");
    record.push_hook(Box::new(move |outcome: &Outcome<'_>| {
        told.send(outcome.result.is_err()).unwrap();
    }));
    record.reuse();
    assert_eq!(hears.try_recv(), Ok(true));
}

//! Records that are made of consumed ones.

use std::sync::Arc;

use franking_core::{
    Code, ConsumerRecord, Failed, Failure, Interceptor, InterceptorLayer, Parts, Produce, Record,
    Recover,
    testing::{Answer, Scripted, send},
};
use tower_layer::Layer;

const HEADERS: [(&[u8], Option<&[u8]>); 5] = [
    (b"tenant", Some(b"acme")),
    (b"seen", None),
    (b"\xff", Some(b"no text")),
    (b"", Some(b"no name")),
    (b"tenant", Some(b"again")),
];

type Headers = [(&'static [u8], Option<&'static [u8]>); 5];

fn consumed() -> ConsumerRecord<'static, Headers> {
    ConsumerRecord::new("orders", 2, 17, HEADERS)
        .key(Some(b"k"))
        .value(Some(b"v"))
        .timestamp(Some(5))
}

#[test]
fn a_forwarded_record_is_the_consumed_one() {
    let record = Record::new("orders.eu").partition(1).forward(consumed());
    assert_eq!((&*record.topic, record.partition), ("orders.eu", Some(1)));
    assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"v"[..]));
    assert_eq!(record.timestamp, Some(5));
    let headers: Vec<_> = record.headers.iter().collect();
    let expected = [
        ("tenant", Some(&b"acme"[..])),
        ("seen", None),
        ("tenant", Some(b"again")),
    ];
    assert_eq!(headers, expected);

    let history = record.history.as_ref().unwrap();
    assert_eq!(history.headers(), &record.headers);
    assert_eq!(history.left_out(), 2);
    assert!(history.is_forwarded());
    let place = (history.topic(), history.partition(), history.offset());
    assert_eq!(place, ("orders", 2, 17));
}

#[test]
fn a_derived_record_has_content_of_its_own() {
    let record = Record::new("invoices").value("mine").derive(consumed());
    assert_eq!((record.key.as_deref(), record.timestamp), (None, None));
    assert_eq!(record.value.as_deref(), Some(&b"mine"[..]));
    assert!(record.headers.is_empty());
    let history = record.history.as_ref().unwrap();
    assert_eq!(history.headers().len(), 3);
    assert!(!history.is_forwarded());
}

fn has_history(error: franking_core::SendError) -> bool {
    let record = error.into_record().unwrap();
    assert_eq!(record.started, None, "if it is sent again, it begins anew");
    let history = record.history.as_deref();
    history.is_some_and(|history| history.offset() == 17)
}

fn fails_with_its_history(stack: &mut impl Produce, code: Code) {
    let error = send(stack, Record::new("t").forward(consumed())).unwrap_err();
    assert_eq!(*error.code(), code);
    assert!(has_history(error));
}

#[test]
fn it_comes_back_with_its_history() {
    struct Refuse;
    impl Interceptor for Refuse {
        type Token = ();
        fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
            record.now();
            Err(Failure::new(Code::Refused))
        }
    }
    let mut engine = Scripted::new();
    fails_with_its_history(
        &mut InterceptorLayer::new(Refuse).layer(engine.clone()),
        Code::Refused,
    );
    engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    fails_with_its_history(&mut engine, Code::TimedOut);
    engine.script(Answer::refuse_at_once(Failure::new(Code::NoRoom)));
    fails_with_its_history(&mut engine, Code::NoRoom);
}

#[test]
fn a_recoverer_gets_it_with_its_history_and_so_does_the_next_attempt() {
    /// Sends again at once, as often as it is told.
    struct Again(Scripted);
    impl Recover for Again {
        fn recover(self: Arc<Self>, failed: Failed) {
            assert!(failed.record().history.is_some());
            match failed.attempts() {
                1 => failed.resend(&mut self.0.clone(), Some(self)),
                _ => failed.decline(),
            }
        }
    }
    let mut engine = Scripted::new();
    for _ in 0..2 {
        engine.script(Answer::fail(Failure::new(Code::TimedOut)));
    }
    let mut record = Record::new("t").forward(consumed());
    record.push_recover(Arc::new(Again(engine.clone())));
    let error = send(&mut engine, record).unwrap_err();
    assert_eq!(error.attempts(), 2);
    assert!(has_history(error));
}

#[test]
fn a_history_takes_as_much_room_as_it_holds() {
    let size = |topic: &'static str, headers: &[(&'static str, Option<&'static [u8]>)]| {
        let consumed = ConsumerRecord::new(topic, 0, 0, headers.to_vec());
        let record = Record::new("out").derive(consumed);
        record.history.as_ref().unwrap().size()
    };
    let least = size("", &[]);
    assert_eq!(least, size_of::<franking_core::History>());
    assert_eq!(size("orders", &[]), least + 6);
    // Two lengths of a byte each, the name, the value.
    assert_eq!(size("orders", &[("a", Some(b"1234"))]), least + 6 + 7);
}

//! Where a forger stands: outside of the stack nothing of his gets through; inside of it he is the stack.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use franking::middleware::origin::Origin;
use franking::provenance::{Header, Problem, Provenance};
use franking::testing::{Answer, Scripted, send};
use franking::{
    Code, Failed, Failure, Headers, Interceptor, InterceptorLayer, Parts, Persistence, Produce,
    Record, Recover, SendError,
};
use tower_layer::{Layer, Stack, layer_fn};
use tower_service::Service;

use crate::forger::FORGED_ID;
use crate::{ALONE, DefaultStack, Trace, builder, tracer};

const FORGED: [(&str, &str); 4] = [
    ("prov-id", FORGED_ID),
    ("Prov-Origin", "service.name=forged"),
    ("prov-mark", "forged@1"),
    (
        "TraceParent",
        "00-f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0-f0f0f0f0f0f0f0f0-01",
    ),
];

fn forge(headers: &mut Headers) {
    for (name, value) in FORGED {
        headers.append(name, value).unwrap();
    }
}

/// An interceptor of the application's.
struct Forging;

impl Interceptor for Forging {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        forge(&mut record.headers);
        Ok(())
    }
}

/// A tower service of the application's.
#[derive(Clone)]
struct ForgingService<S>(S);

impl<S: Produce> Service<Record> for ForgingService<S> {
    type Response = S::Response;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        forge(&mut record.headers);
        self.0.call(record)
    }
}

/// A recoverer of the application's: it sends what failed again, through what it has.
struct Resending<S>(Mutex<S>);

impl<S: Produce + Send + 'static> Recover for Resending<S> {
    fn recover(self: Arc<Self>, failed: Failed) {
        failed.resend(&mut *self.0.lock().unwrap(), None);
    }
}

fn headers(engine: &Scripted) -> Headers {
    let stored = engine.stored();
    assert_eq!(stored.len(), 1);
    stored[0].parts.headers.clone()
}

fn names(headers: &Headers) -> Vec<&str> {
    headers.iter().map(|(name, _)| name).collect()
}

fn stack() -> DefaultStack<opentelemetry_sdk::trace::SdkTracer> {
    DefaultStack::new(builder(false).build().unwrap()).trace(Trace::new(tracer()))
}

#[test]
fn a_layer_outside_of_the_stack_forges_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let intercepting = |engine| InterceptorLayer::new(Forging).layer(stack().layer(engine));
    let calling = |engine| ForgingService(stack().layer(engine));
    let both = |engine| {
        let outer = Stack::new(InterceptorLayer::new(Forging), layer_fn(ForgingService));
        outer.layer(stack().layer(engine))
    };
    let sent = [through(intercepting), through(calling), through(both)];
    for headers in sent {
        assert_eq!(
            names(&headers),
            ["traceparent", "prov-id", "prov-origin", "prov-seq"]
        );
        let read = Provenance::read(&headers);
        assert!(read.notes.is_empty() && read.marks.is_empty(), "{read:?}");
        assert_eq!(read.service(), Some("till"));
        assert_ne!(read.id.unwrap().to_string(), FORGED_ID);
    }
}

fn through<S: Produce>(stack: impl Fn(Scripted) -> S) -> Headers {
    let engine = Scripted::new();
    send(&mut stack(engine.clone()), Record::new("orders").value("v")).unwrap();
    headers(&engine)
}

/// Who stands between the stack and the engine writes last, and is the stack's own: nobody can hold it to anything. A
/// reader sees that a name stands there twice. `docs/headers.md` says so.
#[test]
fn a_layer_inside_of_the_stack_is_the_stack() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let headers = through(|engine| stack().layer(ForgingService(engine)));
    let read = Provenance::read(&headers);
    let repeated = read
        .notes
        .iter()
        .find(|note| note.header == Some(Header::Id));
    assert_eq!(repeated.unwrap().problem, Problem::Repeated);
}

#[test]
fn what_came_back_is_stamped_anew_and_what_was_added_meanwhile_goes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = Scripted::new();
    let stack = stack();
    let origin: Arc<Origin> = Arc::clone(stack.origin());
    engine.script(Answer::fail(Failure::new(Code::RecordTooLarge)));
    let mut service = stack.layer(engine.clone());
    let failed = send(&mut service, Record::new("orders").value("v")).unwrap_err();
    let mut record = failed.into_record().unwrap();
    let first = record.headers.get_str("prov-id").unwrap().to_owned();
    forge(&mut record.headers);
    // Two of the four are one too many of their name, or of nobody's; the third is a variant.
    send(&mut service, record).unwrap();
    assert_eq!(origin.reserved_removed(), 3);
    let headers = headers(&engine);
    let mut names = names(&headers);
    names.sort_unstable();
    assert_eq!(names, ["prov-id", "prov-origin", "prov-seq", "traceparent"]);
    let id = headers.get_str("prov-id").unwrap();
    assert!(id != FORGED_ID && id != first);
    assert_eq!(Provenance::read(&headers).service(), Some("till"));
}

/// A recoverer outside of the stack that sends through it.
#[test]
fn what_a_recoverer_sends_through_the_stack_is_stamped_anew() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = Scripted::new();
    let fail = Failure::new(Code::TimedOut).with_persistence(Persistence::Unknown);
    engine.script(Answer::fail(fail));
    let mut service = stack().layer(engine.clone());
    let again = Arc::new(Resending(Mutex::new(ForgingService(
        stack().layer(engine.clone()),
    ))));
    let mut record = Record::new("orders").value("v");
    record.push_recover(again);
    send(&mut service, record).unwrap();
    let headers = headers(&engine);
    let read = Provenance::read(&headers);
    assert!(read.notes.is_empty() && read.marks.is_empty(), "{read:?}");
    assert_eq!(
        (read.service(), read.instance()),
        (Some("till"), Some("till-1"))
    );
    assert_ne!(read.id.unwrap().to_string(), FORGED_ID);
    // The context stays: it is that of the first send, which the record carried.
    let mut names = names(&headers);
    names.sort_unstable();
    assert_eq!(names, ["prov-id", "prov-origin", "prov-seq", "traceparent"]);
}

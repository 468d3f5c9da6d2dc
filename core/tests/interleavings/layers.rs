//! Layers with moods, and a stack of any of them.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use franking_core::{
    Code, Delivery, Failed, Failure, Interceptor, InterceptorLayer, Outcome, Parts, Persistence,
    Record, RecordMetadata, Recover, SendError,
};
use tower_layer::Layer;
use tower_service::Service;

use super::judge::{Event, Log, end};

/// What an interceptor does beside noting what it hears.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Watches,
    /// Refuses every so many records, saying that it is for the moment.
    Refuses(usize),
    /// Panics instead of looking at every so many records.
    PanicsOnSend(usize),
    PanicsOnOutcome,
}

/// What a recoverer does with what failed and is not persisted. Everything else it declines.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Keeps,
    Declines,
    Drops,
    Panics,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    One(Mood),
    /// Two, fused.
    Two(Mood, Mood),
    /// Stamps a header, and leaves no hook.
    Stamps,
    /// Clones the record and drops the clone.
    Clones,
    Recovers(Way),
}

/// What all layers of a test note and keep.
#[derive(Default)]
pub(super) struct Book {
    pub(super) log: Log,
    pub(super) kept: Mutex<Vec<(Arc<Recoverer>, Failed)>>,
    /// Panics that layers meant.
    pub(super) panics: AtomicU64,
    /// The engine was closed or killed.
    pub(super) ended: AtomicBool,
}

impl Book {
    fn panic(&self) -> ! {
        self.panics.fetch_add(1, Ordering::SeqCst);
        resume_unwind(Box::new("a layer's mood"))
    }
}

/// A record's number, which is its key.
pub(super) fn number(key: Option<&[u8]>) -> u32 {
    let key = key.expect("a key").try_into().expect("a key of four bytes");
    u32::from_be_bytes(key)
}

pub(super) const STAMP: &str = "stamped";

struct Probe {
    layer: usize,
    mood: Mood,
    seen: AtomicUsize,
    book: Arc<Book>,
}

impl Probe {
    /// True for every so many records.
    fn is_turn(&self, every: usize) -> bool {
        (self.seen.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(every)
    }
}

impl Interceptor for Probe {
    type Token = u32;

    fn on_send(&self, record: &mut Parts) -> Result<u32, Failure> {
        match self.mood {
            Mood::Refuses(every) if self.is_turn(every) => {
                return Err(Failure::new(Code::Refused).transient(true));
            }
            Mood::PanicsOnSend(every) if self.is_turn(every) => self.book.panic(),
            _ => {}
        }
        let number = number(record.key.as_deref());
        self.book.log.note(number, Event::Entered(self.layer));
        Ok(number)
    }

    fn on_outcome(&self, number: u32, outcome: &Outcome<'_>) {
        let event = Event::Left {
            layer: self.layer,
            end: end(outcome.result.map(|placed| placed.offset)),
            attempts: outcome.attempts,
            own: self::number(outcome.record.key) == number,
        };
        self.book.log.note(number, event);
        if let Mood::PanicsOnOutcome = self.mood {
            self.book.panic();
        }
    }
}

struct Stamps;

impl Interceptor for Stamps {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        record.headers.set(STAMP, "1").expect("a header's name");
        Ok(())
    }
}

/// A layer that holds what failed for somebody else to decide on.
pub(super) struct Recoverer {
    layer: usize,
    way: Way,
    book: Arc<Book>,
    inner: Mutex<Stack>,
}

impl Recoverer {
    pub(super) fn resend(self: &Arc<Self>, failed: Failed, again: bool) {
        let number = number(failed.record().key.as_deref());
        let mut inner = self.inner.lock().unwrap().clone();
        self.book.log.note(number, Event::Resent);
        if again {
            self.book.log.note(number, Event::Pushed(self.layer));
        }
        let recover = again.then(|| Arc::clone(self) as Arc<dyn Recover>);
        failed.resend(&mut inner, recover);
    }
}

impl Recover for Recoverer {
    fn recover(self: Arc<Self>, failed: Failed) {
        let event = Event::Recovered {
            layer: self.layer,
            attempts: failed.attempts(),
        };
        let number = number(failed.record().key.as_deref());
        self.book.log.note(number, event);
        if failed.failure().persistence() == Persistence::Unknown {
            return failed.decline();
        }
        match self.way {
            Way::Keeps => {
                let held = (Arc::clone(&self), failed);
                self.book.kept.lock().unwrap().push(held);
            }
            Way::Declines => failed.decline(),
            Way::Drops => drop(failed),
            // With the record in its hands.
            Way::Panics => self.book.panic(),
        }
    }
}

#[derive(Clone)]
struct Recovering(Arc<Recoverer>, Stack);

#[derive(Clone)]
struct Cloning(Stack);

/// Notes that the engine is called.
#[derive(Clone)]
pub(super) struct Noted<S>(pub(super) Arc<Book>, pub(super) S);

macro_rules! service {
    ([$($generics:tt)*] $type:ty, $inner:tt, $call:expr) => {
        impl<$($generics)*> Service<Record> for $type {
            type Response = RecordMetadata;
            type Error = SendError;
            type Future = Delivery;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.$inner.poll_ready(cx)
            }

            fn call(&mut self, record: Record) -> Delivery {
                let call: fn(&mut Self, Record) -> Delivery = $call;
                call(self, record)
            }
        }
    };
}

service!([] Recovering, 1, |this, mut record| {
    let number = number(record.key.as_deref());
    this.0.book.log.note(number, Event::Pushed(this.0.layer));
    record.push_recover(Arc::clone(&this.0) as Arc<dyn Recover>);
    this.1.call(record)
});

service!([] Cloning, 0, |this, record| {
    drop(record.clone());
    this.0.call(record)
});

service!([S: Any] Noted<S>, 1, |this, record| {
    let ended = this.0.ended.load(Ordering::SeqCst);
    this.0.log.note(number(record.key.as_deref()), Event::Called { ended });
    this.1.call(record)
});

/// A service of any type.
pub(super) trait Any:
    Service<Record, Response = RecordMetadata, Error = SendError, Future = Delivery> + Send + 'static
{
    fn boxed_clone(&self) -> Box<dyn Any>;
}

impl<S> Any for S
where
    S: Service<Record, Response = RecordMetadata, Error = SendError, Future = Delivery>
        + Clone
        + Send
        + 'static,
{
    fn boxed_clone(&self) -> Box<dyn Any> {
        Box::new(self.clone())
    }
}

pub(super) struct Stack(Box<dyn Any>);

impl Clone for Stack {
    fn clone(&self) -> Self {
        Self((*self.0).boxed_clone())
    }
}

service!([] Stack, 0, |this, record| this.0.call(record));

impl Stack {
    /// These layers, outermost first, around an engine. Outside of them all stands one that watches.
    pub(super) fn new(kinds: &[Kind], book: &Arc<Book>, engine: impl Any) -> Self {
        let mut stack = Self(Box::new(engine));
        let all = [&[Kind::One(Mood::Watches)], kinds].concat();
        for (layer, kind) in all.iter().enumerate().rev() {
            let probe = |mood, layer| Probe {
                layer,
                mood,
                seen: AtomicUsize::new(0),
                book: Arc::clone(book),
            };
            stack = match *kind {
                Kind::One(mood) => {
                    let probe = probe(mood, 2 * layer);
                    Self(Box::new(InterceptorLayer::new(probe).layer(stack)))
                }
                Kind::Two(outer, inner) => {
                    let pair = (probe(outer, 2 * layer), probe(inner, 2 * layer + 1));
                    Self(Box::new(InterceptorLayer::new(pair).layer(stack)))
                }
                Kind::Stamps => Self(Box::new(InterceptorLayer::new(Stamps).layer(stack))),
                Kind::Clones => Self(Box::new(Cloning(stack))),
                Kind::Recovers(way) => {
                    let recoverer = Recoverer {
                        layer: 2 * layer,
                        way,
                        book: Arc::clone(book),
                        inner: Mutex::new(stack.clone()),
                    };
                    Self(Box::new(Recovering(Arc::new(recoverer), stack)))
                }
            };
        }
        stack
    }
}

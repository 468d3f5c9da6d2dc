//! Carries a plan out: in its own order, or with a thread for each part.

use std::{
    collections::HashMap,
    future::Future,
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use franking_core::{
    Code, Delivery, Failure, Persistence, Record, SendResult, hooks_panicked,
    testing::{Answer, Scripted},
};
use tower_service::Service;

use super::{
    Plan,
    judge::{Event, end, judge},
    layers::{Book, Noted, Stack, number},
};

/// What somebody does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// One of the senders.
    Sender(usize, Sending),
    Engine(Acting),
    /// Whoever holds what recoverers kept.
    Holder(Deciding),
}

#[derive(Clone, Debug)]
pub(super) enum Sending {
    /// Asks for room, and sends later or never.
    Ready,
    /// Sends if there is room; the engine shall answer so.
    Send(Option<Reply>),
    Poll(usize),
    Drop(usize),
    CallBack(usize),
    /// Drops its handle, with what that reserved, and takes a new one.
    NewHandle,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Deliver,
    WithoutOffset,
    Fail,
    FailUnknown,
    RefuseAtOnce,
    LoseAcknowledgement,
    Late,
}

#[derive(Clone, Debug)]
pub(super) enum Acting {
    Stall,
    Resume,
    Step(usize),
    Advance(u64),
    Close,
    Kill,
}

#[derive(Clone, Debug)]
pub(super) enum Deciding {
    /// With the recoverer on it again, or without.
    Resend(usize, bool),
    Decline(usize),
    Drop(usize),
}

impl Reply {
    fn answer(self) -> Answer {
        let failure = Failure::new(Code::TimedOut).transient(true);
        match self {
            Reply::Deliver => Answer::deliver(),
            Reply::WithoutOffset => Answer::deliver_without_offset(),
            Reply::Fail => Answer::fail(failure),
            Reply::FailUnknown => Answer::fail(failure.with_persistence(Persistence::Unknown)),
            Reply::RefuseAtOnce => Answer::refuse_at_once(failure),
            Reply::LoseAcknowledgement => Answer::lose_acknowledgement(),
            Reply::Late => Answer::deliver().after(Duration::from_millis(50)),
        }
    }
}

/// How often what happened in all plans of a test: nothing of it may be zero.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) records: u64,
    pub(super) refused: u64,
    pub(super) delivered: u64,
    pub(super) not_persisted: u64,
    pub(super) unknown: u64,
    pub(super) recovered: u64,
    pub(super) sent_again: u64,
    pub(super) given_up_futures: u64,
    pub(super) panics: u64,
    pub(super) no_room: u64,
    pub(super) ended_early: u64,
}

struct World {
    engine: Scripted,
    book: Arc<Book>,
    records: AtomicU32,
    freed: Arc<AtomicUsize>,
    no_room: AtomicUsize,
}

struct Sender {
    stack: Stack,
    handle: Stack,
    sent: Vec<(u32, Delivery)>,
}

/// A record's value, which counts when it is freed.
struct Value(Arc<AtomicUsize>);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        b"value"
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

impl World {
    fn told(&self, record: u32, result: SendResult) {
        note_told(&self.book, record, result);
    }

    fn send(&self, sender: &mut Sender, reply: Option<Reply>) {
        if !self.poll_ready(sender) {
            return;
        }
        if let Some(reply) = reply {
            self.engine.script(reply.answer());
        }
        let number = self.records.fetch_add(1, Ordering::SeqCst);
        let record = Record::new("t")
            .key(number.to_be_bytes().to_vec())
            .value(Bytes::from_owner(Value(Arc::clone(&self.freed))))
            .partition(number as i32 % 3);
        sender.sent.push((number, sender.handle.call(record)));
    }

    /// Whether there is room. An engine that was closed says so, and is sent to all the same, as by one who was let in
    /// before.
    fn poll_ready(&self, sender: &mut Sender) -> bool {
        let ended = self.book.ended.load(Ordering::SeqCst);
        let mut cx = Context::from_waker(Waker::noop());
        match sender.handle.poll_ready(&mut cx) {
            Poll::Pending => {
                assert!(!ended, "a closed engine keeps somebody waiting");
                self.no_room.fetch_add(1, Ordering::SeqCst);
                false
            }
            Poll::Ready(Ok(())) => {
                assert!(!ended, "a closed engine takes records");
                true
            }
            Poll::Ready(Err(_)) => true,
        }
    }

    fn sender(&self, sender: &mut Sender, op: Sending) {
        match op {
            Sending::Ready => {
                self.poll_ready(sender);
            }
            Sending::Send(reply) => self.send(sender, reply),
            Sending::NewHandle => sender.handle = sender.stack.clone(),
            Sending::Poll(_) | Sending::Drop(_) | Sending::CallBack(_)
                if sender.sent.is_empty() => {}
            Sending::Poll(which) => {
                let which = which % sender.sent.len();
                if let Poll::Ready(result) = now(&mut sender.sent[which].1) {
                    self.told(sender.sent.swap_remove(which).0, result);
                }
            }
            Sending::Drop(which) => {
                drop(sender.sent.swap_remove(which % sender.sent.len()));
            }
            Sending::CallBack(which) => {
                let (number, sent) = sender.sent.swap_remove(which % sender.sent.len());
                self.book.log.note(number, Event::CallBack);
                let book = Arc::clone(&self.book);
                let taken = sent.on_complete(move |result| note_told(&book, number, result));
                assert!(taken.is_ok());
            }
        }
    }

    fn act(&self, op: Acting) {
        match op {
            Acting::Stall => self.engine.stall(),
            Acting::Resume => self.engine.resume(),
            Acting::Step(n) => self.engine.step(n),
            Acting::Advance(millis) => self.engine.advance(Duration::from_millis(millis)),
            Acting::Close => {
                self.engine.close();
                self.book.ended.store(true, Ordering::SeqCst);
            }
            Acting::Kill => {
                self.engine.kill(Failure::new(Code::Fatal));
                self.book.ended.store(true, Ordering::SeqCst);
            }
        }
    }

    fn decide(&self, op: Deciding) {
        let (Deciding::Resend(which, _) | Deciding::Decline(which) | Deciding::Drop(which)) = op;
        let (recoverer, failed) = {
            let mut kept = self.book.kept.lock().unwrap();
            if kept.is_empty() {
                return;
            }
            let which = which % kept.len();
            kept.swap_remove(which)
        };
        match op {
            Deciding::Resend(_, again) => recoverer.resend(failed, again),
            Deciding::Decline(_) => failed.decline(),
            Deciding::Drop(_) => drop(failed),
        }
    }
}

fn note_told(book: &Book, record: u32, result: SendResult) {
    let event = match result {
        Ok(metadata) => Event::Told {
            end: Ok(metadata.offset),
            attempts: 0,
            back: false,
        },
        Err(error) => Event::Told {
            end: end(Err(error.failure())),
            attempts: error.attempts(),
            back: error.into_record().is_some_and(|back| {
                number(back.key.as_deref()) == record && back.value.as_deref() == Some(b"value")
            }),
        },
    };
    book.log.note(record, event);
}

/// Carries a plan out and looks at everything that is left.
pub(super) fn carry_out(
    plan: &Plan,
    on_threads: bool,
    figures: &mut Figures,
) -> Result<(), String> {
    let panicked = hooks_panicked();
    let book = Arc::new(Book::default());
    let engine = Scripted::with_room(plan.room);
    let noted = Noted(Arc::clone(&book), engine.clone());
    let mut senders: Vec<_> = plan
        .stacks
        .iter()
        .map(|kinds| {
            let stack = Stack::new(kinds, &book, noted.clone());
            Sender {
                handle: stack.clone(),
                stack,
                sent: Vec::new(),
            }
        })
        .collect();
    drop(noted);
    let world = World {
        engine,
        book,
        records: AtomicU32::new(0),
        freed: Arc::default(),
        no_room: AtomicUsize::new(0),
    };
    match on_threads {
        false => in_order(&world, &mut senders, plan)?,
        true => by_threads(&world, &mut senders, plan),
    }
    settle_all(&world, &mut senders);
    look(&world, panicked, on_threads, figures)?;
    let (records, freed) = (
        world.records.load(Ordering::SeqCst),
        Arc::clone(&world.freed),
    );
    drop((world, senders));
    equal(
        "records freed",
        freed.load(Ordering::SeqCst) as u64,
        records.into(),
    )
}

fn in_order(world: &World, senders: &mut [Sender], plan: &Plan) -> Result<(), String> {
    let mut stored_at_end = None;
    for op in plan.ops.iter().cloned() {
        match op {
            Op::Sender(which, op) => {
                let which = which % senders.len();
                world.sender(&mut senders[which], op);
            }
            Op::Engine(op) => world.act(op),
            Op::Holder(op) => world.decide(op),
        }
        if world.book.ended.load(Ordering::SeqCst) {
            let stored = world.engine.stored().len();
            if *stored_at_end.get_or_insert(stored) != stored {
                return Err("stored after the end".into());
            }
        }
        let held = world.engine.unsettled() + world.book.kept.lock().unwrap().len();
        let outstanding = world.engine.room().outstanding();
        if held < outstanding {
            return Err(format!("{outstanding} outstanding, {held} held"));
        }
    }
    Ok(())
}

fn by_threads(world: &World, senders: &mut [Sender], plan: &Plan) {
    let sending = senders.len();
    thread::scope(|scope| {
        for (own, sender) in senders.iter_mut().enumerate() {
            scope.spawn(move || {
                for op in &plan.ops {
                    if let Op::Sender(which, op) = op
                        && which % sending == own
                    {
                        world.sender(sender, op.clone());
                    }
                }
            });
        }
        scope.spawn(|| {
            for op in &plan.ops {
                match op {
                    Op::Engine(op) => world.act(op.clone()),
                    // A breath for the others.
                    _ => thread::yield_now(),
                }
            }
        });
        scope.spawn(|| {
            for op in &plan.ops {
                match op {
                    Op::Holder(op) => world.decide(op.clone()),
                    _ => thread::yield_now(),
                }
            }
        });
    });
}

/// Lets everything end: the engine answers, and what is kept is declined.
fn settle_all(world: &World, senders: &mut [Sender]) {
    for sender in senders.iter_mut() {
        sender.handle = sender.stack.clone();
    }
    world.engine.resume();
    world.engine.advance(Duration::from_secs(3600));
    loop {
        let kept = mem::take(&mut *world.book.kept.lock().unwrap());
        if kept.is_empty() {
            break;
        }
        for (_, failed) in kept {
            failed.decline();
        }
    }
    for sender in senders {
        for (number, mut sent) in mem::take(&mut sender.sent) {
            match now(&mut sent) {
                Poll::Ready(result) => world.told(number, result),
                Poll::Pending => panic!("record {number} never ends"),
            }
        }
    }
}

/// What must hold in the end.
fn look(
    world: &World,
    panicked: u64,
    on_threads: bool,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut copies: HashMap<u32, usize> = HashMap::new();
    for stored in world.engine.stored() {
        *copies
            .entry(number(stored.parts.key.as_deref()))
            .or_default() += 1;
    }
    let room = world.engine.room();
    let totals = room.totals();
    let (mut delivered, mut not_persisted, mut unknown) = (0, 0, 0);
    let (mut calls, mut accepted) = (0, 0);
    let records = world.records.load(Ordering::SeqCst);
    for record in 0..records {
        let events = world.book.log.of(record);
        let verdict =
            judge(&events).map_err(|wrong| format!("record {record}: {wrong}: {events:?}"))?;
        let copies = copies.get(&record).copied().unwrap_or(0);
        let (sum, right) = match verdict.end {
            Ok(_) => (&mut delivered, copies == 1),
            Err((_, Persistence::Unknown)) => (&mut unknown, copies <= 1),
            Err((_, Persistence::NotPersisted)) => {
                // What no open engine had is in nobody's totals.
                accepted += u64::from(verdict.accepted);
                (&mut not_persisted, copies == 0)
            }
        };
        if !right {
            return Err(format!("record {record}: {copies} copies of {events:?}"));
        }
        *sum += 1;
        calls += u64::from(verdict.calls);
        figures.refused += u64::from(verdict.calls == 0);
        figures.recovered += verdict.recovered as u64;
        figures.sent_again += u64::from(verdict.calls).saturating_sub(1);
        figures.given_up_futures += u64::from(!verdict.told);
    }
    let meant = world.book.panics.load(Ordering::SeqCst);
    equal("bytes in use", room.used() as u64, 0)?;
    equal("outstanding", room.outstanding() as u64, 0)?;
    equal("calls", world.engine.calls() as u64, calls)?;
    equal("delivered", totals.delivered, delivered)?;
    equal("unknown", totals.unknown, unknown)?;
    if !on_threads {
        equal("not persisted", totals.not_persisted, accepted)?;
    } else if totals.not_persisted > not_persisted {
        return Err(format!(
            "not persisted: {}, not {not_persisted}",
            totals.not_persisted
        ));
    }
    equal("panics", hooks_panicked() - panicked, meant)?;
    figures.records += u64::from(records);
    figures.delivered += delivered;
    figures.not_persisted += not_persisted;
    figures.unknown += unknown;
    figures.panics += meant;
    figures.no_room += world.no_room.load(Ordering::SeqCst) as u64;
    figures.ended_early += u64::from(world.book.ended.load(Ordering::SeqCst));
    Ok(())
}

fn equal(what: &str, is: u64, shall: u64) -> Result<(), String> {
    match is == shall {
        true => Ok(()),
        false => Err(format!("{what}: {is}, not {shall}")),
    }
}

impl Figures {
    pub(super) fn everything_happened(&self) {
        let numbers = [
            self.records,
            self.refused,
            self.delivered,
            self.not_persisted,
            self.unknown,
            self.recovered,
            self.sent_again,
            self.given_up_futures,
            self.panics,
            self.no_room,
            self.ended_early,
        ];
        assert!(numbers.iter().all(|number| *number > 0), "{self:?}");
    }
}

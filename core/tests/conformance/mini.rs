//! A small engine that answers from a thread of its own, and has flaws when told.

use std::{
    collections::HashSet,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use franking_core::{
    Acks, Code, Delivery, Failure, Flight, Headers, Parts, Persistence, Placed, Record,
    RecordMetadata, Reservation, Room, SendError, SendResult, Slots, Topic, Totals, hooks_panicked,
    testing::conformance::{Fixture, Lever},
};
use tower_service::Service;

/// A way to break a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No flaw.
    None,
    /// Whoever asks gets the room, not who asked first.
    Barges,
    /// Charges nothing for a record.
    ChargesNothing,
    /// `poll_ready` reserves nothing.
    AlwaysReady,
    /// Keeps what a dropped handle had reserved.
    LeaksReservations,
    /// Keeps the room of settled records.
    LeaksRoom,
    /// A clone of a ready handle says it is ready.
    ClonesReady,
    /// Checks the room again in `call`.
    FailsForRoom,
    /// Sends when the future is polled or dropped.
    Lazy,
    /// Takes the record back when the future is dropped.
    CancelsOnDrop,
    /// Tells nobody when the future is dropped.
    MutesDropped,
    /// The caller hears another offset than the hook.
    Disagrees,
    /// Stores every record twice.
    StoresTwice,
    /// Sends a clone of the record, which has no hooks.
    ClonesRecord,
    /// Stores the record that it says is not persisted.
    LiesOnFailure,
    /// Says that a record whose acknowledgement was lost is not persisted.
    LiesOnLoss,
    /// The error holds no record.
    KeepsRecord,
    /// Keeps one header of each name.
    LosesHeaders,
    /// Drops what a recoverer sends again.
    DropsResends,
    /// Acknowledges a batch from its end.
    ReordersAcks,
    /// Stores a batch from its end, and acknowledges it in order, without offsets.
    ReordersStored,
    /// The caller's future wakes first.
    CallerFirst,
    /// Its thread dies of a panicking hook.
    DiesOfPanic,
    /// Is ready when it is closed.
    ReadyAfterClose,
    /// Does not settle what is outstanding at the close.
    CloseForgets,
    /// Stores what is outstanding at the close, and says it is not persisted.
    CloseLies,
    /// Counts one too many at the close.
    CloseMiscounts,
}

pub(crate) struct Mini {
    shared: Arc<Shared>,
    reservation: Reservation,
    slots: Slots,
    ready: bool,
    inherited: bool,
}

struct Shared {
    flaw: Flaw,
    room: Arc<Room>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: Vec<Queued>,
    stored: Vec<Parts>,
    stalled: bool,
    stopped: bool,
    fail_next: bool,
    lose_next: bool,
    calls: usize,
    muted: HashSet<usize>,
}

struct Queued {
    id: usize,
    parts: Parts,
    flight: Flight,
    answer: Answer,
    /// Told before the flight, by an engine with that flaw.
    first: Option<Flight>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Deliver,
    Fail,
    Lose,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn enqueue(&self, queued: Queued) {
        let mut state = self.lock();
        if self.room.refused().is_some() && state.stopped {
            drop(state);
            Acks::new(&self.room, Instant::now()).failed(
                queued.flight,
                Failure::new(Code::Closed),
                queued.parts,
            );
            return;
        }
        state.queue.push(queued);
        drop(state);
        self.changed.notify_all();
    }

    /// The engine's thread: takes what has gathered, and answers it.
    fn run(&self) {
        loop {
            let idle =
                |state: &mut State| !state.stopped && (state.stalled || state.queue.is_empty());
            let state = self.changed.wait_while(self.lock(), idle);
            if state.unwrap_or_else(PoisonError::into_inner).stopped {
                return;
            }
            // Lets a batch gather.
            thread::sleep(Duration::from_millis(1));
            let mut batch = {
                let mut state = self.lock();
                if state.stalled {
                    continue;
                }
                let mut batch = mem::take(&mut state.queue);
                if self.has(Flaw::ReordersStored) {
                    batch.reverse();
                }
                for queued in &batch {
                    let times = match (queued.answer, self.flaw) {
                        (Answer::Fail, Flaw::LiesOnFailure) => 1,
                        (Answer::Fail, _) => 0,
                        (_, Flaw::StoresTwice) => 2,
                        _ => 1,
                    };
                    for _ in 0..times {
                        state.stored.push(queued.parts.clone());
                    }
                }
                if self.has(Flaw::ReordersStored) {
                    batch.reverse();
                }
                batch
            };
            if self.has(Flaw::ReordersAcks) {
                batch.reverse();
            }
            let panicked = hooks_panicked();
            self.answer(batch);
            if self.has(Flaw::DiesOfPanic) && hooks_panicked() > panicked {
                return;
            }
        }
    }

    fn answer(&self, batch: Vec<Queued>) {
        let mut acks = Acks::new(&self.room, Instant::now());
        for queued in batch {
            if let Some(first) = queued.first {
                self.settle(
                    &mut acks,
                    first,
                    queued.parts.clone(),
                    queued.answer,
                    queued.id,
                );
                thread::sleep(Duration::from_millis(1));
            }
            if self.lock().muted.contains(&queued.id) {
                mem::forget(queued.flight);
                continue;
            }
            self.settle(
                &mut acks,
                queued.flight,
                queued.parts,
                queued.answer,
                queued.id,
            );
        }
        if self.has(Flaw::LeaksRoom) {
            mem::forget(acks);
        }
    }

    fn settle(
        &self,
        acks: &mut Acks<'_>,
        mut flight: Flight,
        mut parts: Parts,
        answer: Answer,
        id: usize,
    ) {
        match answer {
            Answer::Deliver => {
                let placed = Placed {
                    partition: 0,
                    offset: (!self.has(Flaw::ReordersStored)).then_some(id as i64),
                    timestamp: None,
                };
                acks.delivered(&mut flight, placed, parts);
            }
            Answer::Fail => {
                if self.has(Flaw::LosesHeaders) {
                    let mut headers = Headers::new();
                    for (name, value) in &parts.headers {
                        headers.set(name, value).unwrap();
                    }
                    parts.headers = headers;
                }
                acks.failed(flight, Failure::new(Code::RecordTooLarge), parts);
            }
            Answer::Lose => {
                let persistence = match self.flaw {
                    Flaw::LiesOnLoss => Persistence::NotPersisted,
                    _ => Persistence::Unknown,
                };
                let failure = Failure::new(Code::TimedOut).with_persistence(persistence);
                acks.failed(flight, failure, parts);
            }
        }
    }
}

impl Clone for Mini {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            reservation: self.reservation.clone(),
            slots: self.slots.clone(),
            ready: false,
            inherited: self.ready && self.shared.has(Flaw::ClonesReady),
        }
    }
}

impl Drop for Mini {
    fn drop(&mut self) {
        if self.shared.has(Flaw::LeaksReservations) {
            let fresh = self.reservation.clone();
            mem::forget(mem::replace(&mut self.reservation, fresh));
        }
    }
}

impl Service<Record> for Mini {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = Delivery;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        match self.shared.flaw {
            Flaw::ClonesReady if self.inherited => return Poll::Ready(Ok(())),
            Flaw::AlwaysReady if self.shared.room.refused().is_none() => {
                return Poll::Ready(Ok(()));
            }
            Flaw::ReadyAfterClose if self.shared.room.refused().is_some() => {
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        let polled = self.reservation.poll(cx);
        self.ready = matches!(polled, Poll::Ready(Ok(())));
        if self.shared.has(Flaw::Barges) && polled.is_pending() {
            // Out of the line again: who asks next may have the room.
            self.reservation = self.reservation.clone();
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn call(&mut self, record: Record) -> Delivery {
        self.ready = false;
        let shared = Arc::clone(&self.shared);
        if shared.has(Flaw::DropsResends) && record.holds_room() {
            drop(record);
            return Record::default().fail(Failure::new(Code::Dropped));
        }
        let record = match shared.flaw {
            Flaw::ClonesRecord => record.clone(),
            _ => record,
        };
        let mut parts = record;
        let mut flight = parts.take_flight();
        let mut delivery = flight.depart(&mut self.slots);
        let bytes = match shared.flaw {
            Flaw::ChargesNothing => 0,
            _ => parts.payload_len() + 100,
        };
        let admitted =
            if shared.has(Flaw::FailsForRoom) && shared.room.used() > 2 * shared.room.capacity() {
                Err(Failure::new(Code::NoRoom))
            } else {
                self.reservation.admit(&mut flight, bytes)
            };
        if let Err(failure) = admitted {
            Acks::new(&shared.room, Instant::now()).failed(flight, failure, parts);
            return delivery;
        }
        let mut queued = Queued {
            id: 0,
            parts: parts.into_parts(),
            flight,
            answer: Answer::Deliver,
            first: None,
        };
        {
            let mut state = shared.lock();
            state.calls += 1;
            queued.id = state.calls;
            if mem::take(&mut state.fail_next) {
                queued.answer = Answer::Fail;
            } else if mem::take(&mut state.lose_next) {
                queued.answer = Answer::Lose;
            }
        }
        if shared.has(Flaw::CallerFirst) {
            let mut first = Flight::default();
            delivery = first.depart(&mut self.slots);
            queued.first = Some(first);
        }
        let id = queued.id;
        if shared.has(Flaw::Lazy) {
            return Delivery::boxed(Lazy {
                unsent: Some((Arc::clone(&shared), queued)),
                delivery,
            });
        }
        shared.enqueue(queued);
        match shared.flaw {
            Flaw::CancelsOnDrop | Flaw::MutesDropped => Delivery::boxed(Guarded {
                shared,
                id,
                delivery: Some(delivery),
            }),
            Flaw::Disagrees => Delivery::boxed(async {
                let mut metadata = delivery.await?;
                metadata.offset = metadata.offset.map(|offset| offset + 1);
                Ok(metadata)
            }),
            Flaw::KeepsRecord => Delivery::boxed(async {
                delivery.await.map_err(|error| {
                    SendError::new(error.failure().clone()).after_attempts(error.attempts())
                })
            }),
            _ => delivery,
        }
    }
}

struct Lazy {
    unsent: Option<(Arc<Shared>, Queued)>,
    delivery: Delivery,
}

impl Lazy {
    fn send(&mut self) {
        if let Some((shared, queued)) = self.unsent.take() {
            shared.enqueue(queued);
        }
    }
}

impl Future for Lazy {
    type Output = SendResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendResult> {
        self.send();
        Pin::new(&mut self.delivery).poll(cx)
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        self.send();
    }
}

struct Guarded {
    shared: Arc<Shared>,
    id: usize,
    delivery: Option<Delivery>,
}

impl Future for Guarded {
    type Output = SendResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendResult> {
        let delivery = self.delivery.as_mut().unwrap();
        let result = ready!(Pin::new(delivery).poll(cx));
        self.delivery = None;
        Poll::Ready(result)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.delivery.is_none() {
            return;
        }
        let mut state = self.shared.lock();
        if self.shared.has(Flaw::MutesDropped) {
            state.muted.insert(self.id);
            return;
        }
        let at = state.queue.iter().position(|queued| queued.id == self.id);
        let cancelled = at.map(|at| state.queue.remove(at));
        drop(state);
        drop(cancelled);
    }
}

/// The engine on the bench, with or without a flaw.
pub(crate) struct OnMini {
    flaw: Flaw,
    patience: Duration,
    engine: Option<Arc<Shared>>,
}

impl OnMini {
    pub(crate) fn new(flaw: Flaw, patience: Duration) -> Self {
        Self {
            flaw,
            patience,
            engine: None,
        }
    }

    fn engine(&self) -> &Arc<Shared> {
        self.engine.as_ref().expect("made before it is moved")
    }

    fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.lock().stopped = true;
            engine.changed.notify_all();
        }
    }
}

impl Drop for OnMini {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Fixture for OnMini {
    type Service = Mini;

    fn make(&mut self, room: usize) -> Mini {
        self.stop();
        let room = Room::new(room);
        let shared = Arc::new(Shared {
            flaw: self.flaw,
            room: Arc::clone(&room),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        self.engine = Some(Arc::clone(&shared));
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        });
        Mini {
            shared,
            reservation: room.reservation(),
            slots: Slots::default(),
            ready: false,
            inherited: false,
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn room(&mut self) -> Lever<Arc<Room>> {
        Ok(Arc::clone(&self.engine().room))
    }

    fn stall(&mut self) -> Lever {
        self.engine().lock().stalled = true;
        Ok(())
    }

    fn resume(&mut self) -> Lever {
        self.engine().lock().stalled = false;
        self.engine().changed.notify_all();
        Ok(())
    }

    fn fail_next(&mut self, topic: &Topic) -> Lever<Topic> {
        self.engine().lock().fail_next = true;
        Ok(topic.clone())
    }

    fn lose_acknowledgement(&mut self) -> Lever {
        self.engine().lock().lose_next = true;
        Ok(())
    }

    fn close(&mut self, within: Duration) -> Lever<Totals> {
        let engine = Arc::clone(self.engine());
        let before = engine.room.totals();
        engine.room.refuse(Failure::new(Code::Closed));
        let deadline = Instant::now() + within;
        while engine.room.outstanding() > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        engine.room.abandon();
        let left = {
            let mut state = engine.lock();
            state.stopped = true;
            let left = mem::take(&mut state.queue);
            if engine.has(Flaw::CloseLies) {
                state
                    .stored
                    .extend(left.iter().map(|queued| queued.parts.clone()));
            }
            left
        };
        engine.changed.notify_all();
        if engine.has(Flaw::CloseForgets) {
            mem::forget(left);
        } else {
            let mut acks = Acks::new(&engine.room, Instant::now());
            for queued in left {
                let failure = Failure::new(Code::Closed);
                if let Some(first) = queued.first {
                    acks.failed(first, failure.clone(), queued.parts.clone());
                }
                acks.failed(queued.flight, failure, queued.parts);
            }
        }
        let mut totals = engine.room.totals() - before;
        if engine.has(Flaw::CloseMiscounts) {
            totals.delivered += 1;
        }
        Ok(totals)
    }

    fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
        let state = self.engine().lock();
        Ok(state
            .stored
            .iter()
            .filter(|parts| parts.topic == *topic)
            .cloned()
            .collect())
    }
}

//! What travels with a record beside its parts, and how it is unwound.

use std::{iter, ptr, sync::Arc, time::Instant};

use crate::{
    Code, Delivery, Failed, Failure, History, Hook, Interceptor, Outcome, Parts, Persistence,
    Placed, Record, RecordMetadata, Recover, SendError, Snapshot, Topic, View,
    delivery::{Promise, Slots},
    guard::guarded,
    room::{Fate, Permit},
    tokens::{InPlace, Paired},
};

/// The hooks and recoverers of a record, its caller and its room: what an engine keeps from `call` to the
/// acknowledgement and then hands to [`Acks`](crate::Acks).
///
/// Dropping one is an engine's defect; even so, hooks and caller are told, with [`Persistence::Unknown`].
#[derive(Default)]
pub struct Flight {
    pub(crate) frames: Frames,
    pub(crate) promise: Option<Promise>,
    pub(crate) permit: Option<Permit>,
    pub(crate) attempts: u32,
    /// What the record was made of: kept here, so that it comes back with the record whatever an engine keeps of that.
    pub(crate) history: Option<Box<History>>,
}

/// A stack of who waits for the outcome: the outermost at the bottom, the innermost on top.
///
/// The first of them lie in the record itself: two tokens, as of an application's own interceptors and of the default stack's,
/// and one hook or recoverer, as that of the retry layer. Tokens are settled where they lie: to move 70 bytes that were just
/// written holds the processor up for 20 ns.
#[derive(Default)]
pub(crate) struct Frames {
    tokens: [Option<InPlace>; 2],
    frame: Option<Frame>,
    /// How many of the tokens lie below the frame, if there is one.
    below: u8,
    /// What is on top of these. A list, since it is a pointer where there is none.
    above: Option<Box<Above>>,
}

/// A box for any token is not `Unpin`, but nothing in here is ever pinned, so a `Flight` can be.
impl Unpin for Frames {}

struct Above {
    frame: Frame,
    below: Option<Box<Above>>,
}

impl Frames {
    #[inline]
    pub(crate) fn push(&mut self, frame: Frame) {
        if self.frame.is_none() {
            let [outermost, next] = &self.tokens;
            self.below = u8::from(outermost.is_some()) + u8::from(next.is_some());
            self.frame = Some(frame);
        } else {
            let below = self.above.take();
            self.above = Some(Box::new(Above { frame, below }));
        }
    }

    // Inline, down to the library, so that a token is put together where it stays: to copy what was just written, in larger
    // pieces, holds the processor up for 5 ns.
    #[inline(always)]
    pub(crate) fn push_token<I: Interceptor>(&mut self, paired: Paired<I>) {
        let [outermost, next] = &mut self.tokens;
        if self.above.is_none() && outermost.is_none() {
            *outermost = Some(paired.in_place());
        } else if self.above.is_none() && next.is_none() {
            *next = Some(paired.in_place());
        } else {
            self.push(Frame::Hook(Box::new(paired)));
        }
    }

    /// Tells the tokens that are on top, and takes the hook or recoverer below them.
    #[inline]
    fn pop(&mut self, outcome: &Outcome<'_>) -> Option<Frame> {
        if let Some(above) = self.above.take() {
            let Above { frame, below } = *above;
            self.above = below;
            return Some(frame);
        }
        let below = match &self.frame {
            Some(_) => self.below,
            None => 0,
        };
        let [outermost, next] = &mut self.tokens;
        if below < 2 {
            settle(next, outcome);
        }
        if below < 1 {
            settle(outermost, outcome);
        }
        self.frame.take()
    }

    /// Tells all of them, innermost first.
    #[inline]
    fn tell(&mut self, outcome: &Outcome<'_>) {
        while let Some(frame) = self.pop(outcome) {
            frame.tell(outcome);
        }
    }

    fn is_empty(&self) -> bool {
        self.tokens[0].is_none() && self.frame.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Frame> {
        let top = self.above.as_deref();
        let above = iter::successors(top, |above| above.below.as_deref());
        self.frame.iter().chain(above.map(|above| &above.frame))
    }
}

#[inline(always)]
fn settle(place: &mut Option<InPlace>, outcome: &Outcome<'_>) {
    if let Some(token) = place {
        guarded(|| token.settle(outcome));
        // With its reference, perhaps the last to the interceptor, whose end is somebody else's code too.
        guarded(|| *place = None);
    }
}

pub(crate) enum Frame {
    Hook(Box<dyn Hook>),
    /// With its ticket, which lies where nothing else would.
    Recover(Arc<dyn Recover>, u32),
}

impl Frame {
    /// Tells the outcome to who waits for it here. A recoverer gets records, not outcomes.
    #[inline]
    fn tell(self, outcome: &Outcome<'_>) {
        match self {
            Self::Hook(hook) => {
                guarded(|| hook.on_outcome(outcome));
            }
            // Perhaps the last reference to it, and its end is somebody else's code.
            Self::Recover(recover, _) => {
                guarded(|| drop(recover));
            }
        }
    }
}

const _: () = assert!(size_of::<Frame>() == size_of::<Box<dyn Hook>>() + size_of::<usize>());

impl Flight {
    /// Counts an attempt and gives the caller's future. An engine calls it once for each record that it is called with,
    /// before anything that can fail.
    ///
    /// For a record that a recoverer sends again, the first caller's future stays the one that resolves; what is
    /// returned then never does, and is there to be dropped.
    pub fn depart(&mut self, slots: &mut Slots) -> Delivery {
        self.attempts += 1;
        self.promise(slots)
    }

    /// Says where the memory is that settling this record will take, beside its own, and how much. The sender used it last:
    /// an engine that asks the processor for it a record ahead does not wait for it.
    pub fn memory(&self, mut ask: impl FnMut(*const u8, usize)) {
        for token in self.frames.tokens.iter().flatten() {
            if token.is_heap() {
                ask(ptr::from_ref(&**token).cast(), size_of_val(&**token));
            }
        }
        for frame in self.frames.iter() {
            if let Frame::Hook(hook) = frame {
                ask(ptr::from_ref(&**hook).cast(), size_of_val(&**hook));
            }
        }
        if let Some(promise) = &self.promise {
            let slot = promise.slot();
            ask(ptr::from_ref(slot).cast(), size_of_val(slot));
        }
    }

    /// How often the record was handed to an engine.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The caller's future, unless a caller has one already.
    pub(crate) fn promise(&mut self, slots: &mut Slots) -> Delivery {
        if self.promise.is_some() {
            return Delivery::detached();
        }
        let (promise, delivery) = slots.pair();
        self.promise = Some(promise);
        delivery
    }

    /// As new. Only where nobody waits to hear how it ends.
    pub(crate) fn clear(&mut self) {
        let Self {
            frames: _,
            promise: _,
            permit: _,
            attempts,
            history,
        } = self;
        *attempts = 0;
        *history = None;
    }

    /// Whether anybody waits to hear how this ends.
    pub(crate) fn is_watched(&self) -> bool {
        !self.frames.is_empty() || self.promise.is_some() || self.permit.is_some()
    }

    /// Unwinds a delivered record: hooks, innermost first, then the caller. Gives the room back to who settles it.
    pub(crate) fn deliver(
        &mut self,
        placed: Placed,
        record: &mut impl Snapshot,
        at: Instant,
    ) -> Option<Permit> {
        self.unwind_delivered(placed, &record.view(), at);
        if let Some(promise) = self.promise.take() {
            let mut metadata = metadata(placed, &record.view());
            metadata.topic = record.take_topic();
            promise.resolve(Ok(metadata));
        }
        self.permit.take()
    }

    /// As [`deliver`](Self::deliver), for a record that is answered within `call`: the metadata comes back if no
    /// caller was promised it.
    #[inline(always)]
    pub(crate) fn deliver_here(
        &mut self,
        placed: Placed,
        parts: &mut Parts,
        at: Instant,
    ) -> Option<RecordMetadata> {
        if self.promise.is_some() || self.permit.is_some() {
            if let Some(permit) = self.deliver(placed, parts, at) {
                permit.settle(Fate::Delivered);
            }
            return None;
        }
        self.unwind_delivered(placed, &parts.view(), at);
        let mut metadata = metadata(placed, &parts.view());
        metadata.topic = parts.take_topic();
        Some(metadata)
    }

    // Inline, as `deliver_here`, so that the view is made where the outcome lies, and not copied there.
    #[inline(always)]
    fn unwind_delivered(&mut self, placed: Placed, view: &View<'_>, at: Instant) {
        let outcome = Outcome {
            result: Ok(placed),
            record: *view,
            attempts: self.attempts,
            at,
        };
        self.frames.tell(&outcome);
    }

    /// Ends a record whose parts are gone: hooks and caller are told, and nobody gets it back, neither the caller nor a
    /// recoverer: an empty record in its place would be sent again.
    pub(crate) fn abandon(&mut self, failure: Failure, record: &View<'_>) {
        let fate = Fate::from(failure.persistence());
        let outcome = Outcome {
            result: Err(&failure),
            record: *record,
            attempts: self.attempts,
            at: Instant::now(),
        };
        self.frames.tell(&outcome);
        if let Some(promise) = self.promise.take() {
            promise.resolve(Err(SendError::new(failure).after_attempts(self.attempts)));
        }
        if let Some(permit) = self.permit.take() {
            permit.settle(fate);
        }
    }

    /// Unwinds a failed record until a recoverer keeps it, or to the end: then the caller gets it back.
    pub(crate) fn fail(self, failure: Failure, record: impl Snapshot, at: Instant) {
        let fate = Fate::from(failure.persistence());
        if let Some(permit) = self.unwind_failed(failure, record, at) {
            permit.settle(fate);
        }
    }

    /// As [`fail`](Self::fail), with the room given back to who settles it; `None` if a recoverer keeps the record.
    pub(crate) fn unwind_failed(
        mut self,
        failure: Failure,
        record: impl Snapshot,
        at: Instant,
    ) -> Option<Permit> {
        let attempts = self.attempts;
        let outcome = |record| Outcome {
            result: Err(&failure),
            record,
            attempts,
            at,
        };
        while let Some(frame) = self.frames.pop(&outcome(record.view())) {
            if let Frame::Recover(recover, ticket) = frame {
                let record = self.rebuild(record);
                let failed = Failed::new(record, failure, self, ticket);
                guarded(|| recover.recover(failed));
                return None;
            }
            frame.tell(&outcome(record.view()));
        }
        if let Some(promise) = self.promise.take()
            && !promise.is_abandoned()
        {
            let record = self.rebuild(record);
            promise.resolve(Err(SendError::giving_back(failure, record, self.attempts)));
        }
        self.permit.take()
    }

    /// The record as it was sent, and what it was made of. If it is sent again, that is another send.
    fn rebuild(&mut self, record: impl Snapshot) -> Record {
        let mut record = record.into_record();
        record.started = None;
        if let Some(history) = self.history.take() {
            record.history = Some(history);
        }
        record
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.is_watched() {
            let failure = Failure::new(Code::Dropped)
                .with_persistence(Persistence::Unknown)
                .detail("the engine lost the record before it was acknowledged");
            self.abandon(failure, &Parts::default().view());
        }
    }
}

fn metadata(placed: Placed, view: &View<'_>) -> RecordMetadata {
    RecordMetadata {
        // Taken from the record once nothing looks at that any more.
        topic: Topic::default(),
        partition: placed.partition,
        offset: placed.offset,
        timestamp: placed.timestamp.or(view.timestamp),
        serialized_key_size: view.key.map(<[u8]>::len),
        serialized_value_size: view.value.map(<[u8]>::len),
    }
}

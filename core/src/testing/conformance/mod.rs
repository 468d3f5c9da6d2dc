//! The six promises, checked on any [`Produce`]: an engine, a layer on one, a whole stack.
//!
//! What is checked comes as a [`Fixture`]: it makes the service and has levers that stall its acknowledgements, fail a
//! record, close it. [`check`] runs every clause on a service of its own and answers with a [`Report`]. It needs no
//! runtime: acknowledgements may come within `call`, or milliseconds later from a thread of the engine's.
//!
//! **A lever that is missing fails the suite**, since a promise that cannot be tested is not kept. Where a lever is
//! impossible (a mock cluster that cannot lose an acknowledgement) the fixture says so with a reason; the clauses that
//! need it are left out, and the report prints why.
//!
//! # Example
//! ```
//! use std::{sync::Arc, time::Duration};
//! use franking_core::{Code, Failure, Parts, Room, Topic, Totals};
//! use franking_core::testing::{Answer, Scripted};
//! use franking_core::testing::conformance::{Fixture, Lever, check};
//!
//! struct OnTheScriptedEngine(Scripted);
//!
//! impl Fixture for OnTheScriptedEngine {
//!     // Here stands the whole stack that is to be checked.
//!     type Service = Scripted;
//!
//!     fn make(&mut self, room: usize) -> Scripted {
//!         self.0 = Scripted::with_room(room);
//!         self.0.clone()
//!     }
//!     fn room(&mut self) -> Lever<Arc<Room>> {
//!         Ok(Arc::clone(self.0.room()))
//!     }
//!     fn stall(&mut self) -> Lever {
//!         self.0.stall();
//!         Ok(())
//!     }
//!     fn resume(&mut self) -> Lever {
//!         self.0.resume();
//!         Ok(())
//!     }
//!     fn fail_next(&mut self, topic: &Topic) -> Lever<Topic> {
//!         self.0.script(Answer::fail(Failure::new(Code::RecordTooLarge)));
//!         Ok(topic.clone())
//!     }
//!     fn lose_acknowledgement(&mut self) -> Lever {
//!         self.0.script(Answer::lose_acknowledgement());
//!         Ok(())
//!     }
//!     fn close(&mut self, _: Duration) -> Lever<Totals> {
//!         Ok(self.0.close())
//!     }
//!     fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
//!         let stored = self.0.stored().into_iter();
//!         Ok(stored.filter(|s| s.topic == *topic).map(|s| s.parts).collect())
//!     }
//! }
//!
//! check(&mut OnTheScriptedEngine(Scripted::new())).assert();
//! ```
//!
//! # A fixture with brokers
//! | lever | with a broker of its own | with librdkafka's mock cluster |
//! |---|---|---|
//! | `stall`, `resume` | `SIGSTOP`, `SIGCONT` | a round-trip time longer than the stall, and none |
//! | `fail_next` | the name of a topic whose `max.message.bytes` is 1 | an error queued for the next produce request, or that topic |
//! | `lose_acknowledgement` | `SIGSTOP` (`resume` ends it) | a round-trip time beyond `delivery.timeout.ms` |
//! | `stored` | a consumer from offset 0 to the end | the same |
//!
//! `delivery.timeout.ms` is half of the [patience](Fixture::patience); `linger.ms` is small; `topic` creates one. A stack is made
//! in `make` like any service: layers that stamp headers may, and a retry layer leaves `fail_next`'s failure alone, since
//! it is not transient.

mod bench;
mod close;
mod detached;
mod eager;
mod given_back;
mod hooks;
mod order;
mod outcome;
mod report;
mod room;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use self::report::{Clause, Report, Verdict};
use self::{bench::Bench, report::Checked};
use crate::{Parts, Produce, Room, Topic, Totals};

/// What a lever answers.
pub type Lever<T = ()> = Result<T, NoLever>;

/// Why there is no such lever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLever {
    /// Nobody wrote it: the clauses that need it fail.
    Missing,
    /// It cannot be had here, for this reason: the clauses that need it are left out, and the report says so.
    Impossible(&'static str),
}

/// A service under test, and the levers that move what stands behind it.
///
/// Levers are about the service that was made last. One that cannot do its work (the broker does not stop) panics: the
/// clause fails with that.
pub trait Fixture {
    /// The service: an engine, or a stack on one.
    type Service: Produce + Clone + Send + 'static;

    /// A new service on an engine of its own, with a buffer of this many bytes. It shall give up on a record
    /// (`delivery.timeout.ms`) later than any stall of the suite takes, and sooner than the
    /// [`patience`](Self::patience) ends: half of it is right.
    fn make(&mut self, room: usize) -> Self::Service;

    /// A topic that exists and is empty, with one partition or more.
    fn topic(&mut self) -> Topic {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("conformance-{}", NEXT.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// How long to wait for what shall happen. A service that keeps its promises is not slowed by a long one.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The room in the engine's buffer.
    fn room(&mut self) -> Lever<Arc<Room>> {
        Err(NoLever::Missing)
    }

    /// Holds all acknowledgements back: those of records sent from now on, at least. A stall lasts milliseconds.
    fn stall(&mut self) -> Lever {
        Err(NoLever::Missing)
    }

    /// Ends a stall, and whatever [`lose_acknowledgement`](Self::lose_acknowledgement) did to the cluster. Called at
    /// the end of a clause, and also when nothing is stalled.
    fn resume(&mut self) -> Lever {
        Err(NoLever::Missing)
    }

    /// Lets the next record fail for good (not transient, not persisted), and says to which topic it must be sent for
    /// that: to this one, or to one that takes nothing (whose `max.message.bytes` is 1).
    fn fail_next(&mut self, topic: &Topic) -> Lever<Topic> {
        let _ = topic;
        Err(NoLever::Missing)
    }

    /// Lets the next record be stored, or possibly stored, without anybody hearing of it.
    fn lose_acknowledgement(&mut self) -> Lever {
        Err(NoLever::Missing)
    }

    /// Closes the engine: takes no record any more, gives what is outstanding this long, ends the rest, and says how
    /// what was outstanding ended.
    fn close(&mut self, within: Duration) -> Lever<Totals> {
        let _ = within;
        Err(NoLever::Missing)
    }

    /// The records in partition 0 of this topic, by offset.
    fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
        let _ = topic;
        Err(NoLever::Missing)
    }
}

/// One promise, as it is checked.
struct Check<F: Fixture> {
    promise: &'static str,
    name: &'static str,
    room: usize,
    run: fn(&mut Bench<'_, F>) -> Checked,
}

/// Enough that no clause waits for room without meaning it.
const PLENTY: usize = 4 * 1024 * 1024;
/// Little enough to fill.
const LITTLE: usize = 64 * 1024;

fn checks<F: Fixture>() -> Vec<Check<F>> {
    let check = |promise, name, room, run| Check {
        promise,
        name,
        room,
        run,
    };
    vec![
        check("room", "room-is-fair", LITTLE, room::fair),
        check("room", "room-is-bounded", LITTLE, room::bounded),
        check(
            "room",
            "reservations-are-given-back",
            LITTLE,
            room::given_back_on_drop,
        ),
        check(
            "room",
            "settled-records-give-room-back",
            LITTLE,
            room::given_back_when_settled,
        ),
        check(
            "room",
            "a-clone-is-not-ready",
            LITTLE,
            room::clone_inherits_none,
        ),
        check("room", "ready-means-room", LITTLE, room::ready_means_room),
        check(
            "eager",
            "sent-without-a-poll",
            PLENTY,
            eager::without_a_poll,
        ),
        check(
            "one outcome",
            "hook-and-future-agree",
            PLENTY,
            outcome::agree,
        ),
        check(
            "one outcome",
            "not-persisted-is-true",
            PLENTY,
            outcome::not_persisted_is_true,
        ),
        check(
            "one outcome",
            "lost-acknowledgement-is-unknown",
            PLENTY,
            outcome::lost,
        ),
        check(
            "detached",
            "dropped-futures-change-nothing",
            PLENTY,
            detached::dropped,
        ),
        check(
            "given back",
            "failed-records-come-back",
            PLENTY,
            given_back::to_the_caller,
        ),
        check(
            "given back",
            "recoverers-come-first",
            PLENTY,
            given_back::to_recoverers,
        ),
        check("order", "in-the-order-of-calls", PLENTY, order::of_calls),
        check(
            "hooks",
            "hooks-before-the-caller",
            PLENTY,
            hooks::before_the_caller,
        ),
        check(
            "hooks",
            "a-panicking-hook-harms-nothing",
            PLENTY,
            hooks::panic,
        ),
        check("close", "closed-for-good", LITTLE, close::refuses),
        check("close", "close-settles-everything", PLENTY, close::settles),
        check("close", "close-counts", PLENTY, close::counts),
    ]
}

/// Checks every clause, each on a service of its own.
pub fn check<F: Fixture>(fixture: &mut F) -> Report {
    let clauses = checks::<F>().into_iter().map(|check| Clause {
        promise: check.promise,
        name: check.name,
        verdict: report::verdict(|| {
            let mut bench = Bench::new(fixture, check.room);
            (check.run)(&mut bench)
        }),
    });
    Report {
        clauses: clauses.collect(),
    }
}

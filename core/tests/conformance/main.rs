//! The conformance suite on engines that keep their promises, and on engines that break one each.

mod mini;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use franking_core::{
    Code, Failure, Parts, Room, Topic, Totals,
    testing::{
        Answer, Scripted,
        conformance::{Fixture, Lever, NoLever, Verdict, check},
    },
};
use mini::{Flaw, OnMini};

/// One suite at a time: the count of hooks that panicked is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct OnScripted {
    engine: Scripted,
    /// What `stall` answers instead of stalling.
    no_stall: Option<NoLever>,
}

impl OnScripted {
    fn new() -> Self {
        Self {
            engine: Scripted::new(),
            no_stall: None,
        }
    }
}

impl Fixture for OnScripted {
    type Service = Scripted;

    fn make(&mut self, room: usize) -> Scripted {
        self.engine = Scripted::with_room(room);
        self.engine.clone()
    }

    fn room(&mut self) -> Lever<Arc<Room>> {
        Ok(Arc::clone(self.engine.room()))
    }

    fn stall(&mut self) -> Lever {
        match &self.no_stall {
            Some(none) => Err(none.clone()),
            None => {
                self.engine.stall();
                Ok(())
            }
        }
    }

    fn resume(&mut self) -> Lever {
        self.engine.resume();
        Ok(())
    }

    fn fail_next(&mut self, topic: &Topic) -> Lever<Topic> {
        self.engine
            .script(Answer::fail(Failure::new(Code::RecordTooLarge)));
        Ok(topic.clone())
    }

    fn lose_acknowledgement(&mut self) -> Lever {
        self.engine.script(Answer::lose_acknowledgement());
        Ok(())
    }

    fn close(&mut self, _: Duration) -> Lever<Totals> {
        Ok(self.engine.close())
    }

    fn stored(&mut self, topic: &Topic) -> Lever<Vec<Parts>> {
        let stored = self.engine.stored().into_iter();
        Ok(stored
            .filter(|stored| stored.topic == *topic)
            .map(|stored| stored.parts)
            .collect())
    }
}

#[test]
fn the_scripted_engine_keeps_every_promise() {
    let _alone = alone();
    let report = check(&mut OnScripted::new());
    report.assert();
    assert!(
        report
            .clauses()
            .iter()
            .all(|clause| clause.verdict == Verdict::Kept)
    );
}

#[test]
fn an_engine_with_a_thread_of_its_own_keeps_every_promise() {
    let _alone = alone();
    for _ in 0..3 {
        check(&mut OnMini::new(Flaw::None, Duration::from_secs(10))).assert();
    }
}

/// Each flaw, and the clauses that find it.
const FLAWS: &[(Flaw, &[&str])] = &[
    (Flaw::Barges, &["room-is-fair"]),
    (Flaw::ChargesNothing, &["room-is-bounded"]),
    // A room that nobody waits for cannot be fair either.
    (
        Flaw::AlwaysReady,
        &[
            "room-is-fair",
            "room-is-bounded",
            "reservations-are-given-back",
            "a-clone-is-not-ready",
            "ready-means-room",
            "closed-for-good",
        ],
    ),
    (Flaw::LeaksReservations, &["reservations-are-given-back"]),
    (Flaw::LeaksRoom, &["settled-records-give-room-back"]),
    (Flaw::ClonesReady, &["a-clone-is-not-ready"]),
    (Flaw::FailsForRoom, &["ready-means-room"]),
    (Flaw::Lazy, &["sent-without-a-poll"]),
    // Nobody holds the future of what a recoverer sends again.
    (
        Flaw::CancelsOnDrop,
        &["dropped-futures-change-nothing", "recoverers-come-first"],
    ),
    (
        Flaw::MutesDropped,
        &["dropped-futures-change-nothing", "recoverers-come-first"],
    ),
    (Flaw::Disagrees, &["hook-and-future-agree"]),
    (Flaw::StoresTwice, &["hook-and-future-agree"]),
    // Hooks and recoverers hear of a drop, whatever becomes of the clone.
    (
        Flaw::ClonesRecord,
        &[
            "hook-and-future-agree",
            "lost-acknowledgement-is-unknown",
            "recoverers-come-first",
            "close-settles-everything",
            "close-counts",
        ],
    ),
    (Flaw::LiesOnFailure, &["not-persisted-is-true"]),
    (Flaw::LiesOnLoss, &["lost-acknowledgement-is-unknown"]),
    (Flaw::KeepsRecord, &["failed-records-come-back"]),
    (Flaw::LosesHeaders, &["failed-records-come-back"]),
    (Flaw::DropsResends, &["recoverers-come-first"]),
    (Flaw::ReordersAcks, &["in-the-order-of-calls"]),
    (Flaw::ReordersStored, &["in-the-order-of-calls"]),
    // The caller also hears of an attempt that a recoverer makes good.
    (
        Flaw::CallerFirst,
        &["recoverers-come-first", "hooks-before-the-caller"],
    ),
    (Flaw::DiesOfPanic, &["a-panicking-hook-harms-nothing"]),
    (Flaw::ReadyAfterClose, &["closed-for-good"]),
    (Flaw::CloseForgets, &["close-settles-everything"]),
    (Flaw::CloseLies, &["close-settles-everything"]),
    (Flaw::CloseMiscounts, &["close-counts"]),
];

#[test]
fn every_flaw_is_found_by_its_clause() {
    let _alone = alone();
    for (flaw, clauses) in FLAWS {
        // Most flaws show when nothing comes, which need not take long. Where a busy machine is slower than that, other
        // clauses fail as well: then again, with patience.
        let hasty = check(&mut OnMini::new(*flaw, Duration::from_millis(400)));
        let report = match hasty.broken() == *clauses {
            true => hasty,
            false => check(&mut OnMini::new(*flaw, Duration::from_secs(4))),
        };
        assert_eq!(report.broken(), *clauses, "{flaw:?}:\n{report}");
    }
}

#[test]
fn every_clause_finds_a_flaw() {
    let _alone = alone();
    for clause in check(&mut OnScripted::new()).clauses() {
        assert!(
            FLAWS.iter().any(|(_, found)| found.contains(&clause.name)),
            "{} finds no flaw",
            clause.name
        );
    }
}

#[test]
fn a_missing_lever_fails_the_suite_and_an_impossible_one_is_told() {
    let _alone = alone();
    let mut fixture = OnScripted::new();
    fixture.no_stall = Some(NoLever::Missing);
    let report = check(&mut fixture);
    assert!(report.broken().contains(&"close-counts"), "{report}");
    assert!(
        report
            .to_string()
            .contains("the fixture has no lever `stall`")
    );

    fixture.no_stall = Some(NoLever::Impossible("the cluster answers too fast"));
    let report = check(&mut fixture);
    report.assert();
    assert!(report.to_string().contains("the cluster answers too fast"));
}

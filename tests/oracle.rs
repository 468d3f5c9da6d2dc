//! The oracle finds every kind of lie, by its name, and accuses nobody who told the truth.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use franking::middleware::audit::{Audit, Balance};
use franking::testing::{Answer, Scripted, send};
use franking::{Code, Failure, InterceptorLayer, Persistence, Record, SendError};
use support::oracle::{Clause, Copy, Heard, History, Judge, Verdict};
use tower::Layer as _;
use tower::Service as _;

/// A run through real layers and the scripted engine, and what is known of it.
struct Run {
    history: History,
    copies: Vec<Copy>,
    audit: Balance,
    limit: Duration,
}

const STREAMS: u32 = 3;
const RECORDS: u32 = 120;

impl Run {
    /// Records of every outcome, truthfully told.
    fn truthful() -> Self {
        let engine = Scripted::new();
        let history = History::new();
        let audit = Arc::new(Audit::new());
        let mut stack = history
            .layer()
            .layer(InterceptorLayer::new(Arc::clone(&audit)).layer(engine.clone()));
        for n in 0..RECORDS {
            let stream = n % STREAMS;
            let id = history.sends(stream);
            // Streams 0 and 2 share a partition.
            let record = Record::new("t")
                .partition(i32::from(stream == 1))
                .value(history.value(id, 20));
            match n % 10 {
                0 => {
                    engine.script(answer(n));
                    history.forgets(id);
                    drop(stack.call(record));
                }
                // Before it came into the stack.
                1 => {
                    let failure = Failure::new(Code::NoRoom);
                    history.hears(id, &Err(SendError::new(failure)));
                }
                _ => {
                    engine.script(answer(n));
                    history.hears(id, &send(&mut stack, record));
                }
            }
        }
        let stored = engine.stored();
        let copies = stored.iter().map(|stored| Copy {
            partition: stored.partition,
            offset: stored.offset,
            id: history.id_in(stored.parts.value.as_deref()),
        });
        Self {
            copies: copies.collect(),
            history,
            audit: audit.totals(),
            limit: Duration::from_secs(60),
        }
    }

    fn verdict(&self) -> Verdict {
        Judge::of(&self.history, &self.copies)
            .audit(self.audit.clone())
            .progress(self.limit)
            .verdict()
    }

    /// A record that was delivered, and stored with an offset that was told.
    fn delivered(&self) -> (usize, u64) {
        self.find(|n| n % 10 > 1 && n % 6 == 0)
    }

    fn find(&self, wanted: impl Fn(u32) -> bool) -> (usize, u64) {
        let copies = self.copies.iter().enumerate();
        let mut found = copies.map(|(index, copy)| (index, copy.id.unwrap()));
        found.find(|(_, id)| wanted(*id as u32)).unwrap()
    }
}

fn answer(n: u32) -> Answer {
    let failure = Failure::new(Code::TimedOut);
    match n % 6 {
        1 => Answer::deliver_without_offset(),
        2 => Answer::fail(failure),
        3 => Answer::fail(failure.with_persistence(Persistence::Unknown)),
        4 => Answer::lose_acknowledgement(),
        5 => Answer::refuse_at_once(failure),
        _ => Answer::deliver(),
    }
}

/// Plants a lie into a truthful run. The oracle must find it, and nothing else.
fn finds(clause: Clause, plant: impl FnOnce(&mut Run)) -> Verdict {
    let mut run = Run::truthful();
    assert_eq!(run.verdict().violated(), []);
    plant(&mut run);
    let verdict = run.verdict();
    assert_eq!(verdict.violated(), [clause], "{verdict}");
    assert_eq!(verdict.times(clause), 1);
    let told = std::panic::catch_unwind(|| verdict.must_hold("planted")).unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    assert!(told.contains(&format!("{clause:?}")), "{told}");
    verdict
}

#[test]
fn a_truthful_run_is_believed() {
    let run = Run::truthful();
    let verdict = run.verdict();
    verdict.must_hold("truthful");
    assert_eq!(verdict.sent, u64::from(RECORDS));
    // Every outcome and both kinds of application were there, or the other tests would prove little.
    let (acked, failed, unknown) = (verdict.acked, verdict.not_persisted, verdict.unknown);
    assert!(acked > 20 && failed > 20 && unknown > 20, "{verdict}");
    assert_eq!(acked + failed + unknown, verdict.sent);
    assert!(verdict.stored > acked, "some of the unknown are stored");
    assert_eq!(verdict.stored as usize, run.copies.len());
    assert_eq!(
        (verdict.lost, verdict.doubled, verdict.inverted),
        (0, 0, 0),
        "{verdict}"
    );
    assert_eq!(run.history.acked(), acked);
    assert_eq!(
        run.history.acked_by_partition().iter().sum::<u64>(),
        acked,
        "of partitions"
    );
    assert_eq!(run.history.in_flight(), 0);
}

#[test]
fn the_figures_are_on_one_line() {
    let line = Run::truthful().verdict().to_string();
    assert_eq!(line.lines().count(), 1);
    for figure in [
        "120 sent",
        " acked",
        " not persisted",
        " unknown",
        " 0 lost",
        " 0 doubled",
        " 0 inverted",
        "longest stall 0.",
    ] {
        assert!(line.contains(figure), "{figure} in {line}");
    }
}

#[test]
fn finds_an_acknowledged_record_that_is_not_stored() {
    let verdict = finds(Clause::AckedIsStored, |run| {
        let (index, _) = run.delivered();
        run.copies.remove(index);
    });
    assert_eq!(verdict.lost, 1);
}

#[test]
fn finds_a_record_that_is_stored_although_it_is_said_not_to_be() {
    finds(Clause::NotPersistedIsNotStored, |run| {
        let copy = Copy {
            partition: 7,
            offset: 0,
            // Said by the engine, to the application and the hook.
            id: Some(2),
        };
        run.copies.push(copy);
    });
}

#[test]
fn finds_a_record_that_is_stored_although_it_never_came_into_the_stack() {
    finds(Clause::NotPersistedIsNotStored, |run| {
        let id = run.history.sends(0);
        run.history.forgets(id);
        run.copies.push(Copy {
            partition: 7,
            offset: 0,
            id: Some(id),
        });
    });
}

#[test]
fn finds_a_stored_record_that_nobody_sent() {
    finds(Clause::StoredWasSent, |run| {
        let (index, _) = run.find(|n| n % 6 == 4);
        // It may be in the topic or not, so that nothing else is wrong.
        run.copies[index].id = None;
    });
    finds(Clause::StoredWasSent, |run| {
        run.copies.push(Copy {
            partition: 0,
            offset: 10_000,
            id: Some(u64::from(RECORDS)),
        });
    });
    // The records of another run have another tag.
    let (one, other) = (History::new(), History::new());
    let value = one.value(one.sends(0), 16);
    assert_eq!(one.id_in(Some(&value)), Some(0));
    assert_eq!(other.id_in(Some(&value)), None);
    assert_eq!(one.id_in(Some(b"short")), None);
    assert_eq!(one.id_in(None), None);
}

#[test]
fn finds_a_second_copy() {
    let verdict = finds(Clause::OneCopy, |run| {
        let copy = run.copies[run.delivered().0];
        run.copies.push(Copy {
            offset: 10_000,
            ..copy
        });
    });
    assert_eq!(verdict.doubled, 1);
    // Also of a record of which nobody knows whether there is a first one.
    finds(Clause::OneCopy, |run| {
        let copy = run.copies[run.find(|n| n % 6 == 4).0];
        run.copies.push(Copy {
            offset: 10_000,
            ..copy
        });
    });
}

#[test]
fn finds_a_record_behind_a_later_one() {
    let verdict = finds(Clause::Order, |run| {
        // One whose place nobody was told.
        let (index, _) = run.find(|n| n % 6 == 4);
        run.copies[index].offset += 10_000;
    });
    assert_eq!(verdict.inverted, 1);
}

#[test]
fn finds_a_record_that_is_not_where_its_acknowledgement_says() {
    finds(Clause::OffsetIsTrue, |run| {
        let (index, _) = run.delivered();
        run.copies[index].partition = 7;
    });
    finds(Clause::OffsetIsTrue, |run| {
        // The last of its partition, so that the order stays.
        let last = run
            .copies
            .iter()
            .rposition(|copy| copy.id.unwrap() % 6 == 0);
        run.copies[last.unwrap()].offset += 1_000;
    });
    // Without an offset the partition must be true.
    finds(Clause::OffsetIsTrue, |run| {
        let (index, _) = run.find(|n| n % 10 > 1 && n % 6 == 1);
        run.copies[index].partition = 7;
    });
}

#[test]
fn finds_an_outcome_too_many_and_one_that_never_came() {
    finds(Clause::OneOutcome, |run| {
        let (_, id) = run.delivered();
        run.history.application_hears(id, Heard::Unknown);
    });
    finds(Clause::OneOutcome, |run| {
        // Nobody knows anything of this one, but somebody waits.
        run.history.sends(0);
    });
}

#[test]
fn finds_a_hook_that_is_unwound_twice_or_never() {
    finds(Clause::OneHook, |run| {
        let (_, id) = run.delivered();
        run.history.hook_hears(id, Heard::Unknown, Instant::now());
    });
    finds(Clause::OneHook, |run| {
        let id = run.history.sends(0);
        run.history.application_hears(id, Heard::Unknown);
        run.history.enters(id);
        run.audit.attempted.records += 1;
        run.audit.in_flight.records += 1;
    });
    // Through the layer, with an engine that loses what it took.
    finds(Clause::OneHook, |run| {
        let id = run.history.sends(0);
        run.history.forgets(id);
        let engine = Scripted::new();
        engine.stall();
        let mut stack = run.history.layer().layer(engine.clone());
        drop(stack.call(Record::new("t").value(run.history.value(id, 16))));
        // Its queue is never settled.
        std::mem::forget(engine);
        run.audit.attempted.records += 1;
        run.audit.in_flight.records += 1;
    });
}

#[test]
fn finds_that_application_and_hook_heard_different_things() {
    for heard in [
        Heard::NotPersisted,
        Heard::Unknown,
        Heard::Delivered {
            partition: 0,
            offset: Some(10_000),
        },
    ] {
        finds(Clause::Agreement, |run| {
            let (_, id) = run.find(|n| n % 10 == 0 && n % 6 == 0);
            // It had dropped its future, so that it heard nothing so far.
            run.history.application_hears(id, heard);
        });
    }
    finds(Clause::Agreement, |run| {
        let id = run.history.sends(0);
        // It says so itself, and never was in the stack.
        run.history.application_hears(id, Heard::Unknown);
    });
}

#[test]
fn finds_an_audit_that_does_not_balance_or_counted_something_else() {
    finds(Clause::AuditBalances, |run| {
        run.audit.attempted.records += 1
    });
    finds(Clause::AuditBalances, |run| run.audit.unknown.bytes += 1);
    finds(Clause::AuditBalances, |run| {
        // It balances, and is not true.
        run.audit.unknown.records -= 1;
        run.audit.delivered.records += 1;
    });
}

#[test]
fn finds_a_standstill() {
    let verdict = finds(Clause::Progress, |run| {
        let id = run.history.sends(0);
        run.history.enters(id);
        let later = Instant::now() + Duration::from_secs(61);
        run.history.hook_hears(id, Heard::Unknown, later);
        run.history.application_hears(id, Heard::Unknown);
        run.audit.attempted.records += 1;
        run.audit.unknown.records += 1;
    });
    assert!(verdict.longest_stall >= Duration::from_secs(61));
}

#[test]
fn nothing_in_flight_is_no_standstill() {
    let history = History::new();
    let start = Instant::now();
    let heard = Heard::Delivered {
        partition: 0,
        offset: None,
    };
    for n in 0..2 {
        let id = history.sends(0);
        history.enters(id);
        history.hook_hears(id, heard, start + Duration::from_millis(n));
    }
    std::thread::sleep(Duration::from_millis(30));
    let verdict = Judge::of(&history, &[]).verdict();
    assert!(verdict.longest_stall < Duration::from_millis(30));
    // But one that is in flight, and forgotten by everybody, is one.
    history.enters(history.sends(0));
    std::thread::sleep(Duration::from_millis(30));
    let verdict = Judge::of(&history, &[]).verdict();
    assert!(verdict.longest_stall >= Duration::from_millis(30));
}

#[test]
fn finds_the_numbers_of_records_within_a_request() {
    let history = History::new();
    let values: Vec<_> = (0..3)
        .map(|_| history.value(history.sends(0), 20))
        .collect();
    let other = History::new();
    let other = other.value(other.sends(0), 20);
    let bytes = [b"head", &values[2][..], &other, &values[0], b"tail"].concat();
    assert_eq!(history.ids_within(&bytes), [2, 0]);
    assert!(history.ids_within(b"").is_empty());
}

#[test]
fn a_clause_that_a_test_excuses_is_not_asked_for_but_counted() {
    let mut run = Run::truthful();
    let (index, _) = run.delivered();
    run.copies.remove(index);
    let judge = Judge::of(&run.history, &run.copies);
    let verdict = judge.without(Clause::AckedIsStored).verdict();
    assert_eq!(verdict.violated(), []);
    assert_eq!(verdict.lost, 1);
}

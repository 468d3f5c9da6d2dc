//! What may be noted of a record, and what may not.

use std::sync::Mutex;

use franking_core::{Code, Failure, Persistence};

/// Delivered with this offset, or failed with this code.
pub(super) type End = Result<Option<i64>, (Code, Persistence)>;

pub(super) fn end(result: Result<Option<i64>, &Failure>) -> End {
    result.map_err(|failure| (failure.code().clone(), failure.persistence()))
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// An interceptor let the record pass, and shall hear of it.
    Entered(usize),
    /// An interceptor heard the outcome, of its own record or another's.
    Left {
        layer: usize,
        end: End,
        attempts: u32,
        own: bool,
    },
    /// A recoverer stands on the record.
    Pushed(usize),
    /// The recoverer got the record.
    Recovered { layer: usize, attempts: u32 },
    /// A recoverer's holder sends it again.
    Resent,
    /// The engine was called, and was it closed already?
    Called { ended: bool },
    /// The caller left a callback, and is owed an answer.
    CallBack,
    /// The caller's future resolved, or its callback was called; `back` if it holds the record as it was sent.
    Told { end: End, attempts: u32, back: bool },
}

/// What was noted, in order.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<(u32, Event)>>);

impl Log {
    pub(super) fn note(&self, record: u32, event: Event) {
        self.0.lock().unwrap().push((record, event));
    }

    pub(super) fn of(&self, record: u32) -> Vec<Event> {
        let all = self.0.lock().unwrap();
        let own = all.iter().filter(|(number, _)| *number == record);
        own.map(|(_, event)| event.clone()).collect()
    }
}

/// What became of a record.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) end: End,
    pub(super) calls: u32,
    /// An open engine had it.
    pub(super) accepted: bool,
    pub(super) recovered: usize,
    pub(super) told: bool,
}

enum Frame {
    Hook(usize),
    Recover(usize),
}

macro_rules! demand {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// Reads the events of one record. Whoever let it pass hears of it once, innermost first, all the same of one attempt,
/// with the right number of attempts; a recoverer gets it after those inside of it and before those outside; and the
/// caller is told last, what the outermost heard, with the record if it failed.
pub(super) fn judge(events: &[Event]) -> Result<Verdict, String> {
    let mut frames = Vec::new();
    // What is heard in the unwinding that goes on.
    let mut unwinding: Option<End> = None;
    let (mut calls, mut recovered) = (0, 0);
    let (mut accepted, mut owed, mut told) = (false, false, false);
    for event in events {
        demand!(!told, "{event:?} after the caller was told");
        match event {
            Event::Entered(layer) => {
                frames.push(Frame::Hook(*layer));
                unwinding = None;
            }
            Event::Pushed(layer) => {
                frames.push(Frame::Recover(*layer));
                unwinding = None;
            }
            Event::CallBack => owed = true,
            Event::Resent => unwinding = None,
            Event::Called { ended } => {
                calls += 1;
                accepted |= !ended;
                unwinding = None;
            }
            Event::Left {
                layer,
                end,
                attempts,
                own,
            } => {
                // A recoverer has nothing to do with a success.
                while end.is_ok() && matches!(frames.last(), Some(Frame::Recover(_))) {
                    frames.pop();
                }
                demand!(own, "layer {layer} heard of another record");
                demand!(
                    matches!(frames.pop(), Some(Frame::Hook(top)) if top == *layer),
                    "layer {layer} heard {end:?} out of turn"
                );
                demand!(*attempts == calls, "{attempts} attempts of {calls}");
                let first = unwinding.get_or_insert_with(|| end.clone());
                demand!(first == end, "one heard {first:?}, the next {end:?}");
            }
            Event::Recovered { layer, attempts } => {
                recovered += 1;
                demand!(
                    matches!(frames.pop(), Some(Frame::Recover(top)) if top == *layer),
                    "recoverer {layer} got the record out of turn"
                );
                demand!(*attempts == calls, "{attempts} attempts of {calls}");
                demand!(!matches!(unwinding, Some(Ok(_))), "recovered from success");
            }
            Event::Told {
                end,
                attempts,
                back,
            } => {
                told = true;
                demand!(frames.is_empty(), "the caller was told before the layers");
                demand!(
                    unwinding.as_ref() == Some(end),
                    "the caller was told {end:?}"
                );
                demand!(end.is_ok() || *back, "the record did not come back");
                demand!(
                    end.is_ok() || *attempts == calls,
                    "{attempts} attempts of {calls}"
                );
            }
        }
    }
    demand!(frames.is_empty(), "{} layers did not hear", frames.len());
    demand!(told || !owed, "the callback was not called");
    let end = unwinding.ok_or("nobody heard anything")?;
    Ok(Verdict {
        end,
        calls,
        accepted,
        recovered,
        told,
    })
}

/// The judge is worth as much as what it refuses.
#[test]
fn what_is_wrong_is_refused() {
    use Event::{Entered, Pushed};
    const CALLED: Event = Event::Called { ended: false };
    let failed = || Err((Code::TimedOut, Persistence::NotPersisted));
    let left = |layer, end: End| Event::Left {
        layer,
        end,
        attempts: 1,
        own: true,
    };
    let told = |end: End| Event::Told {
        end,
        attempts: 1,
        back: true,
    };
    let recovered = |layer| Event::Recovered { layer, attempts: 1 };
    let good = [
        vec![Entered(0), CALLED, left(0, Ok(None)), told(Ok(None))],
        vec![Entered(0), Pushed(1), CALLED, left(0, Ok(Some(1)))],
        vec![
            Entered(0),
            Pushed(1),
            CALLED,
            recovered(1),
            left(0, failed()),
            told(failed()),
        ],
    ];
    for events in good {
        judge(&events).unwrap();
    }
    let wrong = [
        // Heard twice, never, or of something else.
        vec![Entered(0), CALLED, left(0, Ok(None)), left(0, Ok(None))],
        vec![Entered(0), CALLED],
        vec![Entered(0), Entered(1), CALLED, left(1, Ok(None))],
        vec![Entered(0), CALLED, left(0, Ok(None)), told(Ok(Some(1)))],
        vec![
            Entered(0),
            Entered(1),
            CALLED,
            left(1, Ok(None)),
            left(0, failed()),
        ],
        vec![
            Entered(0),
            CALLED,
            Event::Left {
                layer: 0,
                end: Ok(None),
                attempts: 1,
                own: false,
            },
        ],
        // In the wrong order.
        vec![
            Entered(0),
            Entered(1),
            CALLED,
            left(0, Ok(None)),
            left(1, Ok(None)),
        ],
        vec![Entered(0), CALLED, told(Ok(None)), left(0, Ok(None))],
        vec![
            Entered(0),
            Pushed(1),
            CALLED,
            left(0, failed()),
            recovered(1),
        ],
        vec![Entered(0), Pushed(1), CALLED, left(0, failed())],
        vec![
            Entered(0),
            Pushed(1),
            Entered(2),
            CALLED,
            recovered(1),
            left(2, failed()),
            left(0, failed()),
        ],
        // Not told, told twice, or with the wrong number of attempts, or without the record.
        vec![Entered(0), CALLED, left(0, Ok(None)), Event::CallBack],
        vec![
            Entered(0),
            CALLED,
            left(0, failed()),
            told(failed()),
            told(failed()),
        ],
        vec![Entered(0), CALLED, CALLED, left(0, Ok(None))],
        vec![
            Entered(0),
            CALLED,
            left(0, failed()),
            Event::Told {
                end: failed(),
                attempts: 2,
                back: true,
            },
        ],
        vec![
            Entered(0),
            CALLED,
            left(0, failed()),
            Event::Told {
                end: failed(),
                attempts: 1,
                back: false,
            },
        ],
    ];
    for events in wrong {
        assert!(judge(&events).is_err(), "{events:?}");
    }
}

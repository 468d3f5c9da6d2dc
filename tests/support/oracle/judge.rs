//! Compares the accounts of a run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use franking::middleware::audit::Balance;

use super::heard::Note;
use super::history::Notes;
use super::{Clause, Copy, Heard, History, Verdict};

/// Judges a run that is over: nothing may be in flight.
pub struct Judge<'a> {
    history: &'a History,
    copies: &'a [Copy],
    audit: Option<Balance>,
    limit: Option<Duration>,
    excused: Vec<Clause>,
}

impl<'a> Judge<'a> {
    pub fn of(history: &'a History, copies: &'a [Copy]) -> Self {
        Self {
            history,
            copies,
            audit: None,
            limit: None,
            excused: vec![],
        }
    }

    /// With the totals of an audit that saw this run, and nothing else.
    pub fn audit(mut self, totals: Balance) -> Self {
        self.audit = Some(totals);
        self
    }

    /// No longer than this without an acknowledgement, while records are in flight.
    pub fn progress(mut self, longest: Duration) -> Self {
        self.limit = Some(longest);
        self
    }

    /// Does not ask for this clause. The figures stay.
    pub fn without(mut self, clause: Clause) -> Self {
        self.excused.push(clause);
        self
    }

    pub fn verdict(self) -> Verdict {
        let notes = self.history.lock();
        let mut verdict = Verdict::default();
        let found = Found::of(self.copies, &notes, &mut verdict);
        for (id, note) in notes.records.iter().enumerate() {
            judge_outcomes(id, note, &mut verdict);
            judge_storing(id, note, &found, &mut verdict);
        }
        if let Some(audit) = &self.audit {
            judge_audit(audit, &notes, &mut verdict);
        }
        verdict.longest_stall = notes.longest_stall(Instant::now());
        if let Some(limit) = self.limit.filter(|limit| verdict.longest_stall > *limit) {
            let stall = verdict.longest_stall;
            verdict.violate(Clause::Progress, || {
                format!("{stall:?} without an acknowledgement, where {limit:?} is the limit")
            });
        }
        for clause in self.excused {
            verdict.excuse(clause);
        }
        verdict
    }
}

/// What the topic says of each record.
struct Found {
    /// How many copies, by number.
    copies: Vec<u32>,
    /// The first of them in the order of the partitions.
    first: Vec<Option<Copy>>,
    /// Whether one of them is where the acknowledgement said.
    in_place: Vec<bool>,
}

impl Found {
    fn of(copies: &[Copy], notes: &Notes, verdict: &mut Verdict) -> Self {
        let mut found = Self {
            copies: vec![0; notes.records.len()],
            first: vec![None; notes.records.len()],
            in_place: vec![false; notes.records.len()],
        };
        let mut copies = copies.to_vec();
        copies.sort_unstable_by_key(|copy| (copy.partition, copy.offset));
        verdict.stored = copies.len() as u64;
        // The latest record of a stream that a partition has so far.
        let mut latest: HashMap<(i32, u32), usize> = HashMap::new();
        for copy in copies {
            let id = copy.id.map(|id| id as usize);
            let Some((id, note)) = id.and_then(|id| Some((id, notes.records.get(id)?))) else {
                verdict.violate(Clause::StoredWasSent, || format!("{copy:?}"));
                continue;
            };
            found.in_place[id] |= is_there(&copy, note);
            found.copies[id] += 1;
            if found.copies[id] > 1 {
                // The first copy stands for the order.
                if found.copies[id] == 2 {
                    verdict.doubled += 1;
                }
                let first = found.first[id];
                verdict.violate(Clause::OneCopy, || format!("{copy:?} beside {first:?}"));
                continue;
            }
            found.first[id] = Some(copy);
            let latest = latest.entry((copy.partition, note.stream)).or_insert(id);
            if id < *latest {
                verdict.inverted += 1;
                verdict.violate(Clause::Order, || {
                    format!("{copy:?} is behind {latest} of stream {}", note.stream)
                });
            }
            *latest = id.max(*latest);
        }
        found
    }
}

/// Whether the copy is where the acknowledgement said, as far as it said it.
fn is_there(copy: &Copy, note: &Note) -> bool {
    match note.hook.heard.or(note.application.heard) {
        Some(Heard::Delivered { partition, offset }) => {
            partition == copy.partition && offset.is_none_or(|offset| offset == copy.offset)
        }
        _ => false,
    }
}

/// What was heard of a record, by whom, and how often.
fn judge_outcomes(id: usize, note: &Note, verdict: &mut Verdict) {
    let Note {
        application, hook, ..
    } = note;
    verdict.sent += 1;
    match hook.heard.or(application.heard) {
        Some(Heard::Delivered { .. }) => verdict.acked += 1,
        Some(Heard::NotPersisted) => verdict.not_persisted += 1,
        Some(Heard::Unknown) => verdict.unknown += 1,
        None => {}
    }
    // One that dropped its future may have heard before, but not twice.
    let (times, waits) = (application.times, application.waits);
    if times > 1 || times < waits {
        verdict.violate(Clause::OneOutcome, || {
            format!("record {id} has {times} outcomes")
        });
    }
    // None was left if the record was refused before it came into the stack.
    if hook.waits > 1 || hook.times != hook.waits {
        verdict.violate(Clause::OneHook, || format!("record {id}: {hook:?}"));
    }
    let agree = match (application.heard, hook.heard) {
        (Some(application), Some(hook)) => application == hook,
        // What did not come into the stack cannot have been delivered.
        (Some(application), None) => hook.waits > 0 || application == Heard::NotPersisted,
        (None, _) => true,
    };
    if !agree {
        verdict.violate(Clause::Agreement, || format!("record {id}: {note:?}"));
    }
}

/// What was heard of a record, and what is in the topic.
fn judge_storing(id: usize, note: &Note, found: &Found, verdict: &mut Verdict) {
    let stored = found.copies[id] > 0;
    // What never came into the stack was not sent, even if nobody waited to hear so.
    let refused = (note.hook.waits == 0).then_some(Heard::NotPersisted);
    match note.hook.heard.or(note.application.heard).or(refused) {
        Some(heard @ Heard::Delivered { .. }) => {
            if !stored {
                verdict.lost += 1;
                verdict.violate(Clause::AckedIsStored, || {
                    format!("record {id} ({heard:?}) is not there")
                });
            } else if !found.in_place[id] {
                verdict.violate(Clause::OffsetIsTrue, || {
                    format!("record {id} is not where it was said to be: {heard:?}")
                });
            }
        }
        Some(Heard::NotPersisted) if stored => {
            verdict.violate(Clause::NotPersistedIsNotStored, || {
                format!("record {id} is there")
            });
        }
        Some(Heard::NotPersisted | Heard::Unknown) | None => {}
    }
}

fn judge_audit(audit: &Balance, notes: &Notes, verdict: &mut Verdict) {
    let mut heard = [0_u64; 5];
    for Note { hook, .. } in &notes.records {
        heard[0] += u64::from(hook.waits);
        heard[match hook.heard {
            Some(Heard::Delivered { .. }) => 1,
            Some(Heard::NotPersisted) => 2,
            Some(Heard::Unknown) => 3,
            None if hook.waits > 0 => 4,
            None => continue,
        }] += 1;
    }
    let counted = [
        audit.attempted.records,
        audit.delivered.records,
        audit.not_persisted.records,
        audit.unknown.records,
        audit.in_flight.records,
    ];
    if !audit.holds() || counted != heard {
        verdict.violate(Clause::AuditBalances, || {
            format!("the hook heard {heard:?} [attempted, delivered, not persisted, unknown, in flight], and the audit has {audit:?}")
        });
    }
}

//! What a consumer would take for ours, decided without a line of the code that is tested.

use franking::Headers;
use franking::provenance::{Provenance, Reader};

use crate::forger::{
    CONSUMED_ID, CONSUMED_ORIGIN, CONSUMED_SIGNATURE, FORGED_ID, FORGED_TRACE, Kind, OWN,
};

/// Whose a name is, to the laxest consumer that there may be: it trims as Java's `trim` and `strip` do, and compares as
/// Java's `equalsIgnoreCase` does, or by lower case, or by upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Nobodys,
    /// Byte for byte.
    Ours,
    /// If one is lax.
    Variant,
    /// A trace context's name, byte for byte or if one is lax.
    Trace {
        exact: bool,
    },
}

pub(crate) fn whose(name: &str, own: bool) -> Whose {
    let trimmed = name.trim_matches(|char: char| char <= ' ' || char.is_whitespace());
    let lax = |ours: &str| same(trimmed, ours);
    let schema = trimmed
        .char_indices()
        .filter(|(_, char)| *char == '-')
        .any(|(at, _)| {
            let digits = trimmed[..at].trim_end_matches(|char: char| char.is_ascii_digit());
            same(digits, "prov")
        });
    let exact = |name: &str| {
        let begun = name.strip_prefix("prov");
        begun.is_some_and(|rest| {
            rest.trim_start_matches(|char: char| char.is_ascii_digit())
                .starts_with('-')
        }) || (own && OWN.contains(&name))
    };
    for ours in ["traceparent", "tracestate"] {
        if lax(ours) {
            return Whose::Trace {
                exact: name == ours,
            };
        }
    }
    if exact(name) {
        Whose::Ours
    } else if schema || (own && OWN.iter().any(|ours| lax(ours))) {
        Whose::Variant
    } else {
        Whose::Nobodys
    }
}

fn same(a: &str, b: &str) -> bool {
    let upper = |char: char| char.to_uppercase().next().unwrap();
    let lower = |char: char| char.to_lowercase().next().unwrap();
    let java = a.chars().count() == b.chars().count()
        && a.chars()
            .zip(b.chars())
            .all(|(a, b)| a == b || upper(a) == upper(b) || lower(upper(a)) == lower(upper(b)));
    java || a.to_lowercase() == b.to_lowercase() || a.to_uppercase() == b.to_uppercase()
}

/// How many headers of a record the stack has to remove, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: u64,
    pub(crate) variant: u64,
    pub(crate) changed: u64,
    /// Variants of a trace context's names: those are the trace layer's to remove.
    pub(crate) trace: u64,
    /// What looks alike and is nobody's: it stays.
    pub(crate) left: u64,
}

impl Due {
    pub(crate) fn of(headers: &Headers, kind: Kind, own: bool) -> Self {
        let mut due = Self::default();
        let at = |index: usize| {
            if own {
                OWN[index]
            } else {
                ["prov-id", "prov-origin", "prov-seq"][index]
            }
        };
        let mut ours = vec![at(0), at(1), at(2)];
        let consumed = [
            (at(0), CONSUMED_ID),
            (at(1), CONSUMED_ORIGIN),
            (at(2), "5"),
            (if own { OWN[6] } else { "prov-sig" }, CONSUMED_SIGNATURE),
        ];
        for (name, value) in headers {
            match whose(name, own) {
                Whose::Variant => due.variant += 1,
                Whose::Trace { exact } => due.trace += u64::from(!exact),
                Whose::Nobodys => due.left += u64::from(!name.starts_with("mine-")),
                Whose::Ours => match kind {
                    Kind::New | Kind::Derived => due.name += 1,
                    Kind::Again => match ours.iter().position(|stamp| *stamp == name) {
                        Some(stamp) => drop(ours.remove(stamp)),
                        None => due.name += 1,
                    },
                    Kind::Forwarded => {
                        let as_it_was = |(known, text): &(&str, &str)| {
                            *known == name && value == Some(text.as_bytes())
                        };
                        due.changed += u64::from(!consumed.iter().any(as_it_was));
                    }
                },
            }
        }
        due
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.name += other.name;
        self.variant += other.variant;
        self.changed += other.changed;
        self.trace += other.trace;
        self.left += other.left;
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.name + self.variant + self.changed
    }
}

/// Why a forged header got through, if one did. `headers` are those that were stored, `number` is the record's.
pub(crate) fn judge<'h>(
    headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)> + Clone,
    kind: Kind,
    own: bool,
    reader: &Reader,
    our_origin: &str,
    number: u64,
) -> Result<(), String> {
    let read = reader.read(headers.clone());
    let check = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{what}: {read:?}"))
        }
    };
    believed(&read, kind, number, &check)?;

    // The laxest consumer sees what we stamped, once each, and nothing else.
    let mut seen: Vec<_> = headers
        .clone()
        .filter(|(name, _)| whose(name, own) != Whose::Nobodys)
        .map(|(name, _)| name)
        .collect();
    seen.sort_unstable();
    let names: [&str; 7] = if own {
        OWN
    } else {
        [
            "prov-id",
            "prov-origin",
            "prov-seq",
            "prov-path",
            "",
            "",
            "prov-sig",
        ]
    };
    let mut stamped = vec![names[0], names[1], names[2], "traceparent"];
    if matches!(kind, Kind::Derived | Kind::Forwarded) {
        stamped.push(names[3]);
    }
    if kind == Kind::Forwarded {
        stamped.push(names[6]);
    }
    stamped.sort_unstable();
    check(seen == stamped, "other names than the stack's")?;
    let origin = headers
        .clone()
        .find(|(name, _)| *name == names[1])
        .and_then(|(_, value)| value);
    let wrote = if kind == Kind::Forwarded {
        CONSUMED_ORIGIN
    } else {
        our_origin
    };
    check(origin == Some(wrote.as_bytes()), "another origin")
}

/// What our own reader believes.
fn believed(
    read: &Provenance<'_>,
    kind: Kind,
    number: u64,
    check: &impl Fn(bool, &str) -> Result<(), String>,
) -> Result<(), String> {
    let forwarded = kind == Kind::Forwarded;
    let id = read.id.map(|id| id.to_string());
    check(read.notes.is_empty(), "notes")?;
    check(id.as_deref() != Some(FORGED_ID) && id.is_some(), "the id")?;
    check(
        !forwarded || id.as_deref() == Some(CONSUMED_ID),
        "not the consumed id",
    )?;
    let service = if forwarded { "checkout" } else { "till" };
    check(read.service() == Some(service), "the service")?;
    check(read.instance() == Some("till-1"), "the instance")?;
    check(
        read.sequence
            .as_ref()
            .is_some_and(|seq| seq.number == number),
        "the number",
    )?;
    let hops: Vec<_> = read.path.as_ref().map_or(vec![], |path| {
        path.hops.iter().map(|hop| &*hop.service).collect()
    });
    // What was consumed had a path of whoever wrote it, perhaps; ours is the last hop.
    let (last, before) = match hops.split_last() {
        Some((last, before)) => (Some(*last), before),
        None => (None, &[][..]),
    };
    let goes_on = matches!(kind, Kind::Derived | Kind::Forwarded);
    check(last == goes_on.then_some("till"), "the path")?;
    check(
        before.is_empty() || kind == Kind::Derived,
        "the path before",
    )?;
    check(read.revision.is_none() && read.marks.is_empty(), "marks")?;
    let signed = read.signature.as_ref().map(|signature| signature.key_id);
    check(signed == forwarded.then_some("shop-3"), "the signature")?;
    let trace = read
        .trace
        .as_ref()
        .map(|trace| format!("{:032x}", trace.trace_id));
    check(
        trace.is_some_and(|trace| trace != FORGED_TRACE),
        "the trace",
    )
}

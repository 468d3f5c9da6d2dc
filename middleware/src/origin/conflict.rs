//! What becomes of reserved headers that the application set itself.

use std::collections::HashSet;

use franking_core::{Code, Failure, Headers};

use crate::{
    provenance::{Header, Names},
    reserved::{Action, Reason, count, fold, is_alike, is_alike_schema, is_of_schema},
};

/// See the constructors of [`Origin`](super::Origin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    Override,
    Keep,
    Refuse,
}

/// Whether a record was sent before, by us, and came back in an error: then it has our stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    First,
    Again,
    /// With a path.
    AgainFromHistory,
}

/// The names that are the stack's: all that begin with `prov-` (or `prov2-` and so on), and an organisation's own.
pub(super) struct Reserved {
    own: Vec<String>,
    /// Those that the stack stamps anew: the path on records with a history, the others on every record.
    stamped: [String; 4],
    /// How the names begin. One that begins beyond ASCII is like only those that do, and they are always looked at.
    initials: Vec<u8>,
}

impl Reserved {
    pub(super) fn new(names: &Names) -> Self {
        let own = Header::ALL
            .into_iter()
            .filter(|header| !matches!(header, Header::TraceParent | Header::TraceState))
            .map(|header| names.get(header).to_owned())
            .filter(|name| !is_of_schema(name));
        let own: Vec<_> = own.collect();
        let stamped = [Header::Id, Header::Origin, Header::Sequence, Header::Path];
        let initial = |name: &String| name.chars().next().map(fold).filter(char::is_ascii);
        let mut initials = vec![b'p'];
        initials.extend(own.iter().filter_map(initial).map(|letter| letter as u8));
        initials.dedup();
        Self {
            own,
            stamped: stamped.map(|header| names.get(header).to_owned()),
            initials,
        }
    }

    /// `false`: no name is one of these, or like one. For most records, and for a look at a word.
    pub(super) fn may_be_in(&self, headers: &Headers) -> bool {
        self.initials
            .iter()
            .any(|letter| headers.may_begin_with(*letter))
    }

    /// Removes them, and says how many the application set. Of a record that came back in an error our own stamps are none
    /// of those.
    pub(super) fn remove(&self, headers: &mut Headers, came: Came) -> u64 {
        let mut stamps = self.stamps(came);
        let mut tally = Tally::default();
        headers.remove_where(|name, _| match self.reason(name) {
            None => false,
            Some(reason) => {
                if !stamps.take(name) {
                    tally.add(reason);
                }
                true
            }
        });
        tally.removed()
    }

    /// Removes only those that others may take for ours, and says how many there were.
    pub(super) fn remove_variants(&self, headers: &mut Headers) -> u64 {
        let mut tally = Tally::default();
        headers.remove_where(|name, _| {
            let variant = self.reason(name) == Some(Reason::Variant);
            if variant {
                tally.add(Reason::Variant);
            }
            variant
        });
        tally.removed()
    }

    /// Of a record that is passed on: what it has under our names is what was consumed, whatever the application did to
    /// it since, but for what is stamped anew. Says how many headers were others.
    pub(super) fn restore(&self, headers: &mut Headers, consumed: &Headers, came: Came) -> u64 {
        let mut stamps = self.stamps(came);
        let known: HashSet<_> = consumed.iter().collect();
        let mut tally = Tally::default();
        headers.remove_where(|name, value| match self.reason(name) {
            None => false,
            Some(Reason::Variant) => {
                tally.add(Reason::Variant);
                true
            }
            Some(_) => {
                if !known.contains(&(name, value)) && !stamps.take(name) {
                    tally.add(Reason::Changed);
                }
                true
            }
        });
        for (name, value) in consumed {
            if self.reason(name) == Some(Reason::Name)
                && !self.stamped.iter().any(|stamped| stamped == name)
            {
                headers
                    .append(name, value)
                    .expect("a name that was a header's is one");
            }
        }
        tally.removed()
    }

    /// A refusal, if there is one.
    pub(super) fn refuse(&self, headers: &Headers, came: Came) -> Result<(), Failure> {
        let mut stamps = self.stamps(came);
        let found = headers.iter().find_map(|(name, _)| {
            let reason = self.reason(name).filter(|_| !stamps.take(name))?;
            Some((name, reason))
        });
        let Some((name, reason)) = found else {
            return Ok(());
        };
        count(Action::Refused, reason, 1);
        Err(Failure::new(Code::Refused)
            .detail(format!(
                "the application set the header {name:?}, whose name is the origin layer's"
            ))
            .advice(
                "leave that header to the layer; pass a consumed record on with Record::forward",
            ))
    }

    fn reason(&self, name: &str) -> Option<Reason> {
        if is_of_schema(name) || self.own.iter().any(|own| own == name) {
            Some(Reason::Name)
        } else if is_alike_schema(name) || self.own.iter().any(|own| is_alike(name, own)) {
            Some(Reason::Variant)
        } else {
            None
        }
    }

    fn stamps(&self, came: Came) -> Stamps<'_> {
        let count = match came {
            Came::First => 0,
            Came::Again => 3,
            Came::AgainFromHistory => 4,
        };
        let mut stamps = [None; 4];
        for (stamp, name) in stamps.iter_mut().zip(&self.stamped).take(count) {
            *stamp = Some(&**name);
        }
        Stamps(stamps)
    }
}

/// Our own stamps that are still to be met: one of each name.
struct Stamps<'n>([Option<&'n str>; 4]);

impl Stamps<'_> {
    fn take(&mut self, name: &str) -> bool {
        let found = self.0.iter_mut().find(|stamp| **stamp == Some(name));
        found.and_then(Option::take).is_some()
    }
}

#[derive(Default)]
struct Tally {
    name: u64,
    variant: u64,
    changed: u64,
}

impl Tally {
    fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::Name => &mut self.name,
            Reason::Variant => &mut self.variant,
            Reason::Changed => &mut self.changed,
        } += 1;
    }

    /// Counts them for the process, and says how many there were.
    fn removed(&self) -> u64 {
        count(Action::Removed, Reason::Name, self.name);
        count(Action::Removed, Reason::Variant, self.variant);
        count(Action::Removed, Reason::Changed, self.changed);
        self.name + self.variant + self.changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Records are not looked through if none of their headers may be ours. So none that is may be missed.
        #[test]
        fn no_name_of_ours_is_overlooked(
            own in "[a-zA-Z_0-9~ é\u{212a}ſ][a-z-]{1,3}",
            name in "[ \u{a0}\u{3000}]{0,2}(prov[0-9]{0,2}-|PrOv-|[a-zA-Z_0-9~éÉ\u{212a}kKſsS][a-zA-Z\u{212a}ıſ-]{1,3})[a-z]{0,2}[ ]{0,1}",
            ours in any::<bool>(),
            upper in any::<bool>(),
        ) {
            let name = match (ours, upper) {
                (true, true) => own.to_uppercase(),
                (true, false) => own.clone(),
                (false, _) => name,
            };
            let names = Names::new().name(Header::Id, &own).unwrap();
            let reserved = Reserved::new(&names);
            let mut headers = Headers::new();
            headers.append("before", "").unwrap();
            headers.append(&name, "").unwrap();
            prop_assert!(reserved.reason(&name).is_none() || reserved.may_be_in(&headers));
        }
    }
}

//! Names that others may take for ours, and what became of headers that an application set under them.
//!
//! A reader compares names byte by byte, and so do we. But consumers exist that do not: that trim names, or ignore case. So
//! what is left on a record has no name that such a consumer takes for one of ours either.
//!
//! What only looks alike (full-width letters, Cyrillic ones, `prov%2Did`, a zero-width character inside) is another name,
//! to every comparison of names that there is, and stays the application's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a header was not left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The name is the stack's.
    Name,
    /// Without blanks around it and regardless of case, the name is the stack's.
    Variant,
    /// A record is passed on, and this is not what was consumed.
    Changed,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Removed,
    /// With its record.
    Refused,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Name, Self::Variant, Self::Changed];

    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Variant => "variant",
            Self::Changed => "changed",
        }
    }
}

impl Action {
    const ALL: [Self; 2] = [Self::Removed, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Refused => "refused",
        }
    }
}

static COUNTS: [[AtomicU64; Reason::ALL.len()]; Action::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; Reason::ALL.len()] }; Action::ALL.len()];

/// Counts headers, for the whole process.
pub(crate) fn count(action: Action, reason: Reason, headers: u64) {
    // Most records have none, and writing to memory that all threads share is dear.
    if headers > 0 {
        COUNTS[action as usize][reason as usize].fetch_add(headers, Ordering::Relaxed);
    }
}

/// Action, reason, and how many headers in this process.
#[cfg(feature = "metrics")]
pub(crate) fn counts() -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    Action::ALL.into_iter().flat_map(|action| {
        Reason::ALL.into_iter().map(move |reason| {
            let count = COUNTS[action as usize][reason as usize].load(Ordering::Relaxed);
            (action.name(), reason.name(), count)
        })
    })
}

/// Whether a consumer that trims names and ignores case takes one for the other.
pub(crate) fn is_alike(name: &str, ours: &str) -> bool {
    name.trim().chars().map(fold).eq(ours.chars().map(fold))
}

/// Whether the name begins as those of the schema do, or of one to come: `prov-`, `prov2-`.
pub(crate) fn is_of_schema(name: &str) -> bool {
    begins(name.chars())
}

/// The same, to a consumer that trims names and ignores case.
pub(crate) fn is_alike_schema(name: &str) -> bool {
    // Nearly every name is done with here: of the letters, only these two fold to a p.
    let may_be = matches!(name.as_bytes(), [b'p' | b'P' | b' ' | 0x80.., ..]);
    may_be && begins(name.trim_start().chars().map(fold))
}

fn begins(mut name: impl Iterator<Item = char>) -> bool {
    let named = "prov".chars().all(|char| name.next() == Some(char));
    named && name.find(|char| !char.is_ascii_digit()) == Some('-')
}

/// As Java's `equalsIgnoreCase` and Unicode's simple case folding compare: letter by letter, by way of upper case, so that
/// `ı`, `ſ` and the Kelvin sign are `i`, `s` and `k`.
pub(crate) fn fold(char: char) -> char {
    if char.is_ascii() {
        return char.to_ascii_lowercase();
    }
    let mut upper = char.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        // More than one letter: only full case folding knows these, and no comparison of names does it.
        _ => char,
    };
    upper.to_lowercase().next().unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So a prefix of the letters p, r, o, v has no other forms than those of ASCII.
    #[test]
    fn few_letters_have_forms_beyond_ascii() {
        let odd: Vec<_> = (0x80..=u32::from(char::MAX))
            .filter_map(char::from_u32)
            .filter(|char| fold(*char).is_ascii())
            .map(|char| (char, fold(char)))
            .collect();
        assert_eq!(odd, [('İ', 'i'), ('ı', 'i'), ('ſ', 's'), ('\u{212a}', 'k')]);
    }

    #[test]
    fn names_are_alike_regardless_of_case_and_blanks() {
        for name in [
            "X-Acme-Kids",
            " x-acme-kids\u{a0}",
            "x-acme-\u{212a}ıd\u{17f}",
        ] {
            assert!(is_alike(name, "x-acme-kids"), "{name:?}");
        }
        for name in [
            "x-acme-kid",
            "x acme-kids",
            "x-acme-\u{200b}kids",
            "ｘ-acme-kids",
        ] {
            assert!(!is_alike(name, "x-acme-kids"), "{name:?}");
        }
    }

    #[test]
    fn a_schema_to_come_is_ours_too() {
        for name in ["prov-id", "prov-", "prov2-id", "prov10-x"] {
            assert!(is_of_schema(name) && is_alike_schema(name), "{name:?}");
        }
        for name in ["PROV-ID", "Prov2-Id", " prov-id", "\u{3000}pRoV-"] {
            assert!(!is_of_schema(name) && is_alike_schema(name), "{name:?}");
        }
        for name in [
            "prov",
            "prov2",
            "proving-",
            "x-prov-id",
            "prov_id",
            "prov.id",
            "ｐｒｏｖ-id",
            "pr\u{200b}ov-id",
        ] {
            assert!(!is_of_schema(name) && !is_alike_schema(name), "{name:?}");
        }
    }
}

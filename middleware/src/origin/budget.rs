//! How many bytes of a record the headers take, and what is left out first.

use franking_core::Headers;

use super::OriginError;
use crate::provenance::{Header, Names, Path};

/// A rule of thumb: half of what a small record of JSON is.
const BUDGET: usize = 512;
/// Every record carries it, so it must not be what fills the batches.
const LIMIT: usize = 1024;
/// `traceparent` has one length.
const PARENT: usize = 55;
const ID: usize = 36;
/// Digits of a number that takes three years to count to, at a million records a second.
const NUMBER: usize = 14;

/// The bytes that headers may take.
pub(super) struct Budget {
    budget: usize,
    limit: usize,
    /// What is always there, but for the origin.
    fixed: usize,
    names: Names,
}

impl Budget {
    pub(super) fn new(
        names: &Names,
        origin: &str,
        instance: &str,
        budget: Option<usize>,
        limit: Option<usize>,
    ) -> Result<Self, OriginError> {
        let size = |header, value| size(names.get(header), value);
        // Forwarded, a number names its instance.
        let sequence = NUMBER + 1 + instance.len();
        let fixed = size(Header::TraceParent, PARENT)
            + size(Header::Id, ID)
            + size(Header::Sequence, sequence);
        let limit = limit.unwrap_or(LIMIT);
        let bytes = fixed + size(Header::Origin, origin.len());
        if bytes > limit {
            return Err(OriginError::TooLong { bytes, limit });
        }
        Ok(Self {
            budget: budget.unwrap_or(BUDGET).min(limit),
            limit,
            fixed,
            names: names.clone(),
        })
    }

    /// Whether this origin can be on a record at all.
    pub(super) fn takes(&self, origin: &str) -> bool {
        self.fixed(origin) <= self.limit
    }

    /// Removes the `tracestate` if it is too much; says whether it did. Costs next to nothing where there is none.
    pub(super) fn fit_state(&self, headers: &mut Headers, origin: &str) -> bool {
        let state = self.state(headers);
        state > 0
            && self.fixed(origin) + state > self.budget
            && headers.remove(self.names.get(Header::TraceState)) > 0
    }

    /// Removes what is too much, of a path too: its oldest hops, then `tracestate`, then the newest hop. Says whether it
    /// removed anything.
    pub(super) fn fit(&self, headers: &mut Headers, origin: &str, path: &mut Hops) -> bool {
        let fixed = self.fixed(origin);
        let mut shed = false;
        while path.hops.len() > 1 && fixed + self.state(headers) + self.path(path) > self.budget {
            path.drop_oldest();
            shed = true;
        }
        if fixed + self.state(headers) + self.path(path) > self.budget {
            shed |= headers.remove(self.names.get(Header::TraceState)) > 0;
        }
        if fixed + self.path(path) > self.limit {
            path.hops.clear();
            shed = true;
        }
        shed
    }

    fn fixed(&self, origin: &str) -> usize {
        self.fixed + size(self.names.get(Header::Origin), origin.len())
    }

    fn state(&self, headers: &Headers) -> usize {
        let name = self.names.get(Header::TraceState);
        let state = headers.get(name).flatten();
        state.map_or(0, |state| size(name, state.len()))
    }

    fn path(&self, path: &Hops) -> usize {
        match path.hops.len() {
            0 => 0,
            _ => size(self.names.get(Header::Path), path.len()),
        }
    }
}

/// The hops of a path, encoded, oldest first.
#[derive(Debug, Default)]
pub(super) struct Hops {
    /// Whether there were older ones.
    pub(super) cut: bool,
    pub(super) hops: Vec<String>,
}

impl Hops {
    pub(super) fn drop_oldest(&mut self) {
        self.hops.remove(0);
        self.cut = true;
    }

    /// The bytes of its text.
    fn len(&self) -> usize {
        let cut = if self.cut { Path::CUT.len() } else { 0 };
        let hops: usize = self.hops.iter().map(String::len).sum();
        cut + hops + self.hops.len().saturating_sub(1)
    }
}

/// The bytes of a header on the wire.
fn size(name: &str, value: usize) -> usize {
    varint(name.len()) + name.len() + varint(value) + value
}

/// Kafka's zigzag varints.
fn varint(number: usize) -> usize {
    match number {
        0..64 => 1,
        64..8192 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_are_those_on_the_wire() {
        for length in [0, 5, 63, 64, 200, 8191, 8192, 20_000] {
            let mut headers = Headers::new();
            headers.append("traceparent", vec![b'x'; length]).unwrap();
            assert_eq!(headers.wire().len(), size("traceparent", length));
        }
    }
}

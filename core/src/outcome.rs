//! What hooks see of a record at its end.

use std::{fmt, time::Instant};

use crate::{Failure, Headers, Placed, Record, Topic};

/// The end of a record's way, or of one attempt for layers inside a recoverer.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Where the record was placed, or why it failed.
    pub result: Result<Placed, &'a Failure>,
    /// The record as it was sent.
    pub record: View<'a>,
    /// How often the record was handed to the engine; 0 if it never got there.
    pub attempts: u32,
    /// When the acknowledgement came: read once for a whole batch.
    pub at: Instant,
}

/// Hears the outcome of one record, once, on the thread that settles it (mostly the engine's), with no lock held.
///
/// A slow hook delays every record behind it; a panic in one is caught, counted
/// ([`hooks_panicked`](crate::hooks_panicked)) and harms nothing else.
pub trait Hook: Send + Sync {
    /// Called exactly once.
    fn on_outcome(self: Box<Self>, outcome: &Outcome<'_>);
}

impl<F: FnOnce(&Outcome<'_>) + Send + Sync> Hook for F {
    fn on_outcome(self: Box<Self>, outcome: &Outcome<'_>) {
        self(outcome);
    }
}

/// A record as hooks see it: borrowed from wherever the engine keeps it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The topic.
    pub topic: &'a Topic,
    /// The partition that was asked for; where the record went is in [`Placed`].
    pub partition: Option<i32>,
    /// The record's own time, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The key; `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, with everything that layers stamped.
    pub headers: HeadersView<'a>,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("topic", self.topic)
            .field("key_len", &self.key.map(<[u8]>::len))
            .field("value_len", &self.value.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// The headers of a [`View`]: in wire encoding, or in the form that an engine keeps.
#[derive(Clone, Copy)]
pub enum HeadersView<'a> {
    /// As core's own buffer.
    Wire(&'a Headers),
    /// As the engine has them.
    Foreign(&'a dyn HeaderList),
}

/// Headers in an engine's own form.
pub trait HeaderList {
    /// The header at this index: its name and value.
    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;
}

impl<'a> HeadersView<'a> {
    /// The last value of this name: `None` if there is no such header, `Some(None)` if its value is null.
    pub fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter()
            .filter(|(candidate, _)| *candidate == name)
            .last()
            .map(|(_, value)| value)
    }

    /// The last value of this name as text; `None` if it is absent, null or not UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.get(name)??).ok()
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let (mut wire, foreign) = match *self {
            HeadersView::Wire(headers) => (Some(headers.iter()), None),
            HeadersView::Foreign(list) => (None, Some(list)),
        };
        let mut index = 0;
        std::iter::from_fn(move || match (&mut wire, foreign) {
            (Some(wire), _) => wire.next(),
            (None, Some(list)) => {
                index += 1;
                list.header(index - 1)
            }
            (None, None) => None,
        })
    }
}

/// A record as an engine keeps it until the acknowledgement: it can be looked at, and turned back into a [`Record`] if
/// it failed and somebody wants it.
pub trait Snapshot {
    /// Looks at it.
    fn view(&self) -> View<'_>;

    /// Turns it back into the record that was sent, without its hooks.
    fn into_record(self) -> Record;

    /// Its topic, for the [`RecordMetadata`](crate::RecordMetadata): the last that anybody wants of it. Who owns one gives
    /// it away, since a count of references that the sender raises and the engine's thread lowers costs both 50 to 100 ns.
    fn take_topic(&mut self) -> Topic {
        self.view().topic.clone()
    }
}

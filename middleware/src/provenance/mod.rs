//! Reading it back: who wrote a record, when, in which trace, after which hops, and what of a writer's records is missing.
//!
//! It needs no Kafka client: any list of names and values will do, also one with the other's names
//! ([`Reader::name`]). The crate `franking` reads rust-rdkafka's messages with it.
//!
//! # Example
//! ```
//! use franking_middleware::provenance::{Header, Problem, Provenance};
//!
//! let headers: [(&str, Option<&[u8]>); 4] = [
//!     ("traceparent", Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
//!     ("prov-id", Some(b"01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e")),
//!     ("prov-origin", Some(b"service.namespace=shop,service.name=checkout,service.instance.id=627c")),
//!     ("prov-seq", Some(b"no number")),
//! ];
//! let read = Provenance::read(headers);
//!
//! assert_eq!((read.namespace(), read.service()), (Some("shop"), Some("checkout")));
//! assert_eq!(read.id.unwrap().millis(), Some(1_795_359_845_123));
//! assert!(read.trace.unwrap().is_sampled());
//! // What cannot be read is not there, and a note says why.
//! assert_eq!(read.sequence, None);
//! let note = read.notes.iter().next().unwrap();
//! assert_eq!((note.header, note.problem), (Some(Header::Sequence), Problem::Syntax));
//! assert_eq!(note.to_string(), "prov-seq: not as it is written");
//! ```
//!
//! # What holds for every input
//! Headers are written by whoever can write to the topic. Nothing panics; what is malformed is told in [`Notes`], of
//! which there is one for a header and problem. Work and memory have bounds: 4,096 headers of a record are looked at,
//! 8,192 bytes of a value are read, of which at most 64 attributes, 32 members of a state, 8 hops and 32 marks; most of
//! what is found is borrowed. `docs/headers.md` has each rule, and `tests/vectors/provenance.json` cases for readers in
//! other languages.
//!
//! A reader believes what it reads: whoever can write to the topic can write these headers. [`Signature`] is read, not
//! checked. And text can hold anything, control characters too, so escape it before you show it.
//!
//! # Over many records
//! [`Writers`] finds numbers that are missing or doubled, by topic and instance.
//!
//! # Going on in the trace
//! With the feature `trace`, `TraceContext::context` is what OpenTelemetry starts the consumer's span with.

mod block;
pub(crate) mod context;
mod id;
mod names;
mod notes;
mod origin;
mod path;
pub(crate) mod percent;
mod runs;
mod sequence;
mod signature;
mod writers;

pub use self::{
    block::{Block, BlockError},
    context::TraceContext,
    id::RecordId,
    names::Names,
    notes::{Header, Note, Notes, Problem},
    origin::Attributes,
    path::{Hop, Path},
    sequence::Sequence,
    signature::Signature,
    writers::{Seen, Writer, Writers},
};

/// How many headers of a record are looked at.
const MOST_HEADERS: usize = 4096;
/// The longest value that is read.
pub(crate) const LONGEST: usize = 8192;
/// How many marks are read.
const MOST_MARKS: usize = 32;

/// What the headers of one record say. What is absent or cannot be read is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provenance<'h> {
    /// The trace that it was sent in: `traceparent` and `tracestate`.
    pub trace: Option<TraceContext<'h>>,
    /// Which record it is, and when it was made: `prov-id`.
    pub id: Option<RecordId>,
    /// Who wrote it: `prov-origin`.
    pub origin: Attributes<'h>,
    /// Which of its writer's records it is: `prov-seq`.
    pub sequence: Option<Sequence<'h>>,
    /// Which services passed it on: `prov-path`.
    pub path: Option<Path<'h>>,
    /// Revision of the writer's stack: `prov-rev`.
    pub revision: Option<&'h str>,
    /// Rules that marked it: `prov-mark`.
    pub marks: Vec<&'h str>,
    /// What the writer signed it with, unchecked: `prov-sig`.
    pub signature: Option<Signature<'h>>,
    /// What is wrong with the headers.
    pub notes: Notes,
}

impl<'h> Provenance<'h> {
    /// Reads headers with the names of the schema: see [`Reader::read`].
    pub fn read<N: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, Option<&'h [u8]>)>) -> Self {
        Reader::new().read(headers)
    }

    /// Whether the headers say anything at all, or try to.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `service.name`, of the service that wrote it.
    pub fn service(&self) -> Option<&str> {
        self.origin.get("service.name")
    }

    /// `service.namespace`, of the service that wrote it.
    pub fn namespace(&self) -> Option<&str> {
        self.origin.get("service.namespace")
    }

    /// The instance that sent this copy: that of [`sequence`](Self::sequence), or else `service.instance.id`.
    pub fn instance(&self) -> Option<&str> {
        let forwarded = self.sequence.as_ref().and_then(|s| s.instance.as_deref());
        forwarded.or_else(|| self.origin.get("service.instance.id"))
    }
}

/// Reads headers under an organisation's own names.
///
/// ```
/// use franking_middleware::provenance::{Header, Reader};
///
/// let reader = Reader::new().name(Header::Sequence, "x-acme-number");
/// let read = reader.read([("x-acme-number", Some(&b"7"[..])), ("prov-seq", Some(b"8"))]);
/// assert_eq!(read.sequence.unwrap().number, 7);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reader {
    names: Names,
}

impl Reader {
    /// With the names of the schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for this header under another name, and only there.
    pub fn name(mut self, header: Header, name: impl Into<String>) -> Self {
        self.names.set(header, name.into());
        self
    }

    /// Looks for all headers under the names of this map.
    pub fn names(self, names: Names) -> Self {
        Self { names }
    }

    #[cfg(feature = "origin")]
    pub(crate) fn map(&self) -> &Names {
        &self.names
    }

    /// Reads a record's headers, given in their order: name and value, `None` for null. Names need not be text.
    pub fn read<'h, N: AsRef<[u8]>>(
        &self,
        headers: impl IntoIterator<Item = (N, Option<&'h [u8]>)>,
    ) -> Provenance<'h> {
        let mut notes = Notes::default();
        let values = self.last_values(headers, &mut notes);
        let text = |header: Header, notes: &mut Notes| {
            values[header as usize].and_then(|value| text(header, value, notes))
        };
        let parent = text(Header::TraceParent, &mut notes);
        let state = text(Header::TraceState, &mut notes);
        Provenance {
            trace: TraceContext::read(parent, state, &mut notes),
            id: text(Header::Id, &mut notes).and_then(|text| RecordId::read(text, &mut notes)),
            origin: text(Header::Origin, &mut notes)
                .map(|text| Attributes::read(text, &mut notes))
                .unwrap_or_default(),
            sequence: text(Header::Sequence, &mut notes)
                .and_then(|text| Sequence::read(text, &mut notes)),
            path: text(Header::Path, &mut notes).map(|text| Path::read(text, &mut notes)),
            revision: text(Header::Revision, &mut notes)
                .and_then(|text| revision(text, &mut notes)),
            marks: text(Header::Mark, &mut notes)
                .map(|text| marks(text, &mut notes))
                .unwrap_or_default(),
            signature: text(Header::Signature, &mut notes)
                .and_then(|text| Signature::read(text, &mut notes)),
            notes,
        }
    }

    /// Of each header the last value, as for Java's `lastHeader`; a stamp leaves exactly one.
    fn last_values<'h, N: AsRef<[u8]>>(
        &self,
        headers: impl IntoIterator<Item = (N, Option<&'h [u8]>)>,
        notes: &mut Notes,
    ) -> [Option<Option<&'h [u8]>>; Header::ALL.len()] {
        let mut values = [None; Header::ALL.len()];
        let mut times = [0; Header::ALL.len()];
        for (at, (name, value)) in headers.into_iter().enumerate() {
            if at == MOST_HEADERS {
                notes.add(None, Problem::TooMany, MOST_HEADERS + 1);
                break;
            }
            // Two headers may have been given one name.
            for header in Header::ALL {
                if self.names.get(header).as_bytes() == name.as_ref() {
                    values[header as usize] = Some(value);
                    times[header as usize] += 1;
                }
            }
        }
        for header in Header::ALL {
            if times[header as usize] > 1 {
                notes.add(Some(header), Problem::Repeated, times[header as usize]);
            }
        }
        values
    }
}

/// A value that can be looked into.
fn text<'h>(header: Header, value: Option<&'h [u8]>, notes: &mut Notes) -> Option<&'h str> {
    let (problem, count) = match value {
        None => (Problem::Null, 1),
        Some([]) => (Problem::Empty, 1),
        Some(value) if value.len() > LONGEST => (Problem::TooLong, value.len()),
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => return Some(text),
            Err(_) => (Problem::NotText, 1),
        },
    };
    notes.add(Some(header), problem, count);
    None
}

/// Printable ASCII without spaces, and not nothing.
fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn revision<'h>(text: &'h str, notes: &mut Notes) -> Option<&'h str> {
    let readable = is_visible(text);
    notes.add(
        Some(Header::Revision),
        Problem::Syntax,
        usize::from(!readable),
    );
    readable.then_some(text)
}

fn marks<'h>(text: &'h str, notes: &mut Notes) -> Vec<&'h str> {
    let count = text.split(',').count();
    if count > MOST_MARKS {
        notes.add(Some(Header::Mark), Problem::TooMany, count);
    }
    let mut marks: Vec<_> = text.split(',').take(MOST_MARKS).collect();
    let before = marks.len();
    marks.retain(|mark| is_visible(mark));
    notes.add(Some(Header::Mark), Problem::Syntax, before - marks.len());
    marks
}

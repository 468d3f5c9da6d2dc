//! What is wrong with a record's headers.

use std::fmt;

/// A header of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Header {
    /// `traceparent`
    TraceParent,
    /// `tracestate`
    TraceState,
    /// `prov-id`
    Id,
    /// `prov-origin`
    Origin,
    /// `prov-seq`
    Sequence,
    /// `prov-path`
    Path,
    /// `prov-rev`
    Revision,
    /// `prov-mark`
    Mark,
    /// `prov-sig`
    Signature,
}

impl Header {
    /// All of them, in the order of the schema.
    pub const ALL: [Self; 9] = [
        Self::TraceParent,
        Self::TraceState,
        Self::Id,
        Self::Origin,
        Self::Sequence,
        Self::Path,
        Self::Revision,
        Self::Mark,
        Self::Signature,
    ];

    /// Its name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceParent => "traceparent",
            Self::TraceState => "tracestate",
            Self::Id => "prov-id",
            Self::Origin => "prov-origin",
            Self::Sequence => "prov-seq",
            Self::Path => "prov-path",
            Self::Revision => "prov-rev",
            Self::Mark => "prov-mark",
            Self::Signature => "prov-sig",
        }
    }
}

/// What can be wrong. What a note's count is stands in brackets, where it is not the number of values or parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The value is null.
    Null,
    /// The value is empty.
    Empty,
    /// The value is too long to be read (its bytes).
    TooLong,
    /// Bytes that are not UTF-8.
    NotText,
    /// The header is there more than once; the last one counts (how often it is there).
    Repeated,
    /// Not as it is written.
    Syntax,
    /// A number of 0, or a larger one than there can be.
    OutOfRange,
    /// More parts than are read (how many there are).
    TooMany,
    /// A name that is there again (how often again).
    Duplicate,
    /// A `%` without two hexadecimal digits behind it; it was left as it is.
    Escape,
    /// Characters that should be percent-encoded; they were taken as they are.
    NotEncoded,
    /// Upper-case digits in an id; it was read.
    UpperCase,
    /// A trace id or span id of zeros.
    ZeroId,
    /// A version that is not known. For `prov-id`: not a UUIDv7, so it does not say when.
    Version,
    /// A `tracestate` without a `traceparent` that can be read.
    Orphan,
}

impl Problem {
    /// A name for programs, as `out-of-range`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Empty => "empty",
            Self::TooLong => "too-long",
            Self::NotText => "not-text",
            Self::Repeated => "repeated",
            Self::Syntax => "syntax",
            Self::OutOfRange => "out-of-range",
            Self::TooMany => "too-many",
            Self::Duplicate => "duplicate",
            Self::Escape => "escape",
            Self::NotEncoded => "not-encoded",
            Self::UpperCase => "upper-case",
            Self::ZeroId => "zero-id",
            Self::Version => "version",
            Self::Orphan => "orphan",
        }
    }
}

/// One thing that is wrong. It shows nothing of the header's value, so it can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Note {
    /// With which header; `None`: with the list of them.
    pub header: Option<Header>,
    /// What.
    pub problem: Problem,
    /// How often, or how many: see [`Problem`].
    pub count: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        match self.header {
            Some(header) => write!(f, "{}: ", header.name())?,
            None => f.write_str("headers: ")?,
        }
        match self.problem {
            Problem::Null => f.write_str("its value is null"),
            Problem::Empty => f.write_str("its value is empty"),
            Problem::TooLong => write!(f, "{count} bytes are too long to be read"),
            Problem::NotText => f.write_str("not UTF-8"),
            Problem::Repeated => write!(f, "it is there {count} times; the last one counts"),
            Problem::Syntax if count > 1 => write!(f, "{count} parts are not as they are written"),
            Problem::Syntax => f.write_str("not as it is written"),
            Problem::OutOfRange => f.write_str("a number that there cannot be"),
            Problem::TooMany => write!(f, "{count} are too many to be read"),
            Problem::Duplicate => write!(f, "a name is there again, {count} times in all"),
            Problem::Escape => f.write_str("a % without two digits behind it"),
            Problem::NotEncoded => f.write_str("characters that should be percent-encoded"),
            Problem::UpperCase => f.write_str("digits in upper case"),
            Problem::ZeroId => f.write_str("an id of zeros"),
            Problem::Version if self.header == Some(Header::Id) => {
                f.write_str("not a UUIDv7, so it does not say when")
            }
            Problem::Version => f.write_str("a version that is not known"),
            Problem::Orphan => f.write_str("there is no traceparent that it belongs to"),
        }
    }
}

/// What is wrong with a record's headers: one note at most for a header and a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Counts further with what was noted already. A count of 0 is no note.
    pub(super) fn add(&mut self, header: Option<Header>, problem: Problem, count: usize) {
        if count == 0 {
            return;
        }
        let mut notes = self.0.iter_mut();
        match notes.find(|note| (note.header, note.problem) == (header, problem)) {
            Some(note) => note.count += count,
            None => self.0.push(Note {
                header,
                problem,
                count,
            }),
        }
    }
}

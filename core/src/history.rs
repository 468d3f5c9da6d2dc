//! Records that go on: what was consumed, and the record that is made of it.

use std::fmt;

use bytes::Bytes;

use crate::{Headers, Record};

/// A record as a consumer got it, of whatever client: where it was, what it held, and its headers as pairs of name and
/// value. For [`Record::forward`] and [`Record::derive`].
///
/// Any iterator of pairs will do for the headers: names as text or bytes, values `None` for null.
#[derive(Clone, Copy)]
pub struct ConsumerRecord<'m, H> {
    /// The topic it was read from.
    pub topic: &'m str,
    /// The partition of that.
    pub partition: i32,
    /// The offset in that.
    pub offset: i64,
    /// Its time, in milliseconds since the epoch, if it had one.
    pub timestamp: Option<i64>,
    /// Its key; `None` for null.
    pub key: Option<&'m [u8]>,
    /// Its value; `None` for a tombstone.
    pub value: Option<&'m [u8]>,
    /// Its headers, in their order.
    pub headers: H,
}

impl<'m, H> ConsumerRecord<'m, H> {
    /// A tombstone without key and time, until they are set.
    pub fn new(topic: &'m str, partition: i32, offset: i64, headers: H) -> Self {
        Self {
            topic,
            partition,
            offset,
            timestamp: None,
            key: None,
            value: None,
            headers,
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: Option<&'m [u8]>) -> Self {
        self.key = key;
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: Option<&'m [u8]>) -> Self {
        self.value = value;
        self
    }

    /// Sets the time, in milliseconds since the epoch.
    pub fn timestamp(mut self, millis: Option<i64>) -> Self {
        self.timestamp = millis;
        self
    }
}

// Keys and values can be confidential.
impl<H> fmt::Debug for ConsumerRecord<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerRecord")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("key_len", &self.key.map(<[u8]>::len))
            .field("value_len", &self.value.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// What a record was made of: layers find in it the history that they continue. It stays with the record until the
/// end, also through resends and when the record comes back in an error.
#[derive(Clone, Debug)]
pub struct History {
    topic: String,
    partition: i32,
    offset: i64,
    headers: Headers,
    left_out: usize,
    forwarded: bool,
}

impl History {
    /// The topic it was read from.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition of that.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The offset in that.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// All its headers, as they were.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// How many of its headers have names that [`Headers`] does not take: not UTF-8, empty, with control characters.
    /// They do not go on.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether the record is the consumed one, passed on; otherwise it has content of its own.
    pub fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// The bytes that it holds in memory: engines charge them to the buffer with the record.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.headers.wire().len()
    }

    fn of<'m, N, H>(consumed: ConsumerRecord<'m, H>, forwarded: bool) -> Self
    where
        N: AsRef<[u8]>,
        H: IntoIterator<Item = (N, Option<&'m [u8]>)>,
    {
        let (mut headers, mut left_out) = (Headers::new(), 0);
        for (name, value) in consumed.headers {
            let name = std::str::from_utf8(name.as_ref()).unwrap_or_default();
            left_out += usize::from(headers.append(name, value).is_err());
        }
        Self {
            topic: consumed.topic.to_owned(),
            partition: consumed.partition,
            offset: consumed.offset,
            headers,
            left_out,
            forwarded,
        }
    }
}

impl Record {
    /// Passes a consumed record on: takes over its key, value, time and headers, and keeps where it came from. The topic
    /// is this record's; so is the partition, if one was chosen.
    ///
    /// The layers continue its history: it keeps its identity and its origin, its path gets a hop, and its trace goes
    /// on. A stack without layers sends it as it was.
    ///
    /// ```
    /// use franking_core::{ConsumerRecord, Record};
    ///
    /// let headers = [("tenant", Some(&b"acme"[..]))];
    /// let consumed = ConsumerRecord::new("orders", 2, 184_467, headers).value(Some(b"{}"));
    /// let record = Record::new("orders.eu").forward(consumed);
    /// assert_eq!(record.value.as_deref(), Some(&b"{}"[..]));
    /// assert_eq!(record.headers.get_str("tenant"), Some("acme"));
    /// assert_eq!(record.history.as_ref().unwrap().offset(), 184_467);
    /// ```
    pub fn forward<'m, N, H>(mut self, consumed: ConsumerRecord<'m, H>) -> Self
    where
        N: AsRef<[u8]>,
        H: IntoIterator<Item = (N, Option<&'m [u8]>)>,
    {
        self.key = consumed.key.map(Bytes::copy_from_slice);
        self.value = consumed.value.map(Bytes::copy_from_slice);
        self.timestamp = consumed.timestamp;
        let history = History::of(consumed, true);
        self.headers = history.headers.clone();
        self.history = Some(Box::new(history));
        self
    }

    /// Says that this record was made of a consumed one, and keeps where that came from. Key, value, time and headers
    /// stay this record's own.
    ///
    /// The layers continue the history: the record gets an identity and an origin of its own, the path of the consumed
    /// one with a hop more, and its trace.
    ///
    /// ```
    /// use franking_core::{ConsumerRecord, Record};
    ///
    /// let headers = [("tenant", Some(&b"acme"[..]))];
    /// let consumed = ConsumerRecord::new("orders", 2, 184_467, headers).value(Some(b"{}"));
    /// let record = Record::new("invoices").value("{}").derive(consumed);
    /// assert_eq!(record.headers.get("tenant"), None);
    /// ```
    pub fn derive<'m, N, H>(mut self, consumed: ConsumerRecord<'m, H>) -> Self
    where
        N: AsRef<[u8]>,
        H: IntoIterator<Item = (N, Option<&'m [u8]>)>,
    {
        self.history = Some(Box::new(History::of(consumed, false)));
        self
    }
}

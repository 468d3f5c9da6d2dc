//! From the application's types to bytes.

use std::{future::Future, pin::Pin};

use bytes::Bytes;

use crate::{BoxError, Headers};

/// What a serializer waits for before the first record to a topic: [`Serializer::prepare`].
pub type Preparing = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Turns an application's key or value into bytes, or into Kafka's null.
///
/// It takes the value itself, so that what is bytes already is not copied. Absent keys and values never reach it: `None`
/// stays null. It may write headers (a content type, a schema's id), and sees the topic, for schemas by subject.
///
/// Closures are serializers; they may answer with `Bytes` or, if some values are null, with `Option<Bytes>`:
///
/// ```
/// use bytes::Bytes;
/// use franking_core::{BoxError, Headers, Serializer};
///
/// let celsius = |kelvin: f64| -> Result<Bytes, BoxError> { Ok(format!("{:.1}", kelvin - 273.15).into()) };
/// assert_eq!(celsius.serialize("weather", &mut Headers::new(), 300.0)?.as_deref(), Some(&b"26.9"[..]));
/// # Ok::<(), BoxError>(())
/// ```
pub trait Serializer<T>: Send + Sync + 'static {
    /// Serializes one key or value for this topic; `None` is Kafka's null. It runs on the sender's thread, within an
    /// asynchronous send too, so it never waits: what takes time belongs into [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// Any error; the send fails with [`Code::Serialization`](crate::Code::Serialization) and this as its source, before
    /// anything is queued. Its text should not show the value.
    fn serialize(
        &self,
        topic: &str,
        headers: &mut Headers,
        value: T,
    ) -> Result<Option<Bytes>, BoxError>;

    /// Begins what must be done before values can be serialized for this topic, such as asking a registry for a schema's
    /// id, and returns the wait for it. `None`, at once, if all is done: so for every record but the first few.
    ///
    /// It begins with this call and not with the first poll, so that who must not wait finds it done later.
    fn prepare(&self, topic: &str) -> Option<Preparing> {
        let _ = topic;
        None
    }
}

impl<T, F, B> Serializer<T> for F
where
    F: Fn(T) -> Result<B, BoxError> + Send + Sync + 'static,
    B: Into<Option<Bytes>>,
{
    fn serialize(&self, _: &str, _: &mut Headers, value: T) -> Result<Option<Bytes>, BoxError> {
        self(value).map(Into::into)
    }
}

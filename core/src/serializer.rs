//! From the application's types to bytes.

use bytes::Bytes;

use crate::{BoxError, Headers};

/// Turns an application's key or value into bytes.
///
/// It takes the value itself, so that what is bytes already is not copied. Null keys and values never reach it: `None`
/// stays null. It may write headers (a content type, a schema id), and sees the topic for schemas by subject.
///
/// Closures are serializers:
///
/// ```
/// use bytes::Bytes;
/// use franking_core::{BoxError, Headers, Serializer};
///
/// let celsius = |kelvin: f64| -> Result<Bytes, BoxError> { Ok(format!("{:.1}", kelvin - 273.15).into()) };
/// assert_eq!(celsius.serialize("weather", &mut Headers::new(), 300.0)?, "26.9");
/// # Ok::<(), BoxError>(())
/// ```
pub trait Serializer<T>: Send + Sync + 'static {
    /// Serializes one key or value for this topic.
    ///
    /// # Errors
    /// Any error; the send fails with [`Code::Serialization`](crate::Code::Serialization) and this as its source. Its
    /// text should not show the value.
    fn serialize(&self, topic: &str, headers: &mut Headers, value: T) -> Result<Bytes, BoxError>;
}

impl<T, F> Serializer<T> for F
where
    F: Fn(T) -> Result<Bytes, BoxError> + Send + Sync + 'static,
{
    fn serialize(&self, _: &str, _: &mut Headers, value: T) -> Result<Bytes, BoxError> {
        self(value)
    }
}

//! The layers of franking, one module each, behind a feature of its name.
//!
//! | layer | what it does | kind |
//! |---|---|---|
//! | [`trace`] | carries the trace context in headers; a span from the send to the acknowledgement | interceptor |
//! | [`origin`] | stamps the record's identity and who wrote it | interceptor |
//! | [`audit`] | keeps the balance of every record per topic and time bucket, and numbers them | interceptor |
//! | [`metrics`] | OpenTelemetry's messaging metrics | interceptor |
//! | [`retry`] | sends again what failed for the moment and is surely not in the topic | recoverer |

#![forbid(unsafe_code)]

#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "origin")]
pub mod origin;
#[cfg(feature = "retry")]
pub mod retry;
#[cfg(feature = "trace")]
pub mod trace;

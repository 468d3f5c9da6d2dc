//! The layers of franking, one module each, behind a feature of its name.
//!
//! | layer | what it does | kind |
//! |---|---|---|
//! | [`trace`] | carries the trace context in headers; a span from the send to the acknowledgement | interceptor |
//! | [`origin`] | stamps the record's identity, who wrote it, and where it was before | interceptor |
//! | [`audit`] | keeps the balance of every record per topic and time bucket, and numbers them | interceptor |
//! | [`metrics`] | OpenTelemetry's messaging metrics | interceptor |
//! | [`retry`] | sends again what failed for the moment and is surely not in the topic | recoverer |
//!
//! And the way back: [`provenance`] reads what they wrote, without a Kafka client.
//!
//! # What they cost
//! Nanoseconds and allocations a record over an engine that does nothing, with OpenTelemetry's SDK installed and the
//! sampler off: medians of `cargo bench -p franking-middleware`, which prints such a table. 33 ns of each are the record
//! itself, made and dropped; 0 allocations means one in hundreds of records. docs/costs.md says what was found behind them.
//!
//! | layers | ns | allocations |
//! |---|---|---|
//! | none | 33 | 0 |
//! | an interceptor that does nothing | 38 | 0 |
//! | trace, a root / below an unsampled `tracing` span | 113 / 53 | 0 |
//! | origin | 69 | 0 |
//! | audit | 103 | 0 |
//! | metrics | 102 | 0 |
//! | the four, fused | 235 | 0 |
//! | retry | 44 | 0 |
//! | the four and retry | 243 | 0 |
//! | the four and retry, below an unsampled `tracing` span | 186 | 0 |

#![forbid(unsafe_code)]

#[cfg(feature = "audit")]
pub mod audit;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "origin")]
pub mod origin;
#[cfg(feature = "provenance")]
pub mod provenance;
#[cfg(any(feature = "origin", feature = "trace"))]
// Each of the three uses a part of it.
#[cfg_attr(
    not(all(feature = "origin", feature = "trace", feature = "metrics")),
    allow(dead_code)
)]
mod reserved;
#[cfg(feature = "retry")]
pub mod retry;
#[cfg(feature = "trace")]
pub mod trace;

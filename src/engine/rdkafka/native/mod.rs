//! The one module with `unsafe`: a safe face for librdkafka's producer.
//!
//! [`Client`] is the producer. A record goes in with [`Client::produce`] and comes out exactly once: rejected at once,
//! as a [`Report`](events::Report) of [`Client::poll`], or as an [`Orphan`] of [`Client::close`].
//!
//! What the safe face rests on, each kept in one place:
//!
//! - **Payloads** are not copied. Key and value live in a slot ([`slots`]) from before librdkafka sees them until their
//!   report, or until librdkafka's threads are gone.
//! - **Header lists** ([`headers`]) belong to the record inside librdkafka until the report detaches them, and come back as they
//!   were given: no plug-in is loaded ([`handle`]) that could change one.
//! - **Places** of slots go back to the slab that they came from.
//! - **A partitioner** of the user's ([`partitioner`]) lives as long as librdkafka, and is called with no lock held.
//! - **A certificate** that OpenSSL does not take is not taken ([`certificates`]): the callback only says why.
//! - **OpenSSL's state** outlives `main` ([`openssl`]), as librdkafka's threads may.
//! - **Tokens** ([`token`]) are copied by librdkafka, and hold no character that it would quote in a message.
//! - **Codes** that librdkafka passes on from a broker may be any number, and its enums are Rust enums in
//!   `rdkafka-sys`. [`sys`] declares the functions that give one again, with `i32`.
//! - **Order of destruction** is the order of [`Client`]'s fields: topics, librdkafka, the partitioner, slots.

// Calling a C library is what this module is for. The rest of the workspace denies `unsafe_code`.
#![allow(unsafe_code)]

mod certificates;
mod client;
mod codes;
#[cfg(feature = "rdkafka")]
mod consumed;
mod events;
mod handle;
mod headers;
mod lots;
mod openssl;
mod partitioner;
mod pool;
mod prefetch;
mod slots;
mod sys;
mod token;
mod topics;

#[cfg(test)]
mod tests;

pub(super) use certificates::number as refused_certificate;
#[cfg(test)]
use client::Rejected;
pub(super) use client::{Client, Orphan};
pub(super) use codes::{error_name, error_text};
#[cfg(feature = "rdkafka")]
pub(crate) use consumed::ConsumedHeaders;
#[cfg(test)]
use events::Report;
pub(super) use events::{Event, Reports, Status};
pub(super) use handle::NewError;
pub(super) use headers::HeaderList;
pub(super) use prefetch::prefetch_at;
pub(super) use slots::Slot;
pub(super) use topics::Topic as KnownTopic;

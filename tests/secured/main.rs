//! Secure connections to a real broker: every way in, as programs, `franking` and Java's properties files say it.
//!
//! Needs the feature `tls` or `tls-vendored`. One broker of their own serves most of the tests (`support::secured`);
//! certificates and the keys of tokens are made anew for each run. Each test prints its figures.

#![cfg(all(feature = "cli", any(feature = "tls", feature = "tls-vendored")))]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod acls;
mod brokers;
mod files;
mod program;
mod refusals;
mod revoked;
mod sends;
mod stores;
mod tokens;
mod ways;

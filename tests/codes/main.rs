//! Error codes, and the truth that is told about the records that they meet.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod duplicate;
mod fatal;
mod local;
mod neighbours;
mod sizes;
mod storage;
mod table;
mod trial;

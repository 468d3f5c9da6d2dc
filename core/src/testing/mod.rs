//! What tests of layers and engines need: a scripted engine, and the conformance suite.

mod blocking;
pub mod conformance;
mod scripted;

pub use self::{
    blocking::{block_on, send},
    scripted::{Answer, Scripted, Stored},
};

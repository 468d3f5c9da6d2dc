//! What becomes of records when brokers die and networks fail: a real cluster, the full default stack, and the oracle.
//!
//! Every test sends through proxies while it does harm, asserts that the harm was done with records in flight, and
//! prints its figures on one line. The numbers of the rows are those of `docs/guarantees.md`. `FRANKING_LONG=1` makes the
//! faults as long as that table says; `FRANKING_SEED` repeats a run's chances.

#[path = "../support/mod.rs"]
mod support;

mod acknowledgements;
mod connections;
mod copies;
mod ground;
mod leaders;
mod load;
mod outages;
mod soak;
mod topics;

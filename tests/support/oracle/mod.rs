//! The oracle: says of a run whether every record was told the truth about, whatever faults it went through.
//!
//! ```ignore
//! let history = History::new();
//! let stack = stack();
//! let audit = Arc::clone(stack.audit());
//! // Outermost, so that its hook hears final outcomes.
//! let producer = builder(bootstrap).layer(history.layer()).layer(stack).build()?;
//! history.send(&producer, &topic, stream).await;
//! producer.flush().await;
//! Judge::of(&history, &history.stored(bootstrap, &topic))
//!     .audit(audit.totals())
//!     .progress(Duration::from_secs(5))
//!     .verdict()
//!     .must_hold("what this run is called");
//! ```
//!
//! Three accounts are compared: what the application heard ([`History::hears`]), what a hook heard
//! ([`History::layer`]), and what is in the topic, read back whole by a client that is not ours ([`History::stored`]).
//! A record is known by a number at the head of its value, so that keys, headers and layers are the test's own.

mod copies;
mod heard;
mod history;
mod judge;
mod listener;
mod verdict;

pub use copies::Copy;
pub use heard::{End, Heard};
pub use history::History;
pub use judge::Judge;
pub use verdict::{Clause, Verdict};

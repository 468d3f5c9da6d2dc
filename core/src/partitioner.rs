//! Which partition a record goes to.

use crate::View;

/// Chooses a partition for each record that the application gave none.
///
/// It is asked once a record, with or without a key, when the topic's partitions are known: mostly on the sending thread,
/// and on the engine's own for records that were sent before. So it must not block, and must not send.
///
/// An answer below 0, or not below `partitions`, fails the record with
/// [`Code::UnknownTopicOrPartition`](crate::Code::UnknownTopicOrPartition), and so does a panic: not persisted, and nothing
/// else is harmed.
///
/// Closures are partitioners:
///
/// ```
/// use franking_core::{Partitioner, View};
///
/// // The last partition is for the customers who wait on the telephone.
/// let urgent = |record: &View<'_>, partitions: i32| match record.headers.get_str("priority") {
///     Some("urgent") => partitions - 1,
///     _ => 0,
/// };
/// # fn takes(_: impl Partitioner) {}
/// takes(urgent);
/// ```
pub trait Partitioner: Send + Sync + 'static {
    /// The record's partition: 0 or more, and below `partitions`, which is 1 or more.
    fn partition(&self, record: &View<'_>, partitions: i32) -> i32;
}

impl<F> Partitioner for F
where
    F: Fn(&View<'_>, i32) -> i32 + Send + Sync + 'static,
{
    fn partition(&self, record: &View<'_>, partitions: i32) -> i32 {
        self(record, partitions)
    }
}

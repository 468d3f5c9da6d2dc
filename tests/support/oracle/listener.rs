//! The oracle's hook.

use franking::{Failure, Interceptor, Outcome, Parts};

use super::History;

/// Tells a [`History`] what hooks hear.
pub struct Listener(pub(super) History);

impl Interceptor for Listener {
    type Token = Option<u64>;

    fn on_send(&self, record: &mut Parts) -> Result<Option<u64>, Failure> {
        let id = self.0.id_in(record.value.as_deref());
        if let Some(id) = id {
            self.0.enters(id);
        }
        Ok(id)
    }

    fn on_outcome(&self, id: Option<u64>, outcome: &Outcome<'_>) {
        if let Some(id) = id {
            let heard = outcome.result.into();
            self.0.unwinds(id, heard, outcome.attempts, outcome.at);
        }
    }
}

//! A thread that has OAUTHBEARER's tokens fetched: whoever has them may take his time.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak, mpsc},
    thread,
};

use super::worker::Shared;
use crate::oauthbearer::{OAuthBearerToken, TokenRetriever};

/// How much of an error's text is logged.
const TOLD: usize = 300;

/// What librdkafka's wishes for a token go to, one at a time. The thread ends with the last sender.
pub(super) type Wishes = mpsc::Sender<()>;

/// Starts the thread.
pub(super) fn spawn(
    shared: Weak<Shared>,
    tokens: Arc<dyn TokenRetriever>,
    wishes: mpsc::Receiver<()>,
) -> io::Result<()> {
    thread::Builder::new()
        .name("franking-token".into())
        .spawn(move || {
            while wishes.recv().is_ok() {
                let token = retrieve(&*tokens);
                // Weak, and only now: an engine that is left meanwhile does not wait for a token.
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                if let Some(client) = &*shared.client() {
                    let set = token.and_then(|token| client.set_token(&token));
                    if let Err(reason) = set {
                        client.token_failed(&reason);
                    }
                }
            }
        })?;
    Ok(())
}

/// A token, or one line that says why not.
fn retrieve(tokens: &dyn TokenRetriever) -> Result<OAuthBearerToken, String> {
    let retrieved = catch_unwind(AssertUnwindSafe(|| tokens.retrieve()));
    let error = match retrieved {
        Ok(Ok(token)) => return Ok(token),
        Ok(Err(error)) => catch_unwind(AssertUnwindSafe(|| error.to_string())).ok(),
        Err(_) => None,
    };
    let error = error.unwrap_or_else(|| "who should have it panicked".to_owned());
    Err(error
        .chars()
        .take(TOLD)
        .flat_map(char::escape_debug)
        .collect())
}

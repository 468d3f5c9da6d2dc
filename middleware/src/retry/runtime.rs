//! Where waits run.

use std::{io, sync::OnceLock, thread};

use tokio::runtime::{Builder, Handle};

/// A tokio runtime of the application's, or our own.
#[derive(Clone, Debug)]
pub(super) struct Runtime(Option<Handle>);

impl Runtime {
    pub(super) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    pub(super) fn on(handle: Handle) -> Self {
        Self(Some(handle))
    }

    /// `None` if there is none and none can be started: then nothing can be retried.
    pub(super) fn handle(&self) -> Option<Handle> {
        match &self.0 {
            Some(handle) => Some(handle.clone()),
            None => own(),
        }
    }
}

/// One thread for the whole process, started when it is first needed. It sleeps unless something was to be sent again.
fn own() -> Option<Handle> {
    static OWN: OnceLock<Option<Handle>> = OnceLock::new();
    OWN.get_or_init(|| start().ok()).clone()
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("franking-retry".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

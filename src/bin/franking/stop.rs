//! What ends a command from outside: signals, and a pipe that nobody reads.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::signal::unix::{SignalKind, signal};

/// A signal that came, as the exit code that tells of it.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicU8>);

impl Stop {
    pub(crate) fn asked(&self) -> Option<u8> {
        Some(self.0.load(SeqCst)).filter(|code| *code > 0)
    }
}

/// From here on SIGINT and SIGTERM do not end the process by themselves, but a second one ends it at once: the first may
/// not be looked at while a pipe that nobody reads is full.
pub(crate) fn hear() -> io::Result<Stop> {
    let stop = Stop::default();
    let hears = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                if hears.0.swap(code, SeqCst) > 0 {
                    std::process::exit(code.into());
                }
            }
        });
    });
    Ok(stop)
}

/// Whether nobody reads what is printed any more. Without a look nobody would know before the next record comes.
pub(crate) fn is_closed(stdout: &io::Stdout) -> bool {
    let mut looked_at = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    match poll(&mut looked_at, PollTimeout::ZERO) {
        Ok(_) => looked_at[0]
            .revents()
            .is_some_and(|now| now.intersects(gone)),
        Err(_) => false,
    }
}

//! What ends the reading before the input does.

use std::{io, sync::OnceLock};

use serde::Serialize;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// Why no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Ended {
    /// The input is at its end.
    #[serde(rename = "input")]
    Input,
    /// The input could not be read any further.
    #[serde(rename = "input_error")]
    InputError,
    #[serde(rename = "SIGINT")]
    Interrupted,
    #[serde(rename = "SIGTERM")]
    Terminated,
    /// A record failed or a line was bad, and `--stop-on-error` is given.
    #[serde(rename = "stop_on_error")]
    Error,
    /// The producer can go on no more.
    #[serde(rename = "fatal")]
    Fatal,
}

/// A request to stop; the first one counts.
#[derive(Default)]
pub(super) struct Stop {
    why: OnceLock<Ended>,
    asked: Notify,
}

impl Stop {
    pub(super) fn ask(&self, why: Ended) {
        let _ = self.why.set(why);
        self.asked.notify_waiters();
    }

    pub(super) fn why(&self) -> Option<Ended> {
        self.why.get().copied()
    }

    /// Resolves when it is asked for.
    pub(super) async fn asked(&self) -> Ended {
        loop {
            // Made before the look: it hears of whatever is asked from here on.
            let asked = self.asked.notified();
            if let Some(why) = self.why() {
                return why;
            }
            asked.await;
        }
    }
}

/// The two signals that ask a program to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Ended {
        tokio::select! {
            _ = self.interrupt.recv() => Ended::Interrupted,
            _ = self.terminate.recv() => Ended::Terminated,
        }
    }
}

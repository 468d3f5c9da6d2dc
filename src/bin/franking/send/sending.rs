//! From the first line to the summary.

use std::{
    io,
    pin::pin,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use franking::{Code, Producer, Topic};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::{
    input::Piece,
    line::{BadLine, Format},
    stop::{Ended, Signals, Stop},
    summary::Summary,
    tally::Tally,
};
use crate::{BoxError, terminal};

/// What the tasks of a run and the callbacks of its records share.
pub(super) struct Run {
    pub(super) topic: Topic,
    pub(super) tally: Tally,
    pub(super) stop: Stop,
    pub(super) bar: ProgressBar,
    pub(super) started: Instant,
    pub(super) deadline: Duration,
    pub(super) stop_on_error: bool,
    pub(super) json: bool,
    /// Somebody tells the end already.
    pub(super) told: AtomicBool,
}

impl Run {
    /// Sends it all and tells what became of it.
    pub(super) async fn send(
        &'static self,
        producer: &Producer<Bytes, Bytes>,
        format: &Format,
        pieces: mpsc::Receiver<io::Result<Piece>>,
    ) -> Result<ExitCode, BoxError> {
        let mut feeding = pin!(self.feed(producer, format, pieces));
        let mut fed = tokio::select! {
            biased;
            ended = &mut feeding => Some(ended),
            _ = self.stop.asked() => None,
        };
        if let Some(ended @ (Ended::Input | Ended::InputError)) = fed {
            tokio::select! {
                () = producer.flush() => return self.finish(ended, None),
                _ = self.stop.asked() => {}
            }
        }

        let outstanding = self.tally.counts().outstanding;
        let stopped = Instant::now();
        if fed.is_none() {
            // The record in hand was accepted: it may still wait for room.
            fed = timeout(self.deadline, &mut feeding).await.ok();
        }
        let mut closing = pin!(producer.close(self.deadline.saturating_sub(stopped.elapsed())));
        loop {
            tokio::select! {
                biased;
                // First: whoever waits for room hears of the close, and has its outcome before the close has its own.
                ended = &mut feeding, if fed.is_none() => fed = Some(ended),
                _ = &mut closing => break,
            }
        }
        let ended = fed.or(self.stop.why()).unwrap_or(Ended::Input);
        self.finish(ended, Some(outstanding))
    }

    /// Reads and sends until the input ends or somebody stops it.
    async fn feed(
        &'static self,
        producer: &Producer<Bytes, Bytes>,
        format: &Format,
        mut pieces: mpsc::Receiver<io::Result<Piece>>,
    ) -> Ended {
        loop {
            let piece = tokio::select! {
                biased;
                why = self.stop.asked() => return why,
                piece = pieces.recv() => piece,
            };
            let piece = match piece {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    self.bar.suspend(|| terminal::error(&error));
                    return Ended::InputError;
                }
                None => return Ended::Input,
            };
            for text in piece.lines() {
                if let Some(why) = self.stop.why() {
                    return why;
                }
                self.take(producer, format, text).await;
            }
        }
    }

    /// Takes a line; returns when its record is queued.
    async fn take(
        &'static self,
        producer: &Producer<Bytes, Bytes>,
        format: &Format,
        text: Option<&[u8]>,
    ) {
        let line = self.tally.line();
        let too_long = || BadLine("it is longer than max.request.size allows".to_owned());
        match text
            .ok_or_else(too_long)
            .and_then(|text| format.record(text))
        {
            Ok(Some(record)) => {
                self.tally.accept();
                let heard = move |result| {
                    if let Some(error) = self.tally.ended(line, result) {
                        self.failed(error.code());
                    }
                };
                producer.send_with(record, heard).await;
            }
            Ok(None) => {}
            Err(bad) => {
                self.tally.bad(line, &bad);
                if self.stop_on_error {
                    self.stop.ask(Ended::Error);
                }
            }
        }
    }

    fn failed(&self, code: &Code) {
        if *code == Code::Fatal {
            // Every later record would hear the same.
            self.stop.ask(Ended::Fatal);
        } else if self.stop_on_error {
            self.stop.ask(Ended::Error);
        }
    }

    /// Stops with the first signal, ends the process with the second.
    pub(super) async fn hear(&'static self, mut signals: Signals) {
        let why = signals.next().await;
        let outstanding = self.tally.counts().outstanding;
        self.bar.suspend(|| {
            terminal::remark(format_args!(
                "reads no more; {outstanding} records have {} s to be delivered; a second signal ends at once",
                self.deadline.as_secs_f64()
            ));
        });
        self.stop.ask(why);
        signals.next().await;
        // `None`: the run is over and about to return.
        match self.tell(why, Some(outstanding)) {
            Some(Ok(code)) => std::process::exit(code.into()),
            Some(Err(error)) => {
                terminal::error(&*error);
                std::process::exit(1);
            }
            None => {}
        }
    }

    fn finish(&self, ended: Ended, outstanding: Option<u64>) -> Result<ExitCode, BoxError> {
        match self.tell(ended, outstanding) {
            Some(code) => Ok(code?.into()),
            // A second signal tells it just now, and ends the process.
            None => loop {
                thread::park();
            },
        }
    }

    /// Tells the end, if nobody did; gives the exit code.
    fn tell(&self, ended: Ended, outstanding: Option<u64>) -> Option<Result<u8, BoxError>> {
        if self.told.swap(true, SeqCst) {
            return None;
        }
        self.bar.finish_and_clear();
        let summary = Summary::new(self, ended, outstanding);
        let printed = summary.print(self.json);
        let reported = self.tally.close_report(json!(summary));
        Some(match (printed, reported) {
            (Ok(()), Ok(())) => Ok(summary.exit_code()),
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(format!("the report could not be written: {error}").into()),
        })
    }
}

//! An application that sends on, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use franking::Topic;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::support::Full;

/// Tasks, and the keys of each.
const TASKS: u32 = 4;
const KEYS: u32 = 16;

/// Four tasks that send records of sixty-four keys.
pub(crate) struct Load {
    runtime: Runtime,
    full: Full,
    endless: bool,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends this many records, as fast as there is room.
    pub(crate) fn of(full: &Full, topic: &Topic, records: u64) -> Self {
        Self::start(full, topic, records, None, 0)
    }

    /// Sends this many records a second, until it is finished.
    pub(crate) fn paced(full: &Full, topic: &Topic, per_second: u32) -> Self {
        Self::chapter(full, topic, per_second, 0)
    }

    /// The same, with keys of this chapter's own: for the topics that one producer sends to one after the other.
    pub(crate) fn chapter(full: &Full, topic: &Topic, per_second: u32, chapter: u32) -> Self {
        let first = chapter * TASKS * KEYS;
        Self::start(full, topic, u64::MAX, Some(per_second), first)
    }

    fn start(
        full: &Full,
        topic: &Topic,
        records: u64,
        per_second: Option<u32>,
        first_stream: u32,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let pace = per_second.map(|per_second| Duration::from_secs(1) * TASKS / per_second);
        let tasks = (0..TASKS).map(|task| {
            let (full, topic, stop) = (full.clone(), topic.clone(), Arc::clone(&stop));
            let each = records / u64::from(TASKS);
            runtime.spawn(async move {
                let start = Instant::now();
                for n in 0..each {
                    if stop.load(Relaxed) {
                        return;
                    }
                    if let Some(pace) = pace {
                        // Behind its time, it does not sleep.
                        let due = start + pace * n as u32;
                        tokio::time::sleep_until(due.into()).await;
                    }
                    let stream = first_stream + task * KEYS + n as u32 % KEYS;
                    full.history.send(&full.producer, &topic, stream).await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            full: full.clone(),
            endless: per_second.is_some(),
            stop,
            runtime,
        }
    }

    /// Whether all that was asked for is sent.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// Sends the rest of the records that were asked for, or no more if there is no such number, and waits until every
    /// record has an outcome.
    pub(crate) fn finish(self, within: Duration) {
        self.stop.store(self.endless, Relaxed);
        let all = async {
            for task in self.tasks {
                task.await.unwrap();
            }
            self.full.producer.flush().await;
        };
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(within, all).await });
        assert!(
            ended.is_ok(),
            "{} records have no outcome after {within:?}",
            self.full.history.in_flight()
        );
    }
}

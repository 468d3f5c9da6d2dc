//! The cluster that the tests of this binary share, one at a time.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Cluster, Proxy, ProxyCounts, eventually, partitions_of, replicated_topic};

/// Three brokers behind proxies, whole and healthy, for one test.
pub(crate) struct Ground(MutexGuard<'static, Cluster>);

/// Waits for its turn: three brokers on a small machine bear one test at a time.
pub(crate) fn ground() -> Ground {
    static SHARED: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        // A deleted topic must stay deleted.
        let settings = [("auto.create.topics.enable", "false")];
        Mutex::new(Cluster::behind_proxies(3, &settings))
    });
    // Whoever failed before may have left harm behind.
    let cluster = shared.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.heal();
    Ground(cluster)
}

impl Deref for Ground {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Ground {
    /// A topic with three replicas, two of which must have a record before it is acknowledged.
    pub(crate) fn topic(&self, what: &str, partitions: usize) -> franking::Topic {
        replicated_topic(self.direct(), what, partitions, 3, &[]).into()
    }

    /// The broker that leads this partition.
    pub(crate) fn leader(&self, topic: &str, partition: usize) -> u8 {
        partitions_of(self.direct(), topic)[partition]
            .leader
            .expect("a leader")
    }

    /// Waits until every replica of this topic is in sync.
    pub(crate) fn wait_until_whole(&self, topic: &str) {
        let whole = || {
            let partitions = partitions_of(self.direct(), topic);
            partitions
                .iter()
                .all(|p| p.leader.is_some() && p.in_sync == p.replicas)
        };
        assert!(
            eventually(whole),
            "{:?}",
            partitions_of(self.direct(), topic)
        );
    }

    /// What all proxies have done so far.
    pub(crate) fn counts(&self) -> ProxyCounts {
        let mut all = ProxyCounts::default();
        for counts in self.proxies().iter().map(Proxy::counts) {
            all.connections += counts.connections;
            all.cut += counts.cut;
            all.unanswered += counts.unanswered;
            all.acks_dropped += counts.acks_dropped;
            all.produced += counts.produced;
        }
        all
    }
}

/// What the tests set beside Kafka's defaults: a request that is not answered is given up soon.
pub(crate) const HASTY: &[(&str, &str)] = &[("request.timeout.ms", "1500")];

/// The long form of a fault if `FRANKING_LONG` is set.
pub(crate) fn seconds(quick: u64, long: u64) -> Duration {
    let wanted = std::env::var("FRANKING_LONG").is_ok_and(|value| value == "1");
    Duration::from_secs(if wanted { long } else { quick })
}

/// Waits until this is so; panics if it is not within the time.
pub(crate) fn within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

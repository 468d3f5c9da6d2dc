//! A proxy in front of a broker, which does to connections what networks do.
//!
//! It knows Kafka's frames (a size, then for requests the kind and a number, which the answer repeats), so it can drop
//! the acknowledgements of produce requests that the broker has carried out. It counts what it did, so that a test can
//! assert that its fault happened while records were in flight. For plaintext, and for `acks` other than 0, which has
//! no answers.

mod connection;
mod frames;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// All proxies of a process run here, on a thread of their own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("proxy")
        .enable_all()
        .build()
        .unwrap()
});

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the broker: requests.
    There,
    /// To the client: answers.
    Back,
}

/// What becomes of a connection whose acknowledgement was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is closed.
    Close,
    /// It stays open, and the client never hears of it again.
    Silence,
}

/// What the proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections: u64,
    /// Connections that were cut or half closed.
    pub cut: u64,
    /// Produce requests that had no answer when their connection was cut or half closed, or their answer dropped.
    pub unanswered: u64,
    /// Produce requests that the broker carried out, and whose acknowledgement the client never saw.
    pub acks_dropped: u64,
    /// Produce requests that came from the client.
    pub produced: u64,
}

/// How the network is just now: at first, good.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    stalled_there: bool,
    stalled_back: bool,
    /// Each frame takes this long.
    delay: Duration,
    /// And each byte its part of a second.
    bytes_per_second: Option<u32>,
}

/// Sees each produce request that comes from the client.
type Witness = Box<dyn Fn(&[u8]) + Send>;

#[derive(Default)]
struct State {
    broker: Option<SocketAddr>,
    counts: Counts,
    connections: HashMap<u64, Connection>,
    /// So many acknowledgements are still to be dropped.
    drop_acks: Option<(u64, Then)>,
    witness: Option<Witness>,
}

/// A connection, as the levers reach it.
struct Connection {
    task: AbortHandle,
    half_close: watch::Sender<Option<Way>>,
    /// Produce requests without an answer.
    unanswered: u64,
}

struct Shared {
    state: Mutex<State>,
    weather: watch::Sender<Weather>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A proxy that listens on a port of its own. Dropping it closes everything.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

impl Proxy {
    /// Listens; connections are closed at once until [`forward_to`](Self::forward_to) names the broker.
    pub fn new() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            weather: watch::Sender::new(Weather::default()),
        });
        let listener = RUNTIME
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            listening: RUNTIME
                .spawn(connection::listen(listener, Arc::clone(&shared)))
                .abort_handle(),
            shared,
        }
    }

    /// Names the broker to connect to.
    pub fn forward_to(&self, broker: SocketAddr) {
        self.shared.lock().broker = Some(broker);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Produce requests that came from the client and have no answer yet.
    pub fn in_flight(&self) -> u64 {
        let state = self.shared.lock();
        state
            .connections
            .values()
            .map(|connection| connection.unanswered)
            .sum()
    }

    // === faults ===

    /// Cuts all connections. New ones may come at once.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        for (_, connection) in std::mem::take(&mut state.connections) {
            connection.task.abort();
            state.counts.cut += 1;
            state.counts.unanswered += connection.unanswered;
        }
    }

    /// Ends one way of all connections; what comes from the other side still passes.
    pub fn half_close(&self, way: Way) {
        let mut state = self.shared.lock();
        let unanswered: u64 = state
            .connections
            .values()
            .map(|connection| {
                connection.half_close.send_replace(Some(way));
                connection.unanswered
            })
            .sum();
        state.counts.cut += state.connections.len() as u64;
        state.counts.unanswered += unanswered;
    }

    /// Holds back all frames on this way, also of new connections.
    pub fn stall(&self, way: Way) {
        self.shared.weather.send_modify(|weather| match way {
            Way::There => weather.stalled_there = true,
            Way::Back => weather.stalled_back = true,
        });
    }

    /// Slows both ways down: each frame takes this long, and its bytes pass at this rate.
    pub fn slow(&self, delay: Duration, bytes_per_second: Option<u32>) {
        self.shared.weather.send_modify(|weather| {
            weather.delay = delay;
            weather.bytes_per_second = bytes_per_second;
        });
    }

    /// Drops the acknowledgements of the next `n` produce requests that the broker answers.
    pub fn drop_acks(&self, n: u64, then: Then) {
        self.shared.lock().drop_acks = Some((n, then));
    }

    /// How many acknowledgements are still to be dropped.
    pub fn acks_to_drop(&self) -> u64 {
        self.shared.lock().drop_acks.map_or(0, |(n, _)| n)
    }

    /// Shows every produce request to this function.
    pub fn witness(&self, witness: impl Fn(&[u8]) + Send + 'static) {
        self.shared.lock().witness = Some(Box::new(witness));
    }

    /// Good weather again: ends stalls and slowness.
    pub fn resume(&self) {
        self.shared.weather.send_replace(Weather::default());
    }

    /// Ends every fault that is or was to come. What was cut stays cut.
    pub fn heal(&self) {
        self.resume();
        let mut state = self.shared.lock();
        state.drop_acks = None;
        state.witness = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

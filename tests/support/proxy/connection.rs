//! One connection through a proxy, frame by frame.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::frames::Frame;
use super::{Connection, Shared, Then, Way, Weather};

/// Takes connections for as long as the proxy lives.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    for id in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            // Too many open files, or a connection that is gone already.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut state = shared.lock();
        let Some(broker) = state.broker else {
            continue;
        };
        state.counts.connections += 1;
        let (half_close, half_closed) = watch::channel(None);
        let task = tokio::spawn(serve(Arc::clone(&shared), id, client, broker, half_closed));
        let connection = Connection {
            task: task.abort_handle(),
            half_close,
            unanswered: 0,
        };
        state.connections.insert(id, connection);
    }
}

/// Forwards both ways until either side closes; then closes both, as there is nothing more to be said.
async fn serve(
    shared: Arc<Shared>,
    id: u64,
    client: TcpStream,
    broker: SocketAddr,
    half_closed: watch::Receiver<Option<Way>>,
) {
    if let Ok(broker) = TcpStream::connect(broker).await {
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let wire = Wire {
            shared: &shared,
            id,
            unanswered: Mutex::default(),
        };
        tokio::select! {
            _ = wire.forward(Way::There, from_client, to_broker, half_closed.clone()) => {}
            _ = wire.forward(Way::Back, from_broker, to_client, half_closed) => {}
        }
    }
    shared.lock().connections.remove(&id);
}

struct Wire<'a> {
    shared: &'a Shared,
    id: u64,
    /// The numbers of produce requests without an answer.
    unanswered: Mutex<HashSet<i32>>,
}

impl Wire<'_> {
    async fn forward(
        &self,
        way: Way,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        mut half_closed: watch::Receiver<Option<Way>>,
    ) -> io::Result<()> {
        to.as_ref().set_nodelay(true)?;
        let mut weather = self.shared.weather.subscribe();
        let mut silent = false;
        loop {
            let ended = async {
                let ended = half_closed.wait_for(|ended| *ended == Some(way));
                ended.await.is_ok()
            };
            let frame = tokio::select! {
                frame = Frame::read(&mut from) => frame?,
                true = ended => {
                    to.shutdown().await?;
                    // The other way ends the connection, or a cut does.
                    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
                    return std::future::pending().await;
                }
            };
            if silent {
                continue;
            }
            if way == Way::There {
                self.note_request(&frame);
            }
            pass(&mut weather, way, frame.bytes().len()).await;
            if way == Way::Back {
                match self.drops(&frame) {
                    Some(Then::Close) => return Ok(()),
                    Some(Then::Silence) => {
                        silent = true;
                        continue;
                    }
                    None => {}
                }
            }
            to.write_all(frame.bytes()).await?;
            if way == Way::Back {
                self.note_answer(&frame);
            }
        }
    }

    fn note_request(&self, frame: &Frame) {
        let (true, Some(number)) = (frame.produces(), frame.number()) else {
            return;
        };
        self.unanswered.lock().unwrap().insert(number);
        let mut state = self.shared.lock();
        state.counts.produced += 1;
        if let Some(connection) = state.connections.get_mut(&self.id) {
            connection.unanswered += 1;
        }
        if let Some(witness) = &state.witness {
            witness(frame.bytes());
        }
    }

    /// Whether this answer is to be dropped, and what then.
    fn drops(&self, frame: &Frame) -> Option<Then> {
        if !self.unanswered.lock().unwrap().contains(&frame.answers()?) {
            return None;
        }
        let mut state = self.shared.lock();
        let (left, then) = state.drop_acks.filter(|(left, _)| *left > 0)?;
        state.drop_acks = Some((left - 1, then));
        state.counts.acks_dropped += 1;
        let connection = state.connections.get(&self.id);
        state.counts.unanswered += connection.map_or(0, |connection| connection.unanswered);
        Some(then)
    }

    fn note_answer(&self, frame: &Frame) {
        let answers = |number| self.unanswered.lock().unwrap().remove(&number);
        if frame.answers().is_some_and(answers)
            && let Some(connection) = self.shared.lock().connections.get_mut(&self.id)
        {
            connection.unanswered -= 1;
        }
    }
}

/// Waits as the weather wants it.
async fn pass(weather: &mut watch::Receiver<Weather>, way: Way, bytes: usize) {
    let Weather {
        delay,
        bytes_per_second,
        ..
    } = *weather.borrow();
    let rate = bytes_per_second.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(bytes as f64 / f64::from(rate))
    });
    let time = delay + rate;
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
    let stalled = |weather: &Weather| match way {
        Way::There => weather.stalled_there,
        Way::Back => weather.stalled_back,
    };
    // The sender lives as long as the proxy, and this connection no longer.
    let _ = weather.wait_for(|weather| !stalled(weather)).await;
}

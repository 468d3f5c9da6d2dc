//! The proxy does what its levers say, and counts what it did.

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use support::{Proxy, ProxyCounts, Then, Way, eventually};

const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
/// Nothing comes within this time if nothing comes at all.
const SILENCE: Duration = Duration::from_millis(200);

/// Reads a frame without its size; `None` at the end of the connection.
fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut frame = vec![0; u32::from_be_bytes(size) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let size = u32::try_from(frame.len()).unwrap();
    to.write_all(&[&size.to_be_bytes(), frame].concat())
}

/// A broker that answers every request with its number, and tells of the numbers that came.
fn broker(proxy: &Proxy) -> Receiver<i32> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    let (came, numbers) = channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut connection, came) = (connection.unwrap(), came.clone());
            thread::spawn(move || {
                while let Ok(request) = read_frame(&mut connection) {
                    let number = request[4..8].try_into().unwrap();
                    if came.send(i32::from_be_bytes(number)).is_err()
                        || write_frame(&mut connection, &number).is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    numbers
}

struct Client(TcpStream);

impl Client {
    fn of(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        Self(stream)
    }

    fn asks(&mut self, kind: i16, number: i32) {
        let request = [&kind.to_be_bytes()[..], &[0, 9], &number.to_be_bytes()].concat();
        write_frame(&mut self.0, &[&request, &b"and more"[..]].concat()).unwrap();
    }

    /// The number of the next answer; an error once the connection is closed, or if nothing comes in time.
    fn hears(&mut self, within: Duration) -> io::Result<i32> {
        self.0.set_read_timeout(Some(within)).unwrap();
        let answer = read_frame(&mut self.0)?;
        Ok(i32::from_be_bytes(answer[..4].try_into().unwrap()))
    }

    /// Hears this, soon.
    fn hears_of(&mut self, number: i32) {
        assert_eq!(self.hears(Duration::from_secs(10)).unwrap(), number);
    }

    fn hears_nothing(&mut self) {
        let error = self.hears(SILENCE).unwrap_err();
        assert!(is_timeout(&error), "{error}");
    }

    fn is_closed(&mut self) {
        let error = self.hears(Duration::from_secs(10)).unwrap_err();
        assert!(!is_timeout(&error), "{error}");
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn forwards_both_ways_and_counts() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    let mut client = Client::of(&proxy);
    for number in 0..10 {
        client.asks(if number < 7 { PRODUCE } else { METADATA }, number);
        client.hears_of(number);
        assert_eq!(came.recv_timeout(PATIENCE), Ok(number));
    }
    let counts = ProxyCounts {
        connections: 1,
        produced: 7,
        ..ProxyCounts::default()
    };
    assert_eq!(proxy.counts(), counts);
    assert!(eventually(|| proxy.in_flight() == 0));
}

#[test]
fn closes_what_comes_while_there_is_no_broker() {
    let proxy = Proxy::new();
    Client::of(&proxy).is_closed();
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.forward_to(gone.local_addr().unwrap());
    drop(gone);
    Client::of(&proxy).is_closed();
}

#[test]
fn a_broker_that_closes_closes_the_client() {
    let proxy = Proxy::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    let mut client = Client::of(&proxy);
    drop(listener.accept().unwrap());
    client.is_closed();
    assert!(eventually(|| proxy.counts().connections == 1));
    assert_eq!(proxy.counts().cut, 0);
}

#[test]
fn cuts_all_connections_and_takes_new_ones() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    let (mut one, mut other) = (Client::of(&proxy), Client::of(&proxy));
    proxy.stall(Way::Back);
    one.asks(PRODUCE, 1);
    one.asks(METADATA, 2);
    other.asks(PRODUCE, 3);
    for _ in 0..3 {
        came.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(proxy.in_flight(), 2);
    proxy.cut();
    one.is_closed();
    other.is_closed();
    assert!(eventually(|| proxy.in_flight() == 0));
    let counts = proxy.counts();
    assert_eq!((counts.cut, counts.unanswered), (2, 2));

    proxy.heal();
    let mut again = Client::of(&proxy);
    again.asks(PRODUCE, 4);
    again.hears_of(4);
}

#[test]
fn stalls_one_way() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    let mut client = Client::of(&proxy);
    client.asks(PRODUCE, 0);
    client.hears_of(0);
    came.recv_timeout(PATIENCE).unwrap();

    proxy.stall(Way::There);
    client.asks(PRODUCE, 1);
    client.hears_nothing();
    assert!(came.try_recv().is_err());
    proxy.heal();
    client.hears_of(1);
    came.recv_timeout(PATIENCE).unwrap();

    proxy.stall(Way::Back);
    client.asks(PRODUCE, 2);
    assert_eq!(came.recv_timeout(PATIENCE), Ok(2));
    client.hears_nothing();
    assert_eq!(proxy.in_flight(), 1);
    proxy.heal();
    client.hears_of(2);
}

#[test]
fn slows_down() {
    let proxy = Proxy::new();
    let _came = broker(&proxy);
    let mut client = Client::of(&proxy);
    let mut round_trip = |number| {
        let start = Instant::now();
        client.asks(PRODUCE, number);
        client.hears_of(number);
        start.elapsed()
    };
    proxy.slow(Duration::from_millis(100), None);
    assert!(round_trip(1) >= Duration::from_millis(200));
    // 20 bytes there, 8 back.
    proxy.slow(Duration::ZERO, Some(100));
    assert!(round_trip(2) >= Duration::from_millis(280));
    proxy.heal();
    assert!(round_trip(3) < Duration::from_millis(200));
}

#[test]
fn half_closes_the_way_to_the_broker_while_answers_still_pass() {
    let proxy = Proxy::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.forward_to(listener.local_addr().unwrap());
    let mut client = Client::of(&proxy);
    let (mut broker, _) = listener.accept().unwrap();
    client.asks(PRODUCE, 1);
    assert_eq!(read_frame(&mut broker).unwrap()[4..8], 1_i32.to_be_bytes());
    proxy.half_close(Way::There);
    let end = read_frame(&mut broker).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    // Goes nowhere, and harms nothing.
    client.asks(PRODUCE, 2);
    write_frame(&mut broker, &1_i32.to_be_bytes()).unwrap();
    client.hears_of(1);
    let counts = proxy.counts();
    assert_eq!((counts.cut, counts.unanswered), (1, 1));
    drop(broker);
    client.is_closed();
}

#[test]
fn half_closes_the_way_to_the_client_while_requests_still_pass() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    let mut client = Client::of(&proxy);
    client.asks(PRODUCE, 1);
    client.hears_of(1);
    proxy.half_close(Way::Back);
    client.is_closed();
    client.asks(PRODUCE, 2);
    assert_eq!(came.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(came.recv_timeout(PATIENCE), Ok(2));
}

#[test]
fn drops_acknowledgements_of_what_the_broker_did() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    proxy.drop_acks(2, Then::Close);
    for number in 0..2 {
        let mut client = Client::of(&proxy);
        // Other answers pass.
        client.asks(METADATA, 100);
        client.hears_of(100);
        client.asks(PRODUCE, number);
        client.is_closed();
        assert_eq!(came.recv_timeout(PATIENCE), Ok(100));
        assert_eq!(came.recv_timeout(PATIENCE), Ok(number));
    }
    let mut client = Client::of(&proxy);
    client.asks(PRODUCE, 2);
    client.hears_of(2);
    let counts = proxy.counts();
    assert_eq!((counts.acks_dropped, counts.unanswered), (2, 2));
    assert_eq!(proxy.acks_to_drop(), 0);
    assert!(eventually(|| proxy.in_flight() == 0));
}

#[test]
fn drops_an_acknowledgement_and_falls_silent() {
    let proxy = Proxy::new();
    let came = broker(&proxy);
    proxy.drop_acks(2, Then::Silence);
    let mut client = Client::of(&proxy);
    client.asks(PRODUCE, 1);
    client.asks(PRODUCE, 2);
    client.hears_nothing();
    assert_eq!(came.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(came.recv_timeout(PATIENCE), Ok(2));
    // One a connection: what comes behind it can be no answer.
    assert_eq!(proxy.counts().acks_dropped, 1);
    assert_eq!(proxy.acks_to_drop(), 1);
    proxy.heal();
    client.hears_nothing();
}

#[test]
fn shows_produce_requests_to_a_witness() {
    let proxy = Proxy::new();
    let _came = broker(&proxy);
    let (seen, requests) = channel();
    proxy.witness(move |request| seen.send(request.to_vec()).unwrap());
    let mut client = Client::of(&proxy);
    client.asks(METADATA, 1);
    client.asks(PRODUCE, 2);
    client.hears_of(1);
    client.hears_of(2);
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.ends_with(b"and more"));
    assert!(requests.try_recv().is_err());
}

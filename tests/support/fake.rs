//! A broker that answers as a test wants, with any number, and counts: what the mock cluster cannot.
//!
//! It is one broker, with one partition of any topic, and knows just the requests that a producer makes, in one version
//! each. A batch that it does not refuse is stored: that is, its records are counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// Kafka's numbers of the requests, and the versions that are spoken here.
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
const SASL_AUTHENTICATE: i16 = 36;
// A client that finds no Fetch of version 4 takes the broker for one without headers.
const SPOKEN: [(i16, i16); 7] = [
    (PRODUCE, 8),
    (1, 4),
    (METADATA, 4),
    (SASL_HANDSHAKE, 1),
    (API_VERSIONS, 3),
    (INIT_PRODUCER_ID, 0),
    (SASL_AUTHENTICATE, 1),
];

/// How Produce requests are answered.
#[derive(Clone, Debug, Default)]
pub enum Produced {
    /// Stored.
    #[default]
    Well,
    /// Refused with this number.
    Code(i16),
    /// Refused with `INVALID_RECORD`, for these records of the batch.
    Records(Vec<i32>),
    /// Stored, but the answer ends in its middle.
    Garbled,
    /// Not stored, and the connection is closed.
    HangUp,
    /// Not stored, and never answered.
    Silence,
}

pub struct FakeBroker {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    produced: Produced,
    /// What a topic's metadata and a new producer's id are answered with.
    topic_code: i16,
    producer_id_code: i16,
    hides_producer_ids: bool,
    down: bool,
    /// Takes no password; else it takes any.
    refuses_passwords: bool,
    produce_requests: usize,
    stored: usize,
    connections: Vec<TcpStream>,
    gone: bool,
}

impl FakeBroker {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let mut shared = lock(&all);
                if shared.gone {
                    return;
                }
                if shared.down {
                    continue;
                }
                shared.connections.push(connection.try_clone().unwrap());
                let all = Arc::clone(&all);
                // It ends with the connection.
                thread::spawn(move || serve(connection, address, &all));
            }
        });
        Self { address, shared }
    }

    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// From now on.
    pub fn answers(&self, produced: Produced) {
        lock(&self.shared).produced = produced;
    }

    /// Whoever asks for a topic gets this number.
    pub fn topic_answers(&self, code: i16) {
        lock(&self.shared).topic_code = code;
    }

    /// Who asks for a producer's id gets this number.
    pub fn producer_id_answers(&self, code: i16) {
        lock(&self.shared).producer_id_code = code;
    }

    /// As a broker of long ago, without idempotent producers.
    pub fn hides_producer_ids(&self) {
        lock(&self.shared).hides_producer_ids = true;
    }

    /// Closes its connections, and each new one at once.
    pub fn goes_down(&self) {
        let mut shared = lock(&self.shared);
        shared.down = true;
        shared.hang_up();
    }

    /// Closes its connections, and lets nobody in with SASL any more.
    pub fn refuses_passwords(&self) {
        let mut shared = lock(&self.shared);
        shared.refuses_passwords = true;
        shared.hang_up();
    }

    /// Answers everything as it should from now on.
    pub fn heals(&self) {
        let mut shared = lock(&self.shared);
        shared.produced = Produced::Well;
        (shared.topic_code, shared.producer_id_code) = (0, 0);
        (shared.hides_producer_ids, shared.down) = (false, false);
        shared.refuses_passwords = false;
    }

    /// How many Produce requests came.
    pub fn produce_requests(&self) -> usize {
        lock(&self.shared).produce_requests
    }

    /// How many records are stored.
    pub fn stored(&self) -> usize {
        lock(&self.shared).stored
    }
}

impl Shared {
    fn hang_up(&mut self) {
        for connection in self.connections.drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.gone = true;
        shared.hang_up();
        // The listener's thread sees it with the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap()
}

fn serve(mut connection: TcpStream, address: SocketAddr, shared: &Mutex<Shared>) {
    while let Ok(request) = read(&mut connection) {
        let mut request = Reader(&request);
        let (api, _version, correlation) = (request.i16(), request.i16(), request.i32());
        let _client_id = request.string();
        let mut answer = Writer::default();
        answer.i32(correlation);
        let mut shared = lock(shared);
        match api {
            API_VERSIONS => api_versions(&shared, &mut answer),
            SASL_HANDSHAKE => sasl_handshake(&mut answer),
            SASL_AUTHENTICATE => sasl_authenticate(&shared, &mut answer),
            METADATA => metadata(&shared, address, request, &mut answer),
            INIT_PRODUCER_ID => init_producer_id(&shared, &mut answer),
            PRODUCE => match produce(&mut shared, request, &mut answer) {
                Some(true) => {}
                Some(false) => continue,
                None => break,
            },
            other => panic!("a request of kind {other}"),
        }
        drop(shared);
        let size = i32::try_from(answer.0.len()).unwrap().to_be_bytes();
        if connection.write_all(&size).is_err() || connection.write_all(&answer.0).is_err() {
            break;
        }
    }
    let _ = connection.shutdown(std::net::Shutdown::Both);
}

fn read(connection: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    connection.read_exact(&mut size)?;
    let mut request = vec![0; u32::from_be_bytes(size) as usize];
    connection.read_exact(&mut request)?;
    Ok(request)
}

fn api_versions(shared: &Shared, answer: &mut Writer) {
    let spoken = SPOKEN
        .into_iter()
        .filter(|(api, _)| !shared.hides_producer_ids || *api != INIT_PRODUCER_ID);
    answer.i16(0);
    // A compact array: its length and one, in a byte.
    answer.0.push(spoken.clone().count() as u8 + 1);
    for (api, version) in spoken {
        for number in [api, version, version] {
            answer.i16(number);
        }
        answer.0.push(0);
    }
    answer.i32(0);
    answer.0.push(0);
}

fn sasl_handshake(answer: &mut Writer) {
    answer.i16(0);
    answer.i32(1);
    answer.string("PLAIN");
}

fn sasl_authenticate(shared: &Shared, answer: &mut Writer) {
    match shared.refuses_passwords {
        true => {
            answer.i16(58);
            // Terminals and logs shall not see such a thing.
            answer.string("no \x1b[31mway\n");
        }
        false => {
            answer.i16(0);
            answer.i16(-1);
        }
    }
    // No bytes of SASL's, and no end of the session.
    answer.i32(0);
    answer.i64(0);
}

fn metadata(shared: &Shared, address: SocketAddr, mut request: Reader<'_>, answer: &mut Writer) {
    let topics: Vec<_> = (0..request.i32()).map(|_| request.string()).collect();
    answer.i32(0);
    answer.i32(1);
    answer.i32(1);
    answer.string(&address.ip().to_string());
    answer.i32(address.port().into());
    // No rack, no cluster id, and the controller.
    answer.i16(-1);
    answer.i16(-1);
    answer.i32(1);
    answer.i32(topics.len() as i32);
    for topic in topics {
        answer.i16(shared.topic_code);
        answer.string(&topic);
        answer.0.push(0);
        let partitions = i32::from(shared.topic_code == 0);
        answer.i32(partitions);
        for partition in 0..partitions {
            answer.i16(0);
            answer.i32(partition);
            // The leader, the replicas, and those in sync.
            for number in [1, 1, 1, 1, 1] {
                answer.i32(number);
            }
        }
    }
}

fn init_producer_id(shared: &Shared, answer: &mut Writer) {
    answer.i32(0);
    answer.i16(shared.producer_id_code);
    answer.i64(4_000);
    answer.i16(0);
}

/// Whether there is an answer; `None` hangs up.
fn produce(shared: &mut Shared, mut request: Reader<'_>, answer: &mut Writer) -> Option<bool> {
    shared.produce_requests += 1;
    let _transactional_id = request.string();
    let (acks, _timeout) = (request.i16(), request.i32());
    let (code, records) = match &shared.produced {
        Produced::Well | Produced::Garbled => (0, vec![]),
        Produced::Code(code) => (*code, vec![]),
        Produced::Records(records) => (87, records.clone()),
        Produced::HangUp => return None,
        Produced::Silence => return Some(false),
    };
    answer.i32(request.i32());
    let topic = request.string();
    answer.string(&topic);
    answer.i32(request.i32());
    answer.i32(request.i32());
    let batch = request.bytes();
    // Of the header of a batch: its last record's number.
    let count = i32::from_be_bytes(batch[23..27].try_into().unwrap()) + 1;
    let offset = match code {
        0 => shared.stored as i64,
        _ => -1,
    };
    if code == 0 {
        shared.stored += count as usize;
    }
    answer.i16(code);
    for number in [offset, -1, 0] {
        answer.i64(number);
    }
    answer.i32(records.len() as i32);
    for record in records {
        answer.i32(record);
        answer.string("it is not valid");
    }
    answer.i16(-1);
    answer.i32(0);
    if let Produced::Garbled = shared.produced {
        answer.0.truncate(answer.0.len() / 2);
    }
    Some(acks != 0)
}

/// Reads Kafka's plain types from a request of this test's own client, so that a malformed one is a panic.
struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    /// Empty for null.
    fn string(&mut self) -> String {
        let size = usize::try_from(self.i16()).unwrap_or(0);
        let (taken, rest) = self.0.split_at(size);
        self.0 = rest;
        String::from_utf8(taken.to_vec()).unwrap()
    }

    fn bytes(&mut self) -> &'r [u8] {
        let size = self.i32() as usize;
        let (taken, rest) = self.0.split_at(size);
        self.0 = rest;
        taken
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn i16(&mut self, number: i16) {
        self.0.extend(number.to_be_bytes());
    }

    fn i32(&mut self, number: i32) {
        self.0.extend(number.to_be_bytes());
    }

    fn i64(&mut self, number: i64) {
        self.0.extend(number.to_be_bytes());
    }

    fn string(&mut self, text: &str) {
        self.i16(i16::try_from(text.len()).unwrap());
        self.0.extend(text.as_bytes());
    }
}

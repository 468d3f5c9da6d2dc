//! A double of a schema registry: its REST interface over HTTP on loopback, as far as producers use it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Keeps schemas, gives each a number (two subjects with the same text have one), and counts who asks.
pub struct RegistryDouble {
    address: String,
    shared: Arc<Shared>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// As it was sent: percent-encoded.
    pub path: String,
    pub authorization: Option<String>,
    pub content_type: Option<String>,
    pub body: Value,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    /// Schemas with their format; the number is the place, from 1.
    schemas: Vec<(String, String)>,
    /// What is registered under which subject.
    versions: Vec<(String, usize)>,
    asked: Vec<Asked>,
    answers: VecDeque<(u16, String)>,
    out_of_order: bool,
    held: bool,
    ended: bool,
}

impl RegistryDouble {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.state.lock().unwrap().ended {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&serving));
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the next numbers larger than this.
    pub fn count_from(&self, id: usize) {
        let mut state = self.shared.state.lock().unwrap();
        state.schemas.resize(id, Default::default());
    }

    /// Registers a schema, as somebody else does.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        let mut state = self.shared.state.lock().unwrap();
        state.register(subject, "AVRO", schema)
    }

    /// The next request is answered so, whatever it asks for.
    pub fn answer_next(&self, status: u16, body: &str) {
        let mut state = self.shared.state.lock().unwrap();
        state.answers.push_back((status, body.to_owned()));
    }

    /// Whether every request is answered with 503.
    pub fn out_of_order(&self, is: bool) {
        self.shared.state.lock().unwrap().out_of_order = is;
    }

    /// Answers nobody, until `release`.
    pub fn hold(&self) {
        self.shared.state.lock().unwrap().held = true;
    }

    pub fn release(&self) {
        self.shared.state.lock().unwrap().held = false;
        self.shared.released.notify_all();
    }

    /// What was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().unwrap().asked.clone()
    }
}

impl Drop for RegistryDouble {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ended = true;
        self.release();
        // The listener looks at who connects, then ends.
        drop(TcpStream::connect(&self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) {
        let Some(asked) = read(stream) else { return };
        let mut state = self.state.lock().unwrap();
        state.asked.push(asked.clone());
        state = self.released.wait_while(state, |state| state.held).unwrap();
        let (status, body) = match state.answers.pop_front() {
            Some(answer) => answer,
            None if state.out_of_order => (503, String::new()),
            None => state.answer(&asked),
        };
        drop(state);
        // The client may have gone.
        let _ = write!(
            stream,
            "HTTP/1.1 {status} -\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        let refused = |status, code, message| {
            let body = json!({"error_code": code, "message": message});
            (status, body.to_string())
        };
        let path = asked.path.split('?').next().unwrap_or_default();
        let Some(subject) = path.strip_prefix("/subjects/") else {
            return refused(404, 404, "HTTP 404 Not Found");
        };
        let Some(schema) = asked.body["schema"].as_str() else {
            return refused(422, 42201, "Invalid schema");
        };
        let format = asked.body["schemaType"].as_str().unwrap_or("AVRO");
        if let Some(subject) = subject.strip_suffix("/versions") {
            let id = self.register(subject, format, schema);
            return (200, json!({"id": id}).to_string());
        }
        if !self.versions.iter().any(|(known, _)| known == subject) {
            return refused(404, 40401, "Subject not found");
        }
        let id = self.versions.iter().position(|(known, id)| {
            known == subject && self.schemas[*id - 1] == (format.to_owned(), schema.to_owned())
        });
        match id {
            Some(at) => {
                let (subject, id) = &self.versions[at];
                let body = json!({"subject": subject, "id": id, "version": 1, "schema": schema});
                (200, body.to_string())
            }
            None => refused(404, 40403, "Schema not found"),
        }
    }

    fn register(&mut self, subject: &str, format: &str, schema: &str) -> u32 {
        let entry = (format.to_owned(), schema.to_owned());
        let at = self.schemas.iter().position(|known| *known == entry);
        let id = 1 + at.unwrap_or_else(|| {
            self.schemas.push(entry);
            self.schemas.len() - 1
        });
        let version = (subject.to_owned(), id);
        if !self.versions.contains(&version) {
            self.versions.push(version);
        }
        u32::try_from(id).unwrap()
    }
}

/// Reads one request; `None` if the client went away before it was whole.
fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut authorization, mut content_type) = (0, None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            "content-type" => content_type = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        method,
        path,
        authorization,
        content_type,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

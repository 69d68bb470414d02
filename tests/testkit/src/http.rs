//! An HTTP server on the loopback interface, with the faults that a network has.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All that is asked for.
    Whole,
    /// As many bytes and no more, then the connection is cut.
    Cut(usize),
    /// As many bytes, then nothing until the other side goes.
    Stuck(usize),
    /// An error with this status.
    Refused(u16),
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    /// The ways of the next answers about a file; then it is sent whole.
    ways: HashMap<String, Vec<Way>>,
    without_ranges: bool,
    requests: Vec<String>,
    ended: bool,
}

/// Serves until it is dropped.
pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A client that goes away is part of the tests.
                std::thread::spawn(move || stream.and_then(|s| answer(s, &shared)));
            }
        });
        Server {
            address,
            state,
            thread: Some(thread),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.files.insert(path.to_owned(), content.to_vec());
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    /// How the next answers about a file go wrong.
    pub fn next(&self, path: &str, ways: &[Way]) {
        let mut state = self.state.lock().unwrap();
        state.ways.insert(path.to_owned(), ways.to_vec());
    }

    /// From now on every file is sent from its start.
    pub fn without_ranges(self) -> Server {
        self.state.lock().unwrap().without_ranges = true;
        self
    }

    /// What was asked for since the last call: targets, with the first byte where it is not 0.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // Wakes it up.
        let _ = TcpStream::connect(&self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut from, mut to) = (0, None);
    for line in lines {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            let (first, last) = range.split_once('-').unwrap();
            (from, to) = (first.parse().unwrap(), last.parse::<usize>().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    // A proxy is asked with the whole address.
    let path = match target.strip_prefix("http://") {
        Some(rest) => &rest[rest.find('/').unwrap()..],
        None => &target,
    };
    let (file, way, ranges) = {
        let mut state = state.lock().unwrap();
        let request = match from {
            0 => target.clone(),
            from => format!("{target} from {from}"),
        };
        state.requests.push(request);
        let way = match state.ways.get_mut(path) {
            Some(ways) if !ways.is_empty() => ways.remove(0),
            _ => Way::Whole,
        };
        (state.files.get(path).cloned(), way, !state.without_ranges)
    };
    let (content, way) = match (file, way) {
        (_, Way::Refused(status)) => {
            return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        }
        (None, _) => return write!(stream, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        (Some(content), way) => (content, way),
    };
    let total = content.len();
    let end = to.map_or(total, |last| total.min(last + 1));
    let rest = match (from, ranges) {
        (0, _) | (_, false) if !ranges || end == total => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n")?;
            &content[..]
        }
        (from, _) if from >= total => {
            let range = format!("Content-Range: bytes */{total}");
            return write!(
                stream,
                "HTTP/1.1 416 No\r\n{range}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        (from, _) => {
            let range = format!("Content-Range: bytes {from}-{}/{total}", end - 1);
            let length = end - from;
            write!(
                stream,
                "HTTP/1.1 206 Part\r\n{range}\r\nContent-Length: {length}\r\n"
            )?;
            &content[from..end]
        }
    };
    stream.write_all(b"Connection: close\r\n\r\n")?;
    match way {
        Way::Whole | Way::Refused(_) => stream.write_all(rest),
        Way::Cut(count) => stream.write_all(&rest[..count]),
        Way::Stuck(count) => {
            stream.write_all(&rest[..count])?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
    }
}

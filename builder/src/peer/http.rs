//! As much of HTTP/1.1 (RFC 9112) as one call of Proxmox VE's API needs: one request, one
//! answer, and the connection is closed.

use super::failure::Failure;
use super::tls::PORT;
use crate::system::text;
use firstboot::contract::seed::Secret;
use std::io::{ErrorKind, Read, Write};

/// More than any header of Proxmox.
const MAX_HEAD: usize = 64 << 10;
/// More than any answer to a login; its list of rights is some kilobytes.
const MAX_BODY: usize = 1 << 20;

pub(crate) enum Request<'a> {
    /// Only looks.
    Get,
    /// Looks, with the ticket of a login.
    GetAs(&'a Secret),
    /// A form; it may hold secrets.
    Post(&'a Secret),
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The words behind the status, for people.
    pub reason: String,
    headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request and reads the whole answer.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
    request: &Request<'_>,
) -> Result<Answer, Failure> {
    // An IPv6 address stands in brackets there.
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    // What is secret is written by itself: the head stays printable.
    let (method, secret) = match request {
        Request::Get => ("GET", Secret::new("\r\n")),
        Request::GetAs(ticket) => ("GET", cookie(ticket)),
        Request::Post(form) => ("POST", Secret::new(format!("\r\n{}", form.reveal()))),
    };
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: imgbuild/{version}\r\n\
         Accept: application/json\r\nConnection: close\r\n",
        port = PORT,
        version = env!("CARGO_PKG_VERSION"),
    );
    if let Request::Post(form) = request {
        head.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.reveal().len()
        ));
    }
    let sent = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(secret.reveal().as_bytes()))
        .and_then(|()| stream.flush());
    sent.map_err(|error| Failure::of(&error))?;
    Incoming {
        stream,
        ready: Vec::new(),
        used: 0,
    }
    .answer()
}

/// The header line of a login, and the end of the head. Proxmox takes the ticket's escapes back.
fn cookie(ticket: &Secret) -> Secret {
    let ticket = encoded(ticket.reveal());
    Secret::new(format!("Cookie: PVEAuthCookie={ticket}\r\n\r\n"))
}

/// A form's text (`application/x-www-form-urlencoded`).
pub(crate) fn form(fields: &[(&str, &str)]) -> Secret {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{}={}", encoded(key), encoded(value)))
        .collect();
    Secret::new(pairs.join("&"))
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The bytes that come in.
struct Incoming<'a, S> {
    stream: &'a mut S,
    ready: Vec<u8>,
    used: usize,
}

impl<S: Read> Incoming<'_, S> {
    fn answer(mut self) -> Result<Answer, Failure> {
        let first = self.line()?;
        let (status, reason) = status(&first).ok_or_else(|| not_http(&first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (key, value) = line.split_once(':').ok_or_else(|| not_http(&line))?;
            headers.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
            if self.used > MAX_HEAD {
                return Err(Failure::Other(
                    "its header is longer than 64 KiB".to_owned(),
                ));
            }
        }
        let mut answer = Answer {
            status,
            reason,
            headers,
            body: Vec::new(),
        };
        answer.body = match (
            answer.header("transfer-encoding"),
            answer.header("content-length"),
        ) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => self.chunks()?,
            (Some(coding), _) => {
                let words = format!("its answer is coded as {}", text::plain(coding));
                return Err(Failure::Other(words));
            }
            (None, Some(length)) => {
                let length: usize = length.parse().map_err(|_| not_http(length))?;
                self.exactly(length)?
            }
            (None, None) => self.rest()?,
        };
        Ok(answer)
    }

    /// Reads more; `false` at the end. A peer that closes without TLS's own word for it ends too.
    fn more(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.ready.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    /// A line without its end.
    fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.ready.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ready.drain(..=end).collect();
                self.used += line.len();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.ready.len() > MAX_HEAD {
                return Err(not_http(&String::from_utf8_lossy(&self.ready)));
            }
            if !self.more()? {
                return Err(Failure::Other(match self.used + self.ready.len() {
                    0 => "it closed the connection without an answer".to_owned(),
                    _ => "it closed the connection inside its answer".to_owned(),
                }));
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        if length > MAX_BODY {
            return Err(too_long());
        }
        while self.ready.len() < length {
            if !self.more()? {
                let words = "it closed the connection inside its answer";
                return Err(Failure::Other(words.to_owned()));
            }
        }
        Ok(self.ready.drain(..length).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        while self.more()? {
            if self.ready.len() > MAX_BODY {
                return Err(too_long());
            }
        }
        Ok(std::mem::take(&mut self.ready))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| not_http(&line))?;
            if size == 0 {
                return Ok(body);
            }
            if body.len().saturating_add(size) > MAX_BODY {
                return Err(too_long());
            }
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(not_http("a chunk that is longer than it says"));
            }
        }
    }
}

fn status(line: &str) -> Option<(u16, String)> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let mut words = rest.splitn(3, ' ');
    words.next().filter(|minor| matches!(*minor, "0" | "1"))?;
    let status = words.next()?.parse().ok()?;
    Some((status, text::plain(words.next().unwrap_or_default())))
}

fn not_http(line: &str) -> Failure {
    let shown: String = text::plain(line).chars().take(60).collect();
    Failure::Other(format!("it does not speak HTTP: {shown}"))
}

fn too_long() -> Failure {
    Failure::Other("its answer is longer than 1 MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Cursor};

    /// What is read, in pieces of three bytes, and what was written.
    struct Wire {
        read: Cursor<Vec<u8>>,
        written: Vec<u8>,
    }

    impl Read for Wire {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(3);
            self.read.read(&mut buffer[..most])
        }
    }

    impl Write for Wire {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(buffer);
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(text: &str) -> Result<Answer, String> {
        let mut wire = Wire {
            read: Cursor::new(text.as_bytes().to_vec()),
            written: Vec::new(),
        };
        exchange(&mut wire, "fd00::1", "/x", &Request::Get).map_err(|f| f.to_string())
    }

    #[test]
    fn a_request_says_what_it_must() {
        let mut wire = Wire {
            read: Cursor::new(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            written: Vec::new(),
        };
        let form = form(&[("username", "root@pam"), ("password", "a b&ü=%")]);
        exchange(&mut wire, "fd00::1", "/x", &Request::Post(&form)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            String::from_utf8(wire.written).unwrap(),
            format!(
                "POST /x HTTP/1.1\r\nHost: [fd00::1]:8006\r\nUser-Agent: imgbuild/{version}\r\n\
                 Accept: application/json\r\nConnection: close\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 49\r\n\r\n\
                 username=root%40pam&password=a%20b%26%C3%BC%3D%25"
            )
        );
    }

    #[test]
    fn bodies_of_every_kind() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore",
            "HTTP/1.0 200 OK\n\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ] {
            let answer = ask(text).unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        }
        let answer = ask("HTTP/1.1 401 authentication failure\r\nServer: x\r\n\r\n").unwrap();
        assert_eq!(
            (
                answer.status,
                answer.reason.as_str(),
                answer.header("server")
            ),
            (401, "authentication failure", Some("x"))
        );
    }

    #[test]
    fn what_is_no_answer() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(MAX_HEAD + 10));
        let many = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(MAX_HEAD / 4));
        for (text, expected) in [
            ("", "it closed the connection without an answer"),
            (
                "HTTP/1.1 200 OK\r\n",
                "it closed the connection inside its answer",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
                "it closed the connection inside its answer",
            ),
            (
                "SSH-2.0-x\u{1b}[2J\r\n\r\n",
                "it does not speak HTTP: SSH-2.0-x",
            ),
            (
                "HTTP/1.1 20x OK\r\n\r\n",
                "it does not speak HTTP: HTTP/1.1 20x OK",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "it does not speak HTTP: -1",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
                "its answer is longer than 1 MiB",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                "its answer is longer than 1 MiB",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "its answer is coded as gzip",
            ),
            (&long, "it does not speak HTTP: x: "),
            (&many, "its header is longer than 64 KiB"),
        ] {
            let found = ask(text).unwrap_err();
            match text == long {
                true => assert!(found.starts_with(expected), "{found}"),
                false => assert_eq!(found, expected),
            }
        }
    }
}

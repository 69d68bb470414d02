//! A TLS connection to a peer whose certificate is known by its fingerprint.
//!
//! Proxmox's certificates are signed by the cluster's own authority, and a lab.yaml names their
//! SHA-256, as `pvecm add --fingerprint` wants it. So neither names nor dates nor authorities are
//! looked at: one certificate is the right one, and every other is not.

use super::certificate::Certificate;
use super::failure::Failure;
use crate::system::interrupt::{self, Interrupted};
use crate::system::program;
use firstboot::contract::values::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The port of Proxmox VE's API.
pub(crate) const PORT: u16 = 8006;
/// How long a peer may take to accept a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take for the handshake and one answer. Proxmox delays a refused login by
/// three seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// How often Ctrl-C and the time limit are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Which certificates are accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pins<'a> {
    /// One of these, by their SHA-256 as Proxmox shows it.
    One(&'a [Fingerprint]),
    /// Whatever comes: for looking at it only, before anything is known.
    Any,
}

/// An open connection to a peer.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, Patient>,
    /// What it showed.
    pub certificate: Certificate,
}

/// A connection that could not be opened.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub failure: Failure,
    /// What it showed nevertheless.
    pub certificate: Option<Certificate>,
}

/// Connects to a peer (an IP address or a name) and checks its certificate, before a byte is
/// sent to it.
pub(crate) fn connect(address: &str, port: u16, pins: Pins<'_>) -> Result<Connection, Refused> {
    let silent = |failure| Refused {
        failure,
        certificate: None,
    };
    let socket = reach(&resolve(address).map_err(silent)?, port).map_err(silent)?;
    handshake(socket, address, pins)
}

fn handshake(socket: TcpStream, address: &str, pins: Pins<'_>) -> Result<Connection, Refused> {
    let verifier = Arc::new(PinVerifier::new(pins));
    let shown = || verifier.shown();
    let open = || -> Result<StreamOwned<ClientConnection, Patient>, Failure> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Other(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(address.to_owned())
            .map_err(|_| Failure::Other("it is no name of a host".to_owned()))?;
        let client = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| Failure::Other(format!("TLS cannot be set up: {error}")))?;
        let patient = Patient::new(socket).map_err(|error| Failure::of(&error))?;
        let mut stream = StreamOwned::new(client, patient);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| Failure::of(&error))?;
        }
        Ok(stream)
    };
    match (open(), shown()) {
        (Ok(stream), Some(certificate)) => Ok(Connection {
            stream,
            certificate,
        }),
        (Ok(_), None) => Err(Refused {
            failure: Failure::Other("it showed no certificate".to_owned()),
            certificate: None,
        }),
        (Err(failure), certificate) => {
            let other = match (&certificate, pins) {
                (Some(shown), Pins::One(pinned)) if !is_among(&shown.fingerprint(), pinned) => {
                    Some(Failure::Certificate {
                        shown: shown.fingerprint(),
                    })
                }
                _ => None,
            };
            Err(Refused {
                failure: other.unwrap_or(failure),
                certificate,
            })
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The addresses of a name. The program is static, so the C library's own way would need the
/// very same library on this PC; getent, which every Debian has, is that library's own program.
fn resolve(address: &str) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let cannot =
        |error: anyhow::Error| Failure::Silent(format!("its name cannot be resolved: {error:#}"));
    let mut getent = program::command("getent").map_err(cannot)?;
    let text = match program::output(getent.args(["ahosts", address])) {
        Ok(text) => text,
        // Its way to say that there is none.
        Err(error) if error.is::<program::Failed>() => Vec::new(),
        Err(error) if error.is::<Interrupted>() => return Err(Failure::Interrupted),
        Err(error) => return Err(cannot(error)),
    };
    let text = String::from_utf8_lossy(&text);
    let mut found: Vec<IpAddr> = Vec::new();
    for word in text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        match word.parse() {
            Ok(address) if !found.contains(&address) => found.push(address),
            _ => {}
        }
    }
    match found.is_empty() {
        true => Err(Failure::Silent(
            "this PC knows no address of that name".to_owned(),
        )),
        false => Ok(found),
    }
}

/// The first of several addresses that accepts a connection.
fn reach(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let mut last = Failure::Silent("it has no address".to_owned());
    for address in addresses {
        let (send, answer) = mpsc::channel();
        let target = SocketAddr::new(*address, port);
        // A thread of its own, because connecting cannot be interrupted by Ctrl-C.
        thread::spawn(move || {
            let _ = send.send(TcpStream::connect_timeout(&target, CONNECT));
        });
        loop {
            if interrupt::requested() {
                return Err(Failure::Interrupted);
            }
            match answer.recv_timeout(TICK) {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => {
                    last = Failure::Silent(no_connection(&error, port));
                    break;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    Err(last)
}

fn no_connection(error: &io::Error, port: u16) -> String {
    match error.kind() {
        ErrorKind::TimedOut => format!("no answer on port {port} within {} s", CONNECT.as_secs()),
        ErrorKind::ConnectionRefused => format!("nothing listens on port {port}"),
        _ => format!("cannot connect to port {port}: {error}"),
    }
}

/// A socket that gives up at its time limit and at Ctrl-C.
struct Patient {
    socket: TcpStream,
    deadline: Instant,
}

impl Patient {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        socket.set_nodelay(true)?;
        Ok(Patient {
            socket,
            deadline: Instant::now() + ANSWER,
        })
    }

    fn until<T>(
        &mut self,
        mut attempt: impl FnMut(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match attempt(&mut self.socket) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                done => return done,
            }
            if interrupt::requested() {
                return Err(io::Error::other("interrupted"));
            }
            if Instant::now() > self.deadline {
                let words = format!("no answer within {} s", ANSWER.as_secs());
                return Err(io::Error::other(words));
            }
        }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until(|socket| socket.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.until(|socket| socket.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.until(|socket| socket.flush())
    }
}

fn is_among(fingerprint: &str, pins: &[Fingerprint]) -> bool {
    pins.iter().any(|pin| *pin == fingerprint)
}

/// Compares the certificate with the pins, and remembers it.
#[derive(Debug)]
struct PinVerifier {
    /// `None` accepts every one.
    pins: Option<Vec<Fingerprint>>,
    shown: Mutex<Option<Certificate>>,
    provider: CryptoProvider,
}

impl PinVerifier {
    fn new(pins: Pins<'_>) -> Self {
        PinVerifier {
            pins: match pins {
                Pins::One(pins) => Some(pins.to_vec()),
                Pins::Any => None,
            },
            shown: Mutex::new(None),
            provider: ring::default_provider(),
        }
    }

    fn shown(&self) -> Option<Certificate> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = Certificate::new(end_entity.to_vec());
        let fingerprint = certificate.fingerprint();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(certificate);
        match &self.pins {
            Some(pins) if !is_among(&fingerprint, pins) => {
                Err(Error::General("another certificate".to_owned()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    /// That the peer has the key of the certificate: a certificate alone is no secret.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

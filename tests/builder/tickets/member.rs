//! A member of a cluster, as far as a login at its API goes, and a look at the cluster: TLS on port
//! 8006 of an address of this PC's loopback, `POST /access/ticket`, `GET /cluster/status` and
//! `/cluster/config`, and refusals as a member was seen to give them (transcripts 23 and 30) or as
//! its sources say (pve-access-control, `PVE/API2/AccessControl.pm`; pve-manager,
//! `PVE/API2/Cluster.pm`; pve-cluster, `PVE/API2/ClusterConfig.pm`).

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LIFE: u64 = 7200;

/// What listens there.
#[derive(Clone, Default)]
pub(super) struct Kind {
    /// Root's password.
    pub password: String,
    /// What signs its tickets; the same for all members of a cluster.
    pub cluster_key: String,
    /// The cluster's name; a node outside of one has none.
    pub cluster: Option<String>,
    /// The nodes of its cluster: name, votes, whether it is online. This is the first of them.
    pub nodes: Vec<(&'static str, u32, bool)>,
    /// Whether a QDevice of the cluster runs here.
    pub qdevice: bool,
    /// The challenge of root's second factors as JSON, and the answer that is right.
    pub factor: Option<(String, String)>,
    /// Every answer instead: status line, headers and body.
    pub instead: Option<String>,
    /// What is said before any TLS.
    pub before_tls: Option<String>,
    /// Its clock is this many seconds ahead of this PC's.
    pub ahead: i64,
    /// It shows a certificate whose key it has not.
    pub without_its_key: bool,
    /// The first and the last year of its certificate.
    pub years: Option<(i32, i32)>,
}

impl Kind {
    /// A member whose root has this password.
    pub(super) fn with(password: &str) -> Self {
        Kind {
            password: password.into(),
            cluster_key: "one".into(),
            cluster: Some("labcluster".into()),
            ..Kind::default()
        }
    }

    /// A ticket of this cluster, made so many seconds ago.
    pub(super) fn ticket(&self, age: i64) -> String {
        self.signed("root@pam", now() + self.ahead - age)
    }

    fn signed(&self, data: &str, time: i64) -> String {
        let plain = format!("PVE:{data}:{time:08X}");
        let signature = testkit::sha256(format!("{}{plain}", self.cluster_key).as_bytes());
        format!("{plain}::{signature}")
    }

    /// What a ticket of this cluster holds, while it is valid.
    fn verified(&self, ticket: &str) -> Option<String> {
        let (plain, _) = ticket.split_once("::")?;
        let (data, time) = plain.strip_prefix("PVE:")?.rsplit_once(':')?;
        let time = i64::from_str_radix(time, 16).ok()?;
        let age = now() + self.ahead - time;
        (self.signed(data, time) == ticket && (-300..LIFE as i64).contains(&age))
            .then(|| data.to_owned())
    }

    /// Status, reason and body.
    fn login(&self, form: &[(String, String)]) -> (u16, String) {
        let field = |name: &str| {
            let mut fields = form.iter();
            fields
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value)
        };
        let denied = (
            401,
            r#"{"message":"authentication failure\n","data":null}"#.into(),
        );
        let (password, challenge) = (field("password"), field("tfa-challenge"));
        if field("username") != "root@pam" {
            return denied;
        }
        let half = match (&self.factor, self.verified(password)) {
            (_, Some(user)) if user == "root@pam" && challenge.is_empty() => None,
            (Some((_, right)), _) if !challenge.is_empty() => {
                let half = self.verified(challenge).unwrap_or_default();
                if !half.starts_with("!tfa!") || password != right {
                    return denied;
                }
                None
            }
            _ if password != self.password => return denied,
            (Some((challenge, _)), _) => Some(challenge),
            (None, _) => None,
        };
        let mut data = json!({"username": "root@pam", "CSRFPreventionToken": "x"});
        data["ticket"] = match half {
            Some(json) => {
                data["NeedTFA"] = 1.into();
                let json = json.replace(':', "%3A");
                self.signed(&format!("!tfa!{json}"), now() + self.ahead)
            }
            None => self.ticket(0),
        }
        .into();
        if let Some(name) = &self.cluster {
            data["clustername"] = name.clone().into();
        }
        (200, json!({"data": data}).to_string())
    }

    /// Status, reason and body of a question that needs a login.
    fn look(&self, path: &str, ticket: Option<&str>) -> (u16, &'static str, String) {
        let ticket = match ticket {
            None => return (401, "No ticket", String::new()),
            Some(ticket) => decoded(ticket),
        };
        if self.verified(&ticket).as_deref() != Some("root@pam") {
            let words = "permission denied - invalid PVE ticket";
            let body = json!({"message": format!("{words}\n"), "data": null});
            return (401, words, body.to_string());
        }
        let data = match path {
            "/cluster/status" => self.status(),
            // What is in corosync.conf is text (seen).
            "/cluster/config/nodes" => {
                let nodes = self
                    .nodes
                    .iter()
                    .enumerate()
                    .map(|(number, (name, votes, _))| {
                        json!({"name": name, "node": name, "nodeid": (number + 1).to_string(),
                           "quorum_votes": votes.to_string(), "ring0_addr": "10.99.0.11"})
                    });
                match self.cluster {
                    Some(_) => nodes.collect(),
                    None => json!([]),
                }
            }
            "/cluster/config/qdevice" if self.qdevice => {
                json!({"Model": "Net", "Algorithm": "Fifty-Fifty split", "State": "Connected"})
            }
            "/cluster/config/qdevice" => json!({}),
            _ => {
                let words = format!("Method 'GET {path}' not implemented");
                let body = json!({"message": words, "data": null});
                return (501, "not implemented", body.to_string());
            }
        };
        (200, "OK", json!({"data": data}).to_string())
    }

    /// A node outside of a cluster tells of itself alone.
    fn status(&self) -> serde_json::Value {
        let nodes = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, (name, _, online))| {
                json!({"type": "node", "id": format!("node/{name}"), "name": name, "level": "",
                   "nodeid": number + 1, "ip": "10.99.0.11", "local": u8::from(number == 0),
                   "online": u8::from(*online)})
            });
        let Some(name) = &self.cluster else {
            return nodes.take(1).collect();
        };
        let votes = |online: bool| -> u32 {
            let nodes = self.nodes.iter().filter(|(_, _, is)| !online || *is);
            nodes.map(|(_, votes, _)| votes).sum()
        };
        let quorate = votes(true) > votes(false) / 2;
        let cluster = json!({"type": "cluster", "id": "cluster", "name": name, "version": 7,
                             "nodes": self.nodes.len(), "quorate": u8::from(quorate)});
        [cluster].into_iter().chain(nodes).collect()
    }
}

/// A running one; it ends with this.
pub(super) struct Member {
    pub address: String,
    pub fingerprint: String,
    /// The logins that came in: the names of their fields.
    pub logins: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Listens on port 8006 of an address of the loopback that ends so. No two tests have the same
    /// end, and another run of the tests beside this one gets another beginning.
    pub(super) fn start(number: &str, kind: Kind) -> Self {
        let addresses = (86..200).map(|net| format!("127.{net}.{number}"));
        let mut free = addresses.filter_map(|address| {
            let listener = TcpListener::bind((address.as_str(), 8006)).ok()?;
            Some((address, listener))
        });
        let (address, listener) = free.next().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (config, fingerprint) = certificate(&address, &kind);
        let (stop, logins) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ended, seen) = (Arc::clone(&stop), Arc::clone(&logins));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((socket, _)) => {
                        let (kind, config) = (kind.clone(), Arc::clone(&config));
                        let seen = Arc::clone(&seen);
                        std::thread::spawn(move || serve(socket, &kind, config, &seen));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Member {
            address,
            fingerprint,
            logins,
            stop,
            thread: Some(thread),
        }
    }

    /// How many logins came in.
    pub(super) fn count(&self) -> usize {
        self.logins.lock().unwrap().len()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn certificate(address: &str, kind: &Kind) -> (Arc<ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["pve1.example.org".to_owned(), address.to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    let dn = &mut params.distinguished_name;
    *dn = rcgen::DistinguishedName::new();
    dn.push(DnType::OrganizationName, "Proxmox Virtual Environment");
    dn.push(DnType::CommonName, "pve1.example.org");
    let (from, to) = kind.years.unwrap_or((2020, 2090));
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let made = params.self_signed(&key).unwrap();
    let digest = Sha256::digest(made.der());
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let key = match kind.without_its_key {
        true => KeyPair::generate().unwrap(),
        false => key,
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Unlike `with_single_cert`, this does not compare the two.
    let pair = CertifiedKey::new(vec![made.der().clone()], key);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    (Arc::new(config), pairs.join(":"))
}

fn serve(mut socket: TcpStream, kind: &Kind, config: Arc<ServerConfig>, seen: &Mutex<Vec<String>>) {
    socket.set_nonblocking(false).unwrap();
    let limit = Some(Duration::from_secs(20));
    socket.set_read_timeout(limit).unwrap();
    if let Some(words) = &kind.before_tls {
        let _ = socket.write_all(words.as_bytes());
        return;
    }
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let Some((first, ticket, form)) = request(&mut stream) else {
        return;
    };
    let get = first.strip_prefix("GET /api2/json");
    let get = get.and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
    let is_login = first == "POST /api2/json/access/ticket HTTP/1.1";
    if is_login {
        let names: Vec<&str> = form.iter().map(|(key, _)| key.as_str()).collect();
        seen.lock().unwrap().push(names.join(" "));
    }
    let answer = match &kind.instead {
        Some(text) => text.clone(),
        None => {
            let (status, reason, body) = match get {
                Some(path) => kind.look(path, ticket.as_deref()),
                None if is_login => match kind.login(&form) {
                    (200, body) => (200, "OK", body),
                    (status, body) => (status, "authentication failure", body),
                },
                None => (200, "OK", "<!DOCTYPE html>".to_owned()),
            };
            format!(
                "HTTP/1.1 {status} {reason}\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
                 Server: pve-api-daemon/3.0\r\nContent-Length: {}\r\n\
                 Content-Type: application/json;charset=UTF-8\r\n\r\n{body}",
                body.len()
            )
        }
    };
    let _ = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// The names and values of a form.
type Form = Vec<(String, String)>;

/// The first line, the ticket of the cookie as it stands there, and the form.
fn request(stream: &mut impl Read) -> Option<(String, Option<String>, Form)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
                let form = pairs.map(|(key, value)| (key.to_owned(), decoded(value)));
                let mut cookies = head
                    .lines()
                    .filter_map(|line| line.strip_prefix("Cookie: PVEAuthCookie="));
                let ticket = cookies.next().map(str::to_owned);
                return Some((head.lines().next()?.to_owned(), ticket, form.collect()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair = [bytes.next().unwrap(), bytes.next().unwrap()];
                let pair = std::str::from_utf8(&pair).unwrap();
                out.push(u8::from_str_radix(pair, 16).unwrap());
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap()
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

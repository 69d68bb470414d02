//! A cluster of places, and nodes whose seed tells firstboot to join it.

use super::node::{Node, PASSWORD};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use testkit::{lock, must};

static LABS: AtomicU32 = AtomicU32::new(0);

/// Host keys, made once: with keys of its own each node would cost seconds.
fn keys() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host-keys");
    let _lock = lock(&folder);
    if !folder.exists() {
        let new = folder.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).unwrap();
        for kind in ["rsa", "ecdsa", "ed25519"] {
            must(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", kind, "-N", "", "-f"])
                    .arg(new.join(format!("ssh_host_{kind}_key"))),
            );
        }
        fs::rename(new, &folder).unwrap();
    }
    folder
}

/// A folder for places that share a network of loopback addresses.
pub(super) struct Lab {
    folder: TempDir,
    net: String,
    /// `KEY=VALUE` for every node of the stand-in.
    pub settings: Vec<String>,
    /// Whether the nodes that are made from now on have the unit that runs before corosync.
    pub guarded: bool,
    /// The same of the unit that makes the RSA key.
    pub makes_rsa: bool,
}

impl Lab {
    /// An empty one. Tests at the same time, in this process or another, get other networks.
    pub(super) fn new() -> Lab {
        let number = std::process::id() * 8 + LABS.fetch_add(1, Ordering::SeqCst);
        Lab {
            folder: tempfile::Builder::new()
                .prefix("joining-")
                .tempdir()
                .unwrap(),
            net: format!("127.{}.{}", 10 + number % 80, number / 80 % 250),
            settings: [
                "BEAT=0.3",
                "POLL=0.2",
                "SILENCE=6",
                "AUTH_DELAY=0.1",
                "UPDATECERTS_WAIT=2",
            ]
            .map(|setting| format!("PVE_STANDIN_{setting}"))
            .to_vec(),
            guarded: true,
            makes_rsa: false,
        }
    }

    /// The address of the node with this number.
    pub(super) fn address(&self, number: u8) -> String {
        format!("{}.{number}", self.net)
    }

    /// A node that never ran. Joiners need no API of their own.
    pub(super) fn node(&self, name: &str, number: u8, api: bool) -> Node {
        let mut root = self.folder.path().join(format!("{name}-{number}"));
        if root.exists() {
            root.set_extension("again");
        }
        let node = Node {
            root,
            name: name.to_owned(),
            address: self.address(number),
        };
        let firstboot = format!("{}:/usr/sbin/firstboot", crate::program().display());
        let locks = self.folder.path().join("locks");
        fs::create_dir_all(&locks).unwrap();
        let locks = locks.to_string_lossy().into_owned();
        let mut words = vec![
            "--locks",
            &locks,
            "--name",
            name,
            "--address",
            &node.address,
            "--password",
            PASSWORD,
            "--bind",
            &firstboot,
        ];
        // The very units of an image; only the join's reads the seed from a folder here.
        let units = testkit::house("templates");
        let join = self.folder.path().join("firstboot-join.service");
        let text = fs::read_to_string(units.join("firstboot-join.service")).unwrap();
        let start = "ExecStart=/usr/sbin/firstboot ";
        assert_eq!(text.matches(start).count(), 1);
        let text = text.replace(start, &format!("{start}--seed-dir /root/seed "));
        fs::write(&join, text).unwrap();
        let join = join.to_string_lossy().into_owned();
        let [guard, watch, rsa_key] = ["guard", "watch", "rsa-key"].map(|name| {
            let file = units.join(format!("firstboot-{name}.service"));
            file.to_string_lossy().into_owned()
        });
        words.extend(["--install", &join, "--install", &watch]);
        if self.guarded {
            words.extend(["--install", &guard]);
        }
        if self.makes_rsa {
            words.extend(["--install", &rsa_key]);
        }
        for setting in &self.settings {
            words.extend(["--set", setting]);
        }
        if !api {
            words.push("--no-api");
        }
        node.place("make", &words);
        for entry in fs::read_dir(keys()).unwrap() {
            let file = entry.unwrap().path();
            let target = node.root.join("etc/ssh").join(file.file_name().unwrap());
            fs::copy(file, target).unwrap();
        }
        node
    }

    /// A quorate cluster of one, or of more, all of them with an API; the creator is first.
    pub(super) fn cluster(&self, names: &[&str]) -> Vec<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        for (number, name) in (11..).zip(names) {
            let node = self.node(name, number, true);
            node.boot();
            match nodes.first() {
                None => node.must(&["pvecm", "create", "labcluster", "--link0", &node.address]),
                Some(creator) => {
                    let fingerprint = creator.fingerprint();
                    let add = [
                        "pvecm",
                        "add",
                        &creator.address,
                        "--fingerprint",
                        &fingerprint,
                        "--link0",
                        &node.address,
                    ];
                    node.run_with(&add, PASSWORD);
                    String::new()
                }
            };
            nodes.push(node);
            // Its predecessors lose the quorum for a moment when one more is listed.
            for one in &nodes {
                one.wait("the whole cluster", || {
                    nodes.iter().all(|other| one.sees(other))
                });
            }
        }
        nodes
    }

    /// A joiner that has been through the first stage and was booted: its unit joins.
    pub(super) fn joiner(&self, name: &str, number: u8, peers: &[&Node], more: &str) -> Node {
        let node = self.unbooted_joiner(name, number, peers, more);
        node.boot();
        node
    }

    /// The same, still switched off.
    pub(super) fn unbooted_joiner(
        &self,
        name: &str,
        number: u8,
        peers: &[&Node],
        more: &str,
    ) -> Node {
        let node = self.node(name, number, false);
        node.seed(peers, PASSWORD, more);
        node.local();
        node
    }
}

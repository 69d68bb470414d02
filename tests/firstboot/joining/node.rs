//! One node of a cluster of places: switched on and off, run in, looked at.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Root's password on every node, and so the cluster's. It must not be seen anywhere.
pub(super) const PASSWORD: &str = "Korrekt-Pferd-Batterie";
/// How long anything may take that must happen in the end.
pub(super) const LONG: Duration = Duration::from_secs(240);

/// One node.
pub(super) struct Node {
    /// Its disk.
    pub root: PathBuf,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// What a firstboot that has ended, or was killed, left.
#[derive(Debug)]
pub(super) struct Ended {
    pub code: Option<i32>,
    pub said: String,
}

impl Node {
    fn place_command(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = Command::new(testkit::house("tests/standin/place"));
        command.arg(verb).arg(&self.root).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// A word for `tests/standin/place` that must end well.
    pub(super) fn place(&self, verb: &str, words: &[&str]) -> Output {
        let output = self.place_command(verb, words).output().unwrap();
        assert!(
            output.status.success(),
            "place {verb} {}: {}\n{}{}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Switches it on; it goes off with this test at the latest.
    pub(super) fn boot(&self) {
        self.place("boot", &["--owner", &std::process::id().to_string()]);
    }

    /// A power cut.
    pub(super) fn cut(&self) {
        self.place("stop", &[]);
    }

    /// Switches it on without a service.
    pub(super) fn boot_bare(&self) {
        self.place(
            "boot",
            &["--bare", "--owner", &std::process::id().to_string()],
        );
    }

    /// Makes the stand-in of this node go wrong; see `pvestandin/switches.py`.
    pub(super) fn switch(&self, json: &str) {
        let file = self.root.join("etc/pve-standin/switches");
        let temporary = file.with_extension("new");
        fs::write(&temporary, json).unwrap();
        fs::rename(temporary, file).unwrap();
    }

    /// Boots, and returns when its `pvecm add` hangs at this point (the table in pvestandin/join.py).
    pub(super) fn boot_to_point(&self, point: u8) {
        self.switch(&format!("{{\"hang_at\": {point}}}"));
        self.boot();
        // The switch strikes once, and pvecm takes it out of the file then.
        self.wait("the point", || {
            !self.read("/etc/pve-standin/switches").contains("hang_at")
        });
    }

    /// Whether a file is there, in the running place.
    pub(super) fn exists(&self, file: &str) -> bool {
        self.run_with(&["test", "-e", file], "").code == Some(0)
    }

    /// Switches a member off and takes it out of the cluster.
    pub(super) fn delete(&self, node: &Node) {
        node.cut();
        self.must(&["pvecm", "delnode", &node.name]);
    }

    /// Writes its seed; `more` are further lines below `proxmox: cluster:`, `retry:` among them.
    pub(super) fn seed(&self, peers: &[&Node], password: &str, more: &str) {
        let peers: Vec<(&str, String)> = peers
            .iter()
            .map(|peer| (peer.address.as_str(), peer.fingerprint()))
            .collect();
        self.write_seed(&peers, password, more, &format!("{}-1", self.name));
    }

    /// Writes its seed with what lets it in, such as `ticket: …`, in the password's place.
    pub(super) fn seed_with(&self, peers: &[&Node], credential: &str, more: &str) {
        let peers: Vec<(&str, String)> = peers
            .iter()
            .map(|peer| (peer.address.as_str(), peer.fingerprint()))
            .collect();
        self.write_documents(&peers, credential, more, &format!("{}-1", self.name));
    }

    /// Writes its seed anew, with the right password and this fingerprint.
    pub(super) fn seed_with_fingerprint(&self, peer: &Node, fingerprint: &str, instance: &str) {
        let peers = [(peer.address.as_str(), fingerprint.to_owned())];
        self.write_seed(&peers, PASSWORD, "", instance);
    }

    fn write_seed(&self, peers: &[(&str, String)], password: &str, more: &str, instance: &str) {
        self.write_documents(peers, &format!("password: {password}"), more, instance);
    }

    fn write_documents(
        &self,
        peers: &[(&str, String)],
        credential: &str,
        more: &str,
        instance: &str,
    ) {
        let folder = self.root.join("root/seed");
        fs::create_dir_all(&folder).unwrap();
        let mut text = format!(
            "#cloud-config\nhostname: {}\nproxmox:\n  cluster:\n    link0: {}\n    \
             {credential}\n    peers:\n",
            self.name, self.address
        );
        for (address, fingerprint) in peers {
            text.push_str(&format!(
                "      - {{address: {address}, fingerprint: \"{fingerprint}\"}}\n"
            ));
        }
        if !more.contains("retry:") {
            text.push_str("    retry: {first: 1, most: 4, attempt: 60}\n");
        }
        text.push_str(more);
        let id = format!("instance-id: {instance}\nlocal-hostname: {}\n", self.name);
        fs::write(folder.join("meta-data"), id).unwrap();
        fs::write(folder.join("user-data"), text).unwrap();
    }

    /// firstboot's first stage, on the disk from outside.
    pub(super) fn local(&self) {
        let output = Command::new(crate::program())
            .arg("--root")
            .arg(&self.root)
            .arg("--seed-dir")
            .arg(self.root.join("root/seed"))
            .arg("local")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits for firstboot's verdict, which its unit works for since the boot.
    pub(super) fn verdict(&self) -> serde_json::Value {
        self.wait("the second stage", || self.status()["state"].is_string());
        let limit = LONG.as_secs().to_string();
        let shown = self.run_with(&["firstboot", "status", "--wait", &limit, "--json"], "");
        serde_json::from_str(&shown.said).unwrap()
    }

    /// A command in the place; its output, both streams.
    pub(super) fn run_with(&self, command: &[&str], input: &str) -> Ended {
        let words: Vec<&str> = std::iter::once("--")
            .chain(command.iter().copied())
            .collect();
        let mut child = self
            .place_command("run", &words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(format!("{input}\n").as_bytes());
        drop(stdin);
        ended(child)
    }

    /// A command that must succeed; its output.
    pub(super) fn must(&self, command: &[&str]) -> String {
        let ended = self.run_with(command, "");
        assert_eq!(
            ended.code,
            Some(0),
            "{} {command:?}: {}",
            self.name,
            ended.said
        );
        ended.said
    }

    /// The fingerprint of its certificate, as an admin would ask for it.
    pub(super) fn fingerprint(&self) -> String {
        let shown = self.must(&[
            "openssl",
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            "/etc/pve/local/pve-ssl.pem",
        ]);
        shown.trim().rsplit_once('=').unwrap().1.to_owned()
    }

    /// A file of the running place; empty when it is not there.
    pub(super) fn read(&self, file: &str) -> String {
        let output = self.place_command("root", &[]).output().unwrap();
        let root = String::from_utf8(output.stdout).unwrap();
        fs::read_to_string(format!("{}{file}", root.trim())).unwrap_or_default()
    }

    /// `.members`.
    pub(super) fn members(&self) -> String {
        self.read("/etc/pve/.members")
    }

    /// Whether it has quorum, and another one (or itself) is online at its address.
    pub(super) fn sees(&self, other: &Node) -> bool {
        let members: serde_json::Value = serde_json::from_str(&self.members()).unwrap_or_default();
        let node = &members["nodelist"][&other.name];
        members["cluster"]["quorate"] == 1 && node["online"] == 1 && node["ip"] == *other.address
    }

    /// firstboot's status.
    pub(super) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("/run/firstboot/status.json")).unwrap_or_default()
    }

    /// firstboot's verdict so far; empty when it has none, or the place is off.
    pub(super) fn state(&self) -> String {
        self.status()["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What it knows and what its daemons said, for a failure's message.
    pub(super) fn logs(&self) -> String {
        let mut text = format!("{}: {}", self.name, self.members());
        for file in [
            "/etc/corosync/corosync.conf",
            "/var/log/standin/corosync.log",
            "/var/log/standin/pve-cluster.log",
            "/var/log/standin/firstboot-join.log",
            "/var/log/standin/firstboot-guard.log",
            "/var/log/standin/firstboot-watch.log",
        ] {
            text.push_str(&format!("\n{} {file}:\n{}", self.name, self.read(file)));
        }
        text
    }

    /// Waits for something that must happen.
    pub(super) fn wait(&self, what: &str, so: impl Fn() -> bool) {
        let start = Instant::now();
        while !so() {
            assert!(
                start.elapsed() < LONG,
                "{}: {what} did not come\nstatus: {:#}\n{}",
                self.name,
                self.status(),
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// That it is a whole member, seen from itself and from another.
    pub(super) fn assert_member(&self, other: &Node) {
        self.wait("membership", || self.sees(self));
        let start = Instant::now();
        while !other.sees(self) {
            assert!(
                start.elapsed() < LONG,
                "{} does not see {}\n{}\n{}",
                other.name,
                self.name,
                other.logs(),
                self.logs(),
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        self.must(&[
            "openssl",
            "verify",
            "-CAfile",
            "/etc/pve/pve-root-ca.pem",
            "/etc/pve/local/pve-ssl.pem",
        ]);
        assert_eq!(
            self.must(&["stat", "-c", "%a", "/etc/corosync/authkey"]),
            "400\n"
        );
        let seed = self.read("/root/seed/user-data");
        assert!(!seed.contains(PASSWORD), "{seed}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.place_command("stop", &[]).output();
    }
}

/// Waits for a child's end.
pub(super) fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(PASSWORD), "{said}");
    Ended {
        code: output.status.code(),
        said,
    }
}

//! The lab of the whole way: a repository that stands in for Proxmox VE's, a definition
//! that names it, two machines with a tunnel between them.

#[path = "stand_in.rs"]
pub mod stand_in;

use stand_in::StandIn;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Root's password in vm41 and so of the cluster. It must not be seen anywhere.
pub const PASSWORD: &str = "Korrekt-Pferd-Batterie";
/// Root's password in vm42, which gets a hash of it only.
pub const OWN_PASSWORD: &str = "Heftklammer-Nachthemd";

/// A folder with everything, and the server of the repository.
pub struct Lab {
    pub folder: PathBuf,
    stand_in: StandIn,
    /// Host port that leads to OpenVPN in vm41.
    pub tunnel_port: u16,
}

impl Lab {
    /// Makes repository, definition (of this release of Debian), secrets and lab.yaml in an empty
    /// folder.
    pub fn new(folder: &Path, release: &'static str) -> Lab {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let lab = Lab {
            folder: folder.to_owned(),
            stand_in: StandIn::new(&folder.join("repository"), release),
            tunnel_port: free_port(),
        };
        lab.definition();
        lab.secrets();
        lab.lab_yaml();
        lab
    }

    fn definition(&self) {
        fs::create_dir(self.folder.join("images")).unwrap();
        let text = self
            .stand_in
            .definition("127.0.0.1", &["pve-standin-creator"]);
        fs::write(self.folder.join("images/base.yaml"), text).unwrap();
    }

    /// Passwords, root's ssh key, and an OpenVPN configuration for each end of the tunnel.
    fn secrets(&self) {
        let secrets = self.folder.join("secrets");
        fs::DirBuilder::new().mode(0o700).create(&secrets).unwrap();
        self.secret("root-password", &format!("{PASSWORD}\n"));
        self.secret("own-password", &format!("{OWN_PASSWORD}\n"));
        must(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
                .arg(secrets.join("id")),
        );
        let identity = |name: &str| {
            let (key, cert) = (
                secrets.join(format!("{name}.key")),
                secrets.join(format!("{name}.pem")),
            );
            must(
                Command::new("openssl")
                    .args([
                        "req",
                        "-x509",
                        "-newkey",
                        "ec",
                        "-pkeyopt",
                        "ec_paramgen_curve:prime256v1",
                    ])
                    .args([
                        "-nodes",
                        "-days",
                        "30",
                        "-subj",
                        &format!("/CN={name}"),
                        "-keyout",
                    ])
                    .arg(&key)
                    .arg("-out")
                    .arg(&cert),
            );
            let out = must(
                Command::new("openssl")
                    .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
                    .arg(&cert),
            );
            let out = String::from_utf8(out.stdout).unwrap();
            let fingerprint = out.trim().rsplit_once('=').unwrap().1.to_owned();
            let read = |file| fs::read_to_string(file).unwrap();
            (
                format!(
                    "<key>\n{}</key>\n<cert>\n{}</cert>\n",
                    read(key),
                    read(cert)
                ),
                fingerprint,
            )
        };
        let (vm41, fingerprint41) = identity("vm41");
        let (vm42, fingerprint42) = identity("vm42");
        let common = "dev tap120\ndev-type tap\nkeepalive 10 60\nverb 3\n";
        self.secret(
            "vm41.ovpn",
            &format!(
                "{common}proto tcp-server\nport 1194\ntls-server\ndh none\n\
                 peer-fingerprint {fingerprint42}\n{vm41}"
            ),
        );
        self.secret(
            "vm42.ovpn",
            &format!(
                "{common}proto tcp-client\nremote 192.168.122.254 {}\nconnect-retry 2 5\ntls-client\n\
                 peer-fingerprint {fingerprint41}\n{vm42}",
                self.tunnel_port
            ),
        );
    }

    fn secret(&self, name: &str, text: &str) {
        let file = self.folder.join("secrets").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn lab_yaml(&self) {
        let fingerprint =
            fs::read_to_string(self.stand_in.folder.join("creator.fingerprint")).unwrap();
        let key = fs::read_to_string(self.folder.join("secrets/id.pub")).unwrap();
        fs::write(
            self.folder.join("lab.yaml"),
            format!(
                "domain: lab.test
vmbr120:
  range: 10.120.0.0/24
defaults:
  memory: 1G
  cores: 1
  timezone: Europe/Paris
  ssh_keys:
    - {}
  root_password_file: secrets/root-password
  openvpn:
    instance: vpn-interco
    config: \"secrets/{{name}}.ovpn\"
vms:
  - name: vm41
  - name: vm42
    root_password_file: secrets/own-password
    cluster:
      peers:
        - address: 10.120.0.41
          fingerprint: \"{}\"
      password_file: secrets/root-password
",
                key.trim(),
                fingerprint.trim()
            ),
        )
        .unwrap();
    }

    /// Runs imgbuild in the lab's folder, shows what it says, and wants it to end well.
    pub fn imgbuild(&self, words: &[&str]) -> String {
        let (code, text) = self.imgbuild_says(words);
        assert_eq!(code, Some(0), "imgbuild {}", words.join(" "));
        text
    }

    /// Runs imgbuild in the lab's folder and returns its exit code and both outputs.
    pub fn imgbuild_says(&self, words: &[&str]) -> (Option<i32>, String) {
        println!("$ imgbuild {}", words.join(" "));
        let output = Command::new(env!("CARGO_BIN_EXE_imgbuild"))
            .args(words)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = both(&output);
        println!("{text}");
        (output.status.code(), text)
    }

    /// A file of the lab.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join(name)).unwrap()).into_owned()
    }
}

impl Drop for Lab {
    /// Ends the machines of a test that failed.
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            end(&entry.path(), rustix::process::Signal::TERM);
        }
    }
}

/// Sends QEMU a signal, where the machine of this folder is running. SIGKILL is a power cut.
pub fn end(folder: &Path, signal: rustix::process::Signal) {
    if let Some(pid) = imgbuild::qemu::running(folder) {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Runs a program that must succeed.
pub fn must(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", both(&output));
    output
}

/// A port of the loopback that nobody uses.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

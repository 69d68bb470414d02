//! The lab of the machine tests: the base that they share, two machines with a tunnel between them.

use super::shared;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{both, free_port, kill, must, set_mode};

/// Root's password in vm41 and so of the cluster. It must not be seen anywhere.
pub(super) const PASSWORD: &str = "Korrekt-Pferd-Batterie";
/// Root's password in vm42, which gets a hash of it only.
pub(super) const OWN_PASSWORD: &str = "Heftklammer-Nachthemd";

/// A folder with everything.
pub(super) struct Lab {
    pub folder: PathBuf,
    /// The fingerprint of the first node of a cluster.
    creator: String,
    /// Host port that leads to OpenVPN in vm41.
    pub tunnel_port: u16,
}

impl Lab {
    /// A new folder of this name with the base of this release of Debian, secrets and lab.yaml.
    pub(super) fn new(name: &str, release: &'static str) -> Lab {
        let base = shared::base(release);
        let folder = super::folder(name);
        for file in ["base.qcow2", "base.manifest.json"] {
            fs::hard_link(base.join(file), folder.join(file)).unwrap();
        }
        let lab = Lab {
            folder,
            creator: fs::read_to_string(base.join("repository/creator.fingerprint")).unwrap(),
            tunnel_port: free_port(),
        };
        lab.secrets();
        lab.lab_yaml();
        lab
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
        set_mode(&file, 0o600);
    }

    fn lab_yaml(&self) {
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
                self.creator.trim()
            ),
        )
        .unwrap();
    }

    /// Runs imgbuild in the lab's folder, shows what it says, and wants it to end well.
    pub(super) fn imgbuild(&self, words: &[&str]) -> String {
        let (code, text) = self.imgbuild_says(words);
        assert_eq!(code, Some(0), "imgbuild {}", words.join(" "));
        text
    }

    /// Runs imgbuild in the lab's folder and returns its exit code and both outputs.
    pub(super) fn imgbuild_says(&self, words: &[&str]) -> (Option<i32>, String) {
        imgbuild_says(&self.folder, words)
    }

    /// A file of the lab.
    pub(super) fn read(&self, name: &str) -> String {
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
pub(super) fn end(folder: &Path, signal: rustix::process::Signal) {
    if let Some(pid) = imgbuild::qemu::running(folder) {
        kill(pid, signal);
    }
}

/// Runs imgbuild in a folder, shows what it says, and returns its exit code and both outputs.
pub(super) fn imgbuild_says(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    println!("$ imgbuild {}", words.join(" "));
    let output = Command::new(crate::program())
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = both(&output);
    println!("{text}");
    (output.status.code(), text)
}

//! The whole installation by the real installer, with Proxmox VE from its stand-in's repository,
//! and what it makes beside the mirror source:
//! `scripts/test --installer`. Half an hour in software emulation, so `.ci/run` does without it
//! and says when the committed record of it is older than its sources.

mod compare;

use super::disc::disc;
use super::stand_in::StandIn;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::{house, set_mode};

/// A lab with one machine.
struct Lab(PathBuf);

impl Lab {
    fn new(folder: PathBuf, key: &str, definition: &str) -> Lab {
        fs::create_dir_all(folder.join("images")).unwrap();
        fs::write(folder.join("images/base.yaml"), definition).unwrap();
        let secrets = folder.join("secrets");
        fs::DirBuilder::new().mode(0o700).create(&secrets).unwrap();
        let password = secrets.join("root-password");
        fs::write(&password, "Korrekt-Pferd-Batterie\n").unwrap();
        set_mode(&password, 0o600);
        fs::write(
            folder.join("lab.yaml"),
            format!(
                "domain: lab.test
defaults:
  memory: 1G
  cores: 1
  timezone: Europe/Paris
  ssh_keys: [{key}]
  root_password_file: secrets/root-password
vms:
  - name: vm42
"
            ),
        )
        .unwrap();
        Lab(folder)
    }

    /// Runs imgbuild, shows its progress as it comes, and returns its standard output.
    fn imgbuild(&self, words: &[&str]) -> String {
        println!("$ imgbuild {}", words.join(" "));
        let output = Command::new(crate::program())
            .args(words)
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        println!("{text}");
        assert!(output.status.success(), "imgbuild {}", words.join(" "));
        text
    }
}

/// A public ssh key; nobody logs in with it.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6m1VnTP4q7N2Y2cVtq0k6mJ3kXQz3vSx5m0w8d1c2b test";

fn record(words: &[&str]) -> String {
    let program = house("tests/netinst/record");
    let output = Command::new(program).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{err}");
    text
}

#[test]
#[ignore = "a whole installation; scripts/test --installer runs it"]
fn the_installer_makes_what_the_mirror_source_makes() {
    let sources = record(&["digest"]);
    let iso = disc();
    let folder = super::folder("installer");
    let stand_in = StandIn::new(&folder.join("repository"), "trixie");
    // In the installer's machine this PC has another address.
    let [inside, here] = ["10.0.2.2", "127.0.0.1"].map(|host| stand_in.definition(host, &[]));
    let netinst = Lab::new(folder.join("netinst"), KEY, &inside);
    let mirror = Lab::new(folder.join("mirror"), KEY, &here);
    let said = netinst.imgbuild(&["base", "--iso", &iso.display().to_string(), "--timings"]);
    mirror.imgbuild(&["base", "--source", "mirror"]);
    let audit = netinst.imgbuild(&["--json", "audit", "base.qcow2"]);
    let points = audit.lines().filter(|l| l.contains("\"point\"")).count();
    assert!(points > 20, "{audit}");

    // The same machine from both, to the verdict; imgbuild run fails without one.
    for lab in [&netinst, &mirror] {
        lab.imgbuild(&["seed", "vm42"]);
        lab.imgbuild(&[
            "run",
            "vm42",
            "--user-net",
            "--shutdown",
            "--timeout",
            "900",
        ]);
    }
    compare::manifests(&netinst.0, &mirror.0);
    compare::overlays(&netinst.0, &mirror.0);

    let stages = folder.join("stages.json");
    fs::write(&stages, stages_of(&said).to_string()).unwrap();
    let manifest = fs::read(netinst.0.join("base.manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let written = record(&[
        "write",
        "--iso-digest",
        manifest["iso"]["sha256"].as_str().unwrap(),
        "--stages",
        &stages.display().to_string(),
        "--audit",
        &format!("{points} audit points"),
        "--source-digest",
        sources.trim(),
    ]);
    println!("{written}");
}

/// The lines of `--timings`: `   12.3 s   4 %  partitioning`.
fn stages_of(said: &str) -> serde_json::Value {
    let mut stages = serde_json::Map::new();
    for line in said.lines() {
        let Some((seconds, rest)) = line.split_once(" s ") else {
            continue;
        };
        let Some((_, name)) = rest.split_once(" %  ") else {
            continue;
        };
        let seconds: f64 = seconds.trim().parse().unwrap();
        stages.insert(name.to_owned(), seconds.into());
    }
    assert!(
        stages.contains_key("partitioning") && stages.contains_key("packages"),
        "{said}"
    );
    serde_json::Value::Object(stages)
}

//! The real installer, in its first stages: it takes the disc and the answers, and a question
//! that nobody has answered ends the build.
//!
//! Needs a mirror and QEMU and takes some minutes in emulation, so `scripts/test` runs it. A
//! whole installation is `scripts/test --installer`.

use super::disc::disc;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::{kill, names};

/// An empty folder with a definition.
fn place(name: &str) -> PathBuf {
    let folder = super::folder(name);
    fs::create_dir_all(folder.join("images")).unwrap();
    let definition = "release: trixie\ndisk: 4G\nproxmox: false\npackages: [vim]\n";
    fs::write(folder.join("images/base.yaml"), definition).unwrap();
    fs::create_dir(folder.join("out")).unwrap();
    folder
}

fn start(folder: &Path, words: &[&str]) -> Child {
    Command::new(crate::program())
        .args(["base", "--output", "out", "--iso"])
        .arg(disc())
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it says, line by line, shown as it comes.
fn lines(child: &mut Child, name: &str) -> impl Iterator<Item = String> + use<> {
    let name = name.to_owned();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines
        .map(Result::unwrap)
        .inspect(move |line| println!("{name}: {line}"))
}

#[test]
#[ignore = "boots the installer; scripts/test runs it"]
fn the_installer_takes_disc_and_answers_and_partitions() {
    let folder = place("netinst-partitions");
    let mut child = start(&folder, &[]);
    let mut lines = lines(&mut child, "partitions");
    let mut stages = Vec::new();
    for line in lines.by_ref() {
        if let Some(stage) = line.strip_prefix("ok     ") {
            stages.push(stage.split("  ").next().unwrap().to_owned());
        }
        if line == "       base system, download ..." {
            break;
        }
    }
    assert_eq!(
        stages[stages.len().saturating_sub(7)..],
        [
            "start of the installer",
            "disc drive",
            "installer's components",
            "network",
            "mirror",
            "disks",
            "partitioning"
        ]
    );
    kill(child.id(), Signal::INT);
    let last = lines.last().unwrap();
    assert_eq!(
        last,
        "imgbuild: error: interrupted; nothing half made was left behind"
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&folder.join("out")), [""; 0]);
}

#[test]
#[ignore = "boots the installer; scripts/test runs it"]
fn a_mirror_that_is_not_there_is_a_question() {
    let folder = place("netinst-no-mirror");
    // This PC, as QEMU's user-mode network shows it, and a port that nobody listens on.
    let mirror = "http://10.0.2.2:9/debian";
    let file = folder.join("images/base.yaml");
    let definition = fs::read_to_string(&file).unwrap();
    let security = format!("security_mirror: {mirror}-security\n");
    fs::write(file, definition + &security).unwrap();
    let mut child = start(&folder, &["--mirror", mirror]);
    let all: Vec<String> = lines(&mut child, "no-mirror").collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let at = all
        .iter()
        .position(|l| l.starts_with("imgbuild: error: "))
        .unwrap();
    assert_eq!(
        all[at],
        format!(
            "imgbuild: error: the mirror {mirror}, the security archive {mirror}-security or a repository of \
             the definition cannot be reached; look at the network, or choose others: --mirror, and \
             `security_mirror` in the image definition: the installer stopped in the stage `mirror` and asks:"
        )
    );
    assert!(
        all[at..].iter().any(|l| l.contains("Bad archive mirror")),
        "{:#?}",
        &all[at..]
    );
    assert!(
        all[at..].iter().any(|l| l.contains("choose-mirror")),
        "{:#?}",
        &all[at..]
    );
    assert_eq!(
        names(&folder.join("out")),
        ["base.console.log", "base.installer.log"]
    );
}

//! The real installer, in its first stages: it takes the disc and the answers, and a question
//! that nobody has answered ends the build.
//!
//! Needs a mirror and QEMU and takes some minutes in emulation, so `scripts/test` runs it. A
//! whole installation is `scripts/test --installer`.

#![allow(clippy::unwrap_used)]

#[path = "netinst/disc.rs"]
mod disc;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An empty folder with a definition.
fn place(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("netinst-boot")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("images")).unwrap();
    let definition = "release: trixie\ndisk: 4G\nproxmox: false\npackages: [vim]\n";
    fs::write(folder.join("images/base.yaml"), definition).unwrap();
    fs::create_dir(folder.join("out")).unwrap();
    folder
}

fn start(folder: &Path, iso: &Path, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_imgbuild"))
        .args(["base", "--output", "out", "--iso"])
        .arg(iso)
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

fn results(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("out")).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "boots the installer; scripts/test runs it"]
fn the_installer_takes_disc_and_answers_and_stops_at_a_question() {
    let iso = disc::disc();
    std::thread::scope(|scope| {
        scope.spawn(|| it_partitions_by_the_answers(&iso));
        scope.spawn(|| a_mirror_that_is_not_there_is_a_question(&iso));
    });
}

fn it_partitions_by_the_answers(iso: &Path) {
    let folder = place("partitions");
    let mut child = start(&folder, iso, &[]);
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
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let last = lines.last().unwrap();
    assert_eq!(
        last,
        "imgbuild: error: interrupted; nothing half made was left behind"
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(results(&folder), [] as [&str; 0]);
}

fn a_mirror_that_is_not_there_is_a_question(iso: &Path) {
    let folder = place("no-mirror");
    // This PC, as QEMU's user-mode network shows it, and a port that nobody listens on.
    let mirror = "http://10.0.2.2:9/debian";
    let file = folder.join("images/base.yaml");
    let definition = fs::read_to_string(&file).unwrap();
    let security = format!("security_mirror: {mirror}-security\n");
    fs::write(file, definition + &security).unwrap();
    let mut child = start(&folder, iso, &["--mirror", mirror]);
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
    assert_eq!(results(&folder), ["base.console.log", "base.installer.log"]);
}

//! What ends the writing of an image: nothing of it stays. A full disk is in [`crate::machines::base`].

use rustix::process::Signal;
use std::fs;
use std::process::{Command, Stdio};
use testkit::{Folder, kill, until};

/// A disk of 256 MiB, which is more than is written before a signal comes.
pub(crate) fn disk() -> Folder {
    let folder = Folder::on_disk();
    let mut state = 12u64;
    let noise: Vec<u8> = (0..32 << 20)
        .flat_map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 13).to_be_bytes()
        })
        .collect();
    fs::write(folder.path("raw"), noise).unwrap();
    folder.folders(&["small"]);
    folder
}

#[test]
fn every_signal_leaves_nothing_behind() {
    let folder = disk();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = Command::new(crate::program())
            .args(["compress", "raw", "small/image"])
            .current_dir(folder.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = until(&mut child, "       compress ...");
        kill(child.id(), signal);
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        assert_eq!(
            rest.last().unwrap(),
            "imgbuild: error: interrupted; nothing half made was left behind"
        );
        assert_eq!(folder.names("small"), [""; 0]);
    }
}

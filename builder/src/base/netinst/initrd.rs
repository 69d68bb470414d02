//! The installer's initrd: its answers, hooks and the base's own files are one more archive at its
//! end.

use super::cpio::{self, Archive};
use crate::base::inputs::Inputs;
use crate::base::mke2fs;
use crate::base::payload;
use crate::base::preseed::Answers;
use anyhow::Result;

/// The installer's initrd with everything that it needs besides.
pub(super) fn with_answers(original: &[u8], answers: &Answers, inputs: &Inputs) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    // The folder is the installer's own; `/lib` is a link in its newer releases.
    let startup = "lib/debian-installer-startup.d/S11imgbuild";
    archive.file(startup, 0o644, answers.startup.as_bytes());
    archive.file("preseed.cfg", 0o600, answers.preseed.as_bytes());
    archive.folder("imgbuild");
    archive.file("imgbuild/hook", 0o755, answers.hook.as_bytes());
    archive.file("imgbuild/mke2fs.conf", 0o644, mke2fs::CONF.as_bytes());
    archive.folder("imgbuild/payload");
    archive.folder("imgbuild/payload/keys");
    for (name, content) in payload::payload(inputs)? {
        archive.file(&format!("imgbuild/payload/{name}"), 0o755, &content);
    }
    let mut bytes = original.to_vec();
    cpio::pad(&mut bytes);
    bytes.extend(archive.finish());
    Ok(bytes)
}

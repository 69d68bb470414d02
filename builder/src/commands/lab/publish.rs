//! The recipe of `imgbuild lab publish`: the lab's base into a folder that a web server hands out.

use crate::config::lab::Lab;
use crate::config::yaml::validators;
use crate::publish::{CURRENT, Current, Pieces, metalink, torrent};
use crate::system::files::{
    copy, link_or_copy, make_folder, move_into_place, remove_if_there, write_new,
};
use crate::system::interrupt;
use crate::system::ui::Ui;
use crate::system::work_folder::{Busy, WorkFolder};
use crate::vm::base_image::{BaseImage, manifest_of};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is published is for everybody.
const MODE: u32 = 0o644;
/// The endings of what is published with an image: the image last, so that what is left when this is
/// cut off is found again.
const ENDINGS: [&str; 5] = [
    ".qcow2.torrent",
    ".qcow2.meta4",
    ".qcow2.sha256",
    ".manifest.json",
    ".qcow2",
];

/// What is published, and where it can be had from.
#[derive(Debug)]
pub struct Options {
    pub(crate) folder: PathBuf,
    pub(crate) lab: PathBuf,
    pub(crate) urls: Vec<String>,
    pub(crate) tracker: Option<String>,
    pub(crate) keep: usize,
}

/// Everything is written beside its place and moved there when it is whole, `current.json` last.
pub fn publish(options: &Options, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(&options.lab)?;
    let urls = addresses(&options.urls, &lab)?;
    if options.tracker.is_some() && urls.is_empty() {
        bail!("--tracker is for the torrent, and there is none without an address: give --url too");
    }
    let base = BaseImage::read(&lab.base)?;
    let folder = &options.folder;
    make_folder(folder)?;
    let work = WorkFolder::new(folder, "imgbuild-publish", Busy::Refuse)?;

    let current = Current::new(&base.sha256, base.bytes, !urls.is_empty());
    let mut moves = Vec::new();
    let mut add = |name: &str| {
        let from = work.path().join(name);
        moves.push((from.clone(), folder.join(name)));
        from
    };
    let pieces = match published(&folder.join(&current.image), &base, ui)? {
        Some(pieces) => pieces,
        None => bring(&lab.base, &base, &add(&current.image), ui)?,
    };
    copy(&manifest_of(&lab.base), &add(&current.manifest), |_| {})?;
    let digest_file = format!("{}.sha256", current.image);
    let digest = format!("{}  {}\n", current.sha256, current.image);
    write_new(&add(&digest_file), digest.as_bytes(), MODE)?;
    let of_image: Vec<String> = urls
        .iter()
        .map(|url| format!("{url}{}", current.image))
        .collect();
    if let Some(name) = &current.metalink {
        let text = metalink(&current.image, &pieces, &of_image);
        write_new(&add(name), text.as_bytes(), MODE)?;
    }
    if let Some(name) = &current.torrent {
        let tracker = options.tracker.as_deref();
        let bytes = torrent(&current.image, &pieces, &of_image, tracker);
        write_new(&add(name), &bytes, MODE)?;
    }
    let newest = work.path().join(CURRENT);
    let mut text = serde_json::to_string(&current).context("cannot write current.json")?;
    text.push('\n');
    write_new(&newest, text.as_bytes(), MODE)?;

    interrupt::check()?;
    move_into_place(&moves)?;
    move_into_place(&[(newest, folder.join(CURRENT))])?;
    if urls.is_empty() {
        // Those of an earlier time name addresses that were not given now.
        for ending in &ENDINGS[..2] {
            remove_if_there(&folder.join(format!("{}{ending}", current.sha256)))?;
        }
    }
    let removed = remove_old(folder, &current.sha256, options.keep)?;
    show(folder, &current, &urls, &removed, ui);
    Ok(())
}

/// Where the folder is served, each with a slash at its end: as the command line says, else as the
/// rooms of the lab do.
fn addresses(given: &[String], lab: &Lab) -> Result<Vec<String>> {
    let mut urls: Vec<String> = Vec::new();
    for url in given {
        match validators::url(url) {
            Ok(url) => urls.push(format!("{}/", url.trim_end_matches('/'))),
            Err(why) => bail!("--url: {why}\n  right: --url http://www.lab.example.org/images/"),
        }
    }
    if urls.is_empty() {
        urls.extend(lab.rooms.iter().filter_map(|room| room.base_url.clone()));
    }
    let mut seen = std::collections::BTreeSet::new();
    urls.retain(|url| seen.insert(url.clone()));
    Ok(urls)
}

/// The digests of an image that is published already; `None` where there is none, or a damaged one.
fn published(image: &Path, base: &BaseImage, ui: &Ui) -> Result<Option<Pieces>> {
    let size = fs::metadata(image).map(|found| found.len());
    if !size.is_ok_and(|size| size == base.bytes) {
        return Ok(None);
    }
    let stage = ui.stage("verify what is published");
    let pieces = Pieces::of(image, |part| stage.progress(part))?;
    if pieces.sha256 == base.sha256 {
        stage.done("it is there already");
        return Ok(Some(pieces));
    }
    stage.again("it is damaged, and is replaced");
    Ok(None)
}

/// Brings the base into the work folder: as a second name of the file where everybody may read
/// it, else as a copy. What was brought is compared with the manifest.
fn bring(from: &Path, base: &BaseImage, to: &Path, ui: &Ui) -> Result<Pieces> {
    let stage = ui.stage("copy");
    let mode = fs::metadata(from).map(|found| found.permissions().mode());
    let for_all = mode.is_ok_and(|mode| mode & 0o004 != 0);
    let how = if for_all { link_or_copy } else { copy };
    how(from, to, |part| stage.progress(part))?;
    let linked =
        fs::metadata(to).is_ok_and(|found| std::os::unix::fs::MetadataExt::nlink(&found) > 1);
    stage.done(match linked {
        true => "a second name for the same file",
        false => "",
    });
    let stage = ui.stage("digests");
    let pieces = Pieces::of(to, |part| stage.progress(part))?;
    if pieces.sha256 != base.sha256 {
        bail!(
            "{} is not the image that {} describes:\n    expected: {}\n    found:    {}\n  Make it \
             again with: imgbuild base --force",
            from.display(),
            manifest_of(from).display(),
            base.sha256,
            pieces.sha256
        );
    }
    stage.done(&format!(
        "{} pieces of {} MiB",
        pieces.sha256_of_each.len(),
        pieces.length >> 20
    ));
    Ok(pieces)
}

/// Removes the images that were published before, but for the `keep` newest; gives their digests.
fn remove_old(folder: &Path, current: &str, keep: usize) -> Result<Vec<String>> {
    let list = || -> std::io::Result<Vec<(SystemTime, String)>> {
        let mut old = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let Some(digest) = Current::digest_in(&name).filter(|digest| digest != current) else {
                continue;
            };
            // The image itself may be as old as the base; this was written when it was published.
            let written = fs::metadata(folder.join(format!("{name}.sha256")));
            let time = written.and_then(|found| found.modified());
            old.push((time.unwrap_or(SystemTime::UNIX_EPOCH), digest));
        }
        Ok(old)
    };
    let mut old = list().with_context(|| format!("cannot read {}", folder.display()))?;
    old.sort();
    old.truncate(old.len().saturating_sub(keep));
    let digests: Vec<String> = old.into_iter().map(|(_, digest)| digest).collect();
    for digest in &digests {
        for ending in ENDINGS {
            remove_if_there(&folder.join(format!("{digest}{ending}")))?;
        }
    }
    Ok(digests)
}

fn show(folder: &Path, current: &Current, urls: &[String], removed: &[String], ui: &Ui) {
    for digest in removed {
        let image = folder.join(format!("{digest}.qcow2"));
        ui.result(
            &json!({"event": "removed", "image": image}),
            &format!(
                "{} was removed, with what belongs to it (--keep)",
                image.display()
            ),
        );
    }
    let image = folder.join(&current.image);
    ui.result(
        &json!({"event": "published", "folder": folder, "urls": urls, "current": current}),
        &format!(
            "{} is published ({} MB)",
            image.display(),
            current.bytes / 1_000_000
        ),
    );
    if ui.is_json() {
        return;
    }
    match urls.first() {
        Some(url) => ui.line(&format!(
            "next: a web server has to serve {} as {url}; then, on another desk: imgbuild fetch {url}",
            folder.display()
        )),
        None => ui.line(
            "without metalink and torrent: in them stand addresses, and none is known. Where the folder \
             is served, say so: --url http://www.lab.example.org/images/",
        ),
    }
}

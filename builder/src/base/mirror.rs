//! The mirror source: mmdebstrap and mke2fs in a user namespace; no root, no loop device, no VM.

use super::disk::RawDisk;
use super::explain;
use super::inputs::Inputs;
use super::options::Options;
use super::payload;
use super::requirements::temporary;
use super::root_cache::{self, Key, NewEntry, RootCache};
use crate::system::program;
use crate::system::ui::Ui;
use anyhow::{Context, Result, anyhow};
use rustix::io::FdFlags;
use rustix::pipe::PipeFlags;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use tera::Tera;

/// The keys of Debian's archives, in the package debian-archive-keyring: the file of Debian 13 and
/// later, and of those before.
const ARCHIVE_KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// What the hooks that read the new root begin with.
const VIEW: &str = include_str!("../../../templates/mirror/view.sh");
/// The hook that hands the installed root out.
const KEEP: &str = include_str!("../../../templates/mirror/keep.sh");
/// What the scripts print before the name of a stage, before the digests of the archives' Release files,
/// and when the installed root was handed out to its end.
const STAGE: &str = "imgbuild-stage: ";
const RELEASES: &str = "imgbuild-releases: ";
const WHOLE: &str = "imgbuild-root: whole";

/// Where the installed root comes from.
enum Root {
    /// Out of the cache.
    Kept(File),
    /// From the archives; into the cache, where it can be kept.
    New(Option<NewEntry>),
}

/// Makes the raw disk: the installed root, then provision, seal, file system.
pub(super) fn make(inputs: &Inputs, options: &Options, work: &Path, ui: &Ui) -> Result<PathBuf> {
    let payload = write_payload(inputs, work)?;
    let disk = RawDisk::make(inputs, work)?;
    let mut archive_keys = ARCHIVE_KEYS.iter().map(Path::new);
    let archive_keys = archive_keys.find(|file| file.exists());
    let cache = RootCache::of_user(options.cache_limit)?;
    let key = match &cache {
        Some(_) => Key::of(inputs, archive_keys, work, ui)?,
        None => None,
    };
    let cached = cache.as_ref().zip(key.as_ref());
    let root = match cached {
        None => Root::New(None),
        Some((cache, key)) => match cache.find(key, ui)? {
            Some(entry) => Root::Kept(entry),
            None => Root::New(Some(cache.new_entry(key, ui)?)),
        },
    };
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    let (theirs, ours) = match root {
        Root::Kept(_) => (read, write),
        Root::New(_) => (write, read),
    };
    rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).context("cannot hand a pipe down")?;

    let mut mmdebstrap = program::ending_with_this("mmdebstrap")?;
    mmdebstrap
        // What is made is the disk, by the last hook: there is no tree to pack and to clean afterwards.
        .args(["--format=null", "--architectures=amd64"])
        // Nor what mmdebstrap itself would take out again only after that: packages.sh forbids services.
        .arg("--skip=cleanup,chroot/policy-rc.d,chroot/start-stop-daemon")
        // As root this unshares the mounts only; else it is the user namespace.
        .arg("--mode=unshare")
        .env("TMPDIR", temporary())
        .env("LC_ALL", "C.UTF-8");
    let payload = program::quote(&payload.to_string_lossy());
    let copy_in = format!("--customize-hook=copy-in {payload} /");
    let mut archives: &[String] = &[];
    match &root {
        Root::Kept(_) => {
            mmdebstrap
                .args(["--variant=custom", "--skip=setup,update"])
                .arg(format!("--setup-hook={}", unpack_hook(&theirs)))
                .arg(copy_in);
        }
        Root::New(entry) => {
            archives = &inputs.sources;
            mmdebstrap
                .arg("--variant=apt")
                .arg("--aptopt=Acquire::Retries \"3\"")
                .arg("--aptopt=Acquire::Languages \"none\"")
                .arg(copy_in)
                .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/packages.sh");
            if entry.is_some() {
                mmdebstrap.arg(format!("--customize-hook={}", keep_hook(&theirs)?));
            }
            if let Some(keys) = archive_keys {
                // Beside the keys that this PC's APT trusts: Ubuntu's does not trust Debian's.
                mmdebstrap.arg(format!("--keyring={}", keys.display()));
            }
            if let Some(proxy) = &inputs.definition.proxy {
                // Not by --aptopt: that stays in the image.
                mmdebstrap
                    .env("http_proxy", proxy)
                    .env("https_proxy", proxy);
            }
        }
    }
    mmdebstrap
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/provision.sh")
        .arg("--customize-hook=chroot \"$1\" /bin/sh /imgbuild/seal.sh && rm -rf \"$1/imgbuild\"")
        .arg(format!("--customize-hook={VIEW}{}", disk.hook(inputs)?))
        .arg(&inputs.definition.release)
        .arg("/dev/null")
        .args(archives);

    let (seen, ended, through) = std::thread::scope(|scope| {
        let through = scope.spawn(|| match &root {
            Root::Kept(entry) => {
                root_cache::unpack(entry, File::from(ours)).context(UNPACK)?;
                Ok(None)
            }
            Root::New(Some(entry)) => entry.pack(File::from(ours)).map(Some),
            Root::New(None) => Ok(None),
        });
        let first = match root {
            Root::Kept(_) => "unpack the installed system",
            Root::New(_) => "base system",
        };
        let mut seen = Seen::default();
        let ended = run(&mut mmdebstrap, first, theirs, &mut seen, ui);
        (seen, ended, through.join())
    });
    let log = work.join("mmdebstrap.log");
    fs::write(&log, &seen.log).with_context(|| format!("cannot write {}", log.display()))?;
    let through = through.unwrap_or_else(|_| Err(anyhow!("the cache's thread gave up")));
    match (root, cached, through) {
        // An installed root is worth keeping, even where what comes after it has failed.
        (Root::New(Some(entry)), Some((cache, key)), Ok(Some(packed)))
            if seen.whole && key.is_of(&seen.releases) =>
        {
            let stage = ui.stage("cache");
            stage.done(&cache.keep(entry, &packed, ui)?);
        }
        (Root::New(Some(_)), _, Ok(_)) if seen.whole => {
            ui.warn(
                "the archives changed meanwhile: the installed system is not kept in the cache",
            );
        }
        (Root::New(Some(_)), _, Err(error)) if seen.whole => {
            ui.warn(&format!(
                "the installed system is not kept in the cache: {error:#}"
            ));
        }
        // Where mmdebstrap has failed, that is why.
        (Root::Kept(_), _, Err(error)) if ended.is_ok() => return Err(error),
        _ => {}
    }
    ended.map_err(|error| match explain::packages(&seen.log, inputs) {
        Some(why) => error.context(why),
        None => error,
    })?;
    Ok(disk.finish())
}

const UNPACK: &str = "cannot unpack the installed system of the cache";

/// What mmdebstrap and its hooks have said.
#[derive(Default)]
struct Seen {
    log: String,
    releases: String,
    whole: bool,
}

/// Runs mmdebstrap, with a stage for each that its hooks name. `theirs` is closed as soon as mmdebstrap
/// has it: else our end of the pipe would never see theirs go.
fn run(
    mmdebstrap: &mut program::Command,
    first: &str,
    theirs: OwnedFd,
    seen: &mut Seen,
    ui: &Ui,
) -> Result<()> {
    let mut theirs = Some(theirs);
    let mut stage = Some(ui.stage(first));
    program::stream(mmdebstrap, |line| {
        theirs.take();
        seen.log.push_str(line);
        seen.log.push('\n');
        if let Some(name) = line.strip_prefix(STAGE) {
            if let Some(stage) = stage.take() {
                stage.done("");
            }
            stage = Some(ui.stage(name));
        } else if let Some(releases) = line.strip_prefix(RELEASES) {
            releases.clone_into(&mut seen.releases);
        } else if line == WHOLE {
            seen.whole = true;
        } else if let Some(stage) = &stage {
            stage.note(line);
        }
    })?;
    if let Some(stage) = stage.take() {
        stage.done("");
    }
    Ok(())
}

/// A number of two digits is not for every shell, but for this one.
fn unpack_hook(pipe: &OwnedFd) -> String {
    let pipe = pipe.as_raw_fd();
    format!(
        "bash -c 'tar --extract --numeric-owner --preserve-permissions --xattrs \
         \"--xattrs-include=*\" --directory \"$1\" <&{pipe}' bash \"$1\""
    )
}

fn keep_hook(pipe: &OwnedFd) -> Result<String> {
    let mut context = tera::Context::new();
    context.insert("pipe", &pipe.as_raw_fd());
    context.insert("whole", WHOLE);
    let hook =
        Tera::one_off(KEEP, &context, false).context("cannot render templates/mirror/keep.sh")?;
    Ok(format!("{VIEW}{hook}"))
}

/// The folder that is copied into the new root as `/imgbuild`.
fn write_payload(inputs: &Inputs, work: &Path) -> Result<PathBuf> {
    let payload = work.join("imgbuild");
    for (name, content) in payload::payload(inputs)? {
        let file = payload.join(name);
        let folder = file.parent().unwrap_or(&payload);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(payload)
}

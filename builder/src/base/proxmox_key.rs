//! The key that Proxmox VE's repository is signed with: downloaded here, compared with the digest
//! that the definition pins, and handed to the new system only then.

use crate::config::definition::Definition;
use crate::config::definition::key::{Digest, From, Key};
use crate::system::download::cache::Cache;
use crate::system::download::curl;
use crate::system::ui::Ui;
use crate::system::xdg;
use crate::system::{files, given};
use anyhow::{Context, Result, bail};
use std::fs;

const STAGE: &str = "Proxmox's key";
/// What to do where Proxmox's servers cannot be reached.
const WITHOUT: &str = "a copy of the key serves as well: `key` or `key_url` below `proxmox` in the image \
     definition; `proxmox: false` makes a plain Debian base";

/// The key's bytes, which have the digest that is pinned; `None` for a base without Proxmox.
pub(super) fn obtain(definition: &Definition, ui: &Ui) -> Result<Option<Vec<u8>>> {
    let Some(proxmox) = &definition.proxmox else {
        return Ok(None);
    };
    let key = &proxmox.key;
    let bytes = match &key.from {
        From::File { path } => {
            let bytes = given::read(path, given::SMALL);
            let bytes =
                bytes.with_context(|| format!("cannot read Proxmox's key {}", path.display()))?;
            check(key, &path.display().to_string(), &bytes)?;
            bytes
        }
        From::Url(url) => {
            let cache = Cache::open(&xdg::cache()?, ui)?;
            kept_or_downloaded(&cache, key, url, definition.proxy.as_deref(), ui)?
        }
    };
    // APT takes a file that ends with .gpg for binary.
    if bytes.starts_with(b"-----BEGIN") {
        bail!(
            "Proxmox's key is ASCII-armoured, and APT wants a binary one here: `gpg --dearmor` \
             makes it; name that file as `key` below `proxmox`, with its digest"
        );
    }
    Ok(Some(bytes))
}

/// The key out of the cache, where its name is its digest, or downloaded into it.
fn kept_or_downloaded(
    cache: &Cache,
    key: &Key,
    url: &str,
    proxy: Option<&str>,
    ui: &Ui,
) -> Result<Vec<u8>> {
    let place = cache.file(&format!("key-{}.gpg", key.digest));
    let stage = ui.stage(STAGE);
    match fs::read(&place) {
        Ok(bytes) if key.digest.of(&bytes) == key.digest => {
            stage.done(&format!("{} (from the cache)", place.display()));
            return Ok(bytes);
        }
        Ok(_) => {
            ui.warn(&format!(
                "{} is damaged, so it is downloaded again",
                place.display()
            ));
            files::remove_if_there(&place)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", place.display()));
        }
    }
    let new = place.with_extension("new");
    let what = format!("Proxmox's key {url} ({WITHOUT})");
    let downloaded = curl::small(url, &new, proxy);
    let downloaded = downloaded.map_err(|failure| failure.into_error(&what, &new));
    let bytes = downloaded.and_then(|()| {
        let bytes = fs::read(&new).with_context(|| format!("cannot read {}", new.display()))?;
        check(key, url, &bytes)?;
        Ok(bytes)
    });
    match bytes {
        Ok(bytes) => {
            files::move_into_place(&[(new, place)])?;
            stage.done(&format!("{} {}", key.digest.kind(), key.digest));
            Ok(bytes)
        }
        Err(error) => {
            // What is not trusted is not kept.
            let _ = files::remove_if_there(&new);
            Err(error)
        }
    }
}

/// Fails unless the bytes have the digest that is pinned.
fn check(key: &Key, from: &str, bytes: &[u8]) -> Result<()> {
    let found: Digest = key.digest.of(bytes);
    if found == key.digest {
        return Ok(());
    }
    let page = match bytes.trim_ascii_start().first() {
        Some(b'<') => {
            "\n    It is a web page: a login page or a proxy answers in the server's place."
        }
        _ => "",
    };
    let kind = key.digest.kind();
    bail!(
        "{from} is not the key that is pinned, so nothing was installed:\n    \
         expected {kind}: {}\n    found {kind}:    {found}{page}\n    \
         Trust it only when Proxmox itself publishes the found digest (in its wiki, below \
         \"Install Proxmox VE on Debian\"): then write it as `key_{kind}` below `proxmox` in the \
         image definition",
        key.digest
    );
}

//! The key of Proxmox's repository: it is downloaded, compared with the digest that is pinned, and
//! nothing at all is installed where it is another one. Neither Proxmox nor a mirror is asked:
//! in mmdebstrap's and QEMU's place stand programs that only say that they were started.

use crate::base_folder::BaseFolder;
use sha2::{Digest, Sha512};
use std::fs;
use testkit::http::{Server, Way};
use testkit::{begins, has, hex, sha256};

/// What a binary keyring begins with; nobody looks further.
const KEY: &[u8] = b"\x99\x01\x0d\x04 a key";

/// Its mmdebstrap and QEMU only leave a line.
struct Place(BaseFolder);

testkit::is_a!(Place, BaseFolder);

impl Place {
    /// `proxmox` is what stands below that key.
    fn new(proxmox: &str) -> Place {
        let place = Place(BaseFolder::new(""));
        for program in ["mmdebstrap", "qemu-system-x86_64"] {
            place.stands_in(program, "echo >>\"$OUT/started\"; exit 7");
        }
        place.define("trixie", proxmox);
        place
    }

    fn define(&self, release: &str, proxmox: &str) {
        self.0.define(&format!(
            "release: {release}\ndisk: 4G\nmirror: http://127.0.0.1:9/debian\nproxmox: {{{proxmox}}}\n"
        ));
    }

    /// What a build that fails says as its error.
    fn error(&self, words: &[&str]) -> String {
        self.fails(words).reason().to_owned()
    }

    /// How often mmdebstrap or QEMU was started.
    fn started(&self) -> usize {
        let text = fs::read_to_string(self.path("started"));
        text.unwrap_or_default().lines().count()
    }

    /// Nothing was begun, and nothing that is not trusted was kept.
    fn is_untouched(&self) {
        assert_eq!(self.started(), 0);
        assert_eq!(self.names("out"), [""; 0]);
        assert_eq!(self.cached(), [""; 0]);
    }
}

#[test]
fn a_wrong_digest_is_refused_before_anything_is_installed() {
    let server = Server::new();
    server.put("/key.gpg", KEY);
    let url = server.url("/key.gpg");
    let (wanted, found) = ("0".repeat(64), sha256(KEY));
    for source in ["mirror", "netinst"] {
        let place = Place::new(&format!(
            "version: 9, key_url: '{url}', key_sha256: {wanted}"
        ));
        let error = place.error(&["--source", source]);
        assert_eq!(
            error,
            format!(
                "{url} is not the key that is pinned, so nothing was installed:\n    \
                 expected sha256: {wanted}\n    found sha256:    {found}\n    \
                 Trust it only when Proxmox itself publishes the found digest (in its wiki, below \
                 \"Install Proxmox VE on Debian\"): then write it as `key_sha256` below `proxmox` \
                 in the image definition"
            )
        );
        place.is_untouched();
    }
    // Without a digest of one's own, it must be the one that is known for Proxmox.
    let place = Place::new(&format!("version: 9, key_url: '{url}'"));
    let error = place.error(&["--source", "mirror"]);
    has(&error, "expected sha256: 136673be77aba35d");
    place.define("bookworm", &format!("version: 8, key_url: '{url}'"));
    let error = place.error(&["--source", "mirror"]);
    let found = hex(&Sha512::digest(KEY));
    has(&error, "expected sha512: 7da6fe34168adc6e");
    has(&error, &format!("found sha512:    {found}"));
    place.is_untouched();
}

#[test]
fn a_login_page_is_called_what_it_is() {
    let server = Server::new();
    server.put("/key.gpg", b"\n<!doctype html><title>Please log in</title>");
    let place = Place::new(&format!(
        "version: 9, key_url: '{}'",
        server.url("/key.gpg")
    ));
    let error = place.error(&["--source", "mirror"]);
    let page = "It is a web page: a login page or a proxy answers in the server's place.";
    has(&error, page);
    place.is_untouched();
}

#[test]
fn a_server_that_has_no_key_is_said_with_the_ways_out() {
    let server = Server::new();
    let url = server.url("/key.gpg");
    let place = Place::new(&format!("version: 9, key_url: '{url}'"));
    let ways_out = "(a copy of the key serves as well: `key` or `key_url` below `proxmox` in the image \
                    definition; `proxmox: false` makes a plain Debian base)";
    assert_eq!(
        place.error(&["--source", "mirror"]),
        format!(
            "cannot download Proxmox's key {url} {ways_out}: the server has no such file (404)"
        )
    );
    server.put("/key.gpg", KEY);
    server.next("/key.gpg", &[Way::Cut(3)]);
    let error = place.error(&["--source", "mirror"]);
    let start = format!("cannot download Proxmox's key {url} {ways_out}: a program failed");
    begins(&error, &start);
    drop(server);
    let error = place.error(&["--source", "mirror"]);
    begins(&error, &start);
    place.is_untouched();
}

#[test]
fn a_good_key_is_kept_and_looked_at_before_every_use() {
    let server = Server::new();
    server.put("/key.gpg", KEY);
    let (url, digest) = (server.url("/key.gpg"), sha256(KEY));
    let place = Place::new(&format!(
        "version: 9, key_url: '{url}', key_sha256: {digest}"
    ));
    let build = || place.error(&["--source", "mirror", "--keep-work"]);
    assert!(build().contains("mmdebstrap"));
    assert_eq!(server.requests(), ["/key.gpg"]);
    // What mmdebstrap is given has this very key, and a source that names it.
    let kept = place.names("out").pop().unwrap();
    let payload = place.path("out").join(kept).join("imgbuild");
    assert_eq!(fs::read(payload.join("keys/proxmox.gpg")).unwrap(), KEY);
    let script = fs::read_to_string(payload.join("packages.sh")).unwrap();
    let source = "cat > /etc/apt/sources.list.d/proxmox.sources <<'SOURCE'\nTypes: deb\n\
                  URIs: http://download.proxmox.com/debian/pve\nSuites: trixie\n\
                  Components: pve-no-subscription\n\
                  Signed-By: /usr/share/keyrings/proxmox-archive-keyring.gpg\nSOURCE\n";
    has(&script, source);

    // Damaged in the cache: downloaded again.
    let cached = place.path(&format!("cache/imgbuild/key-{digest}.gpg"));
    fs::write(&cached, "damaged").unwrap();
    build();
    assert_eq!(server.requests(), ["/key.gpg"]);
    assert_eq!(fs::read(&cached).unwrap(), KEY);
    // The server is gone.
    drop(server);
    build();
    assert_eq!(place.started(), 3);
}

#[test]
fn a_key_that_apt_would_not_read_is_refused() {
    let key = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n";
    let place = Place::new("version: 9");
    place.write("images/key.asc", key);
    let digest = sha256(key);
    place.define(
        "trixie",
        &format!("version: 9, key: key.asc, key_sha256: {digest}"),
    );
    let error = place.error(&["--source", "mirror"]);
    begins(&error, "Proxmox's key is ASCII-armoured");
    place.is_untouched();
}

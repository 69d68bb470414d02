//! Debian's own way: a list of digests, and the signature of a key that is trusted.

use super::place::{Place, disc, was_read};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::http::{Server, Way};
use testkit::{Folder, begins, has, must, sha256};

const CURRENT: &str = "/debian-cd/current/amd64/iso-cd";
const OLD: &str = "/cdimage/archive/latest-oldstable/amd64/iso-cd";

/// A key of its own for each test.
struct Key(Folder);

impl Key {
    fn new() -> Key {
        Key::at(&[])
    }

    /// One that has expired, with signatures of its time.
    fn expired() -> Key {
        Key::at(&["--faked-system-time", "20200101T000000"])
    }

    fn at(time: &[&str]) -> Key {
        let key = Key(Folder::new());
        key.0.write("time", time.join("\n"));
        let id = "Disc signing key <discs@example.org>";
        let expiry = if time.is_empty() { "never" } else { "1y" };
        key.gpg(&[
            "--passphrase",
            "",
            "--quick-gen-key",
            id,
            "ed25519",
            "sign",
            expiry,
        ]);
        key
    }

    fn gpg(&self, words: &[&str]) {
        must(
            Command::new("gpg")
                .args(["--batch", "--quiet", "--yes", "--homedir"])
                .arg(self.0.path(""))
                .args(self.0.read("time").lines())
                .args(words),
        );
    }

    fn export(&self, to: &Path) {
        self.gpg(&["--output", to.to_str().unwrap(), "--export"]);
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        self.0.write("SHA256SUMS", text);
        let file = self.0.path("SHA256SUMS");
        self.gpg(&["--armor", "--detach-sign", file.to_str().unwrap()]);
        fs::read(self.0.path("SHA256SUMS.asc")).unwrap()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(self.0.path(""));
        let _ = end.args(["--kill", "gpg-agent"]).status();
    }
}

/// A site, a definition that takes the latest disc from it, and the key that it trusts.
struct Scene {
    place: Place,
    server: Server,
    key: Key,
    iso: Vec<u8>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Key::new())
    }

    fn with(key: Key) -> Scene {
        let (server, iso) = (Server::new(), disc());
        let place = Place::new(&netinst(&server, "latest"));
        key.export(&place.path("keys.gpg"));
        Scene {
            place,
            server,
            key,
            iso,
        }
    }

    /// The discs of a folder, with a list that is signed.
    fn publish(&self, folder: &str, versions: &[&str]) {
        let name = |version| format!("debian-{version}-amd64-netinst.iso");
        let digest = sha256(&self.iso);
        let list: String = versions
            .iter()
            .map(|version| format!("{digest}  {}\n", name(version)))
            .collect();
        self.server.put(&sums(folder), list.as_bytes());
        self.server.put(&sign(folder), &self.key.sign(&list));
        for version in versions {
            self.server
                .put(&format!("{folder}/{}", name(version)), &self.iso);
        }
    }

    /// A build that gets as far as reading this disc from the cache; what it said.
    fn reads(&self, version: &str) -> String {
        let said = self.place.says(&[]);
        let (_, error) = said.split_once("imgbuild: error: ").expect(&said);
        let digest = &sha256(&self.iso)[..12];
        let disc = format!("HERE/cache/imgbuild/{digest}-debian-{version}-amd64-netinst.iso");
        assert!(was_read(error, &disc), "{said}");
        said
    }

    /// The error of a build, with SITE for the server's address.
    fn error(&self) -> String {
        self.place.error(&[]).replace(&self.server.url(""), "SITE")
    }

    fn asked(&self, expected: &[&str]) {
        assert_eq!(self.server.requests(), expected);
    }
}

fn netinst(server: &Server, version: &str) -> String {
    let site = server.url("");
    format!("netinst: {{version: {version}, site: \"{site}\", keyring: keys.gpg}}")
}

fn sums(folder: &str) -> String {
    format!("{folder}/SHA256SUMS")
}

fn sign(folder: &str) -> String {
    format!("{folder}/SHA256SUMS.sign")
}

fn iso(folder: &str, version: &str) -> String {
    format!("{folder}/debian-{version}-amd64-netinst.iso")
}

#[test]
fn the_latest_disc_of_the_current_release() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["12.11.0", "13.2.0"]);
    scene.reads("13.2.0");
    let lists = [&sums(CURRENT)[..], &sign(CURRENT)];
    scene.asked(&[lists[0], lists[1], &iso(CURRENT, "13.2.0")]);
    // Whether there is a newer one is asked each time.
    scene.reads("13.2.0");
    scene.asked(&lists);
    scene.publish(CURRENT, &["13.3.0"]);
    scene.reads("13.3.0");
    scene.asked(&[lists[0], lists[1], &iso(CURRENT, "13.3.0")]);
}

#[test]
fn the_latest_disc_of_the_release_before() {
    let scene = Scene::new();
    scene
        .place
        .define("bookworm", &netinst(&scene.server, "latest"));
    scene.publish(CURRENT, &["13.2.0"]);
    scene.publish(OLD, &["12.12.0"]);
    scene.reads("12.12.0");
    let lists = [sums(CURRENT), sign(CURRENT), sums(OLD), sign(OLD)];
    let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
    scene.asked(&[&lists[..], &[&iso(OLD, "12.12.0")]].concat());
}

#[test]
fn a_release_that_is_not_published_is_said_with_what_is() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["14.0.0", "14.1.0"]);
    assert_eq!(
        scene.error(),
        format!(
            "no debian-13.*-amd64-netinst.iso is published for Debian 13 (trixie):\n    \
             SITE{CURRENT}/SHA256SUMS: it has debian-14.0.0-amd64-netinst.iso, \
             debian-14.1.0-amd64-netinst.iso\n    SITE{OLD}/SHA256SUMS: there is no such list"
        )
    );
}

#[test]
fn a_point_release_is_looked_for_in_the_archive_and_asked_for_once() {
    let scene = Scene::new();
    let archive = "/cdimage/archive/13.1.0/amd64/iso-cd";
    scene
        .place
        .define("trixie", &netinst(&scene.server, "13.1.0"));
    scene.publish(archive, &["13.1.0"]);
    scene.reads("13.1.0");
    scene.asked(&[
        &sums("/cdimage/release/13.1.0/amd64/iso-cd"),
        &sums(archive),
        &sign(archive),
        &iso(archive, "13.1.0"),
    ]);
    scene.reads("13.1.0");
    scene.asked(&[]);
}

#[test]
fn without_a_network_the_newest_one_that_is_here_is_used() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["13.2.0"]);
    let failed = |error: &str| {
        let first = format!("cannot download SITE{CURRENT}/SHA256SUMS: a program failed ");
        begins(error, &first);
        has(error, "returned error: 503");
    };
    scene.server.next(&sums(CURRENT), &[Way::Refused(503)]);
    failed(&scene.error());
    scene.reads("13.2.0");
    scene.server.next(&sums(CURRENT), &[Way::Refused(503)]);
    let said = scene.reads("13.2.0");
    let digest = &sha256(&scene.iso)[..12];
    let warning = format!(
        "imgbuild: warning: HERE/cache/imgbuild/{digest}-debian-13.2.0-amd64-netinst.iso is used, \
         the newest one that is here: cannot download "
    );
    has(&said, &warning);
    // What was kept is believed no more than what comes.
    let mut kept = scene.place.cached();
    kept.retain(|name| name.ends_with("-SHA256SUMS"));
    let list = scene.place.cache().join(&kept[0]);
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text + "\n").unwrap();
    scene.server.next(&sums(CURRENT), &[Way::Refused(503)]);
    failed(&scene.error());
}

/// Nothing but the list and its signature was asked for, and nothing of them is kept.
fn nothing_is_taken(scene: &Scene, why: &str) {
    let error = scene.error();
    let first = format!(
        "SITE{CURRENT}/SHA256SUMS is not signed by a key of HERE/keys.gpg; no disc is taken from \
         there: "
    );
    begins(&error, &first);
    has(&error, why);
    scene.asked(&[&sums(CURRENT), &sign(CURRENT)]);
    assert_eq!(scene.place.cached(), [""; 0]);
}

#[test]
fn a_list_that_was_changed_is_refused() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["13.2.0"]);
    let changed = format!("{}  debian-13.2.0-amd64-netinst.iso\n", "0".repeat(64));
    scene.server.put(&sums(CURRENT), changed.as_bytes());
    nothing_is_taken(&scene, "BAD signature from \"Disc signing key");
    scene.server.put(&sign(CURRENT), b"words");
    nothing_is_taken(&scene, "gpgv");
}

#[test]
fn a_list_that_another_has_signed_is_refused() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["13.2.0"]);
    Key::new().export(&scene.place.path("keys.gpg"));
    nothing_is_taken(&scene, "No public key");
}

#[test]
fn a_list_signed_by_a_key_that_has_expired_is_refused() {
    let scene = Scene::with(Key::expired());
    scene.publish(CURRENT, &["13.2.0"]);
    nothing_is_taken(&scene, "its key has expired: ");
}

#[test]
fn a_list_without_a_signature_is_refused() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["13.2.0"]);
    scene.server.remove(&sign(CURRENT));
    assert_eq!(
        scene.error(),
        format!(
            "SITE{CURRENT}/SHA256SUMS is not signed: there is no SITE{CURRENT}/SHA256SUMS.sign"
        )
    );
    assert_eq!(scene.place.cached(), [""; 0]);
}

#[test]
fn a_disc_that_differs_from_the_signed_list_is_refused() {
    let scene = Scene::new();
    scene.publish(CURRENT, &["13.2.0"]);
    let mut other = scene.iso.clone();
    other[100_000] ^= 1;
    scene.server.put(&iso(CURRENT, "13.2.0"), &other);
    assert_eq!(
        scene.error(),
        format!(
            "SITE{} is not the disc that it should be, and was removed:\n    expected: {}\n    \
             found:    {}",
            iso(CURRENT, "13.2.0"),
            sha256(&scene.iso),
            sha256(&other)
        )
    );
}

/// A file of the user's with Debian's list and its signature beside it.
#[test]
fn a_list_beside_the_users_own_disc_is_debians_where_a_signature_says_so() {
    let key = Key::new();
    let place = Place::new("netinst: {version: latest, keyring: keys.gpg}");
    key.export(&place.path("keys.gpg"));
    let write = |name: &str, content: &[u8]| place.write(name, content);
    let iso = disc();
    write("my.iso", &iso);
    let list = format!("{}  my.iso\n", sha256(&iso));
    write("SHA256SUMS", list.as_bytes());
    let with = ["--iso", "my.iso"];
    let said = place.says(&with);
    has(&said, "as in SHA256SUMS, without a signature");
    write("SHA256SUMS.sign", &key.sign(&list));
    let said = place.says(&with);
    has(&said, "as in SHA256SUMS, which Debian has signed");
    assert!(was_read(&place.error(&with), "my.iso"));
    // Somebody else's signature, and a list that was changed after Debian's.
    let refusal = "SHA256SUMS is not signed by a key of HERE/keys.gpg, so what it says of the disc \
                   proves nothing. Download both again, from Debian; SHA256SUMS.sign can be left \
                   out: ";
    write("SHA256SUMS.sign", &Key::new().sign(&list));
    let error = place.error(&with);
    begins(&error, refusal);
    write("SHA256SUMS.sign", &key.sign("another list\n"));
    let error = place.error(&with);
    begins(&error, refusal);
}

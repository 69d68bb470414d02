//! A pinned address: downloaded once, resumed after a break, verified before every use.

use super::place::{Place, disc, was_read};
use rustix::process::Signal;
use std::fs;
use testkit::http::{Server, Way};
use testkit::{begins, ends, has, kill, sha256, wait_for, write_program};

const PATH: &str = "/iso/debian-13.2.0-amd64-netinst.iso";

/// A server with a disc, and a definition that names it.
struct Scene {
    place: Place,
    server: Server,
    iso: Vec<u8>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Server::new())
    }

    fn with(server: Server) -> Scene {
        let iso = disc();
        server.put(PATH, &iso);
        let place = Place::new(&pinned(&server.url(PATH), &sha256(&iso)));
        Scene { place, server, iso }
    }

    /// The disc's name in the cache.
    fn name(&self) -> String {
        let digest = sha256(&self.iso);
        format!("{}-debian-13.2.0-amd64-netinst.iso", &digest[..12])
    }

    fn file(&self) -> std::path::PathBuf {
        self.place.cache().join(self.name())
    }

    fn part(&self) -> std::path::PathBuf {
        self.place.cache().join(self.name() + ".part")
    }

    /// A build that gets as far as reading the disc from the cache; what it said.
    fn is_read(&self) -> String {
        let said = self.place.says(&[]);
        let (_, error) = said.split_once("imgbuild: error: ").expect(&said);
        let disc = format!("HERE/cache/imgbuild/{}", self.name());
        assert!(was_read(error, &disc), "{said}");
        assert_eq!(self.place.cached(), [self.name()]);
        assert!(fs::read(self.file()).unwrap() == self.iso);
        said
    }

    fn asked(&self, expected: &[&str]) {
        assert_eq!(self.server.requests(), expected);
    }
}

fn pinned(url: &str, digest: &str) -> String {
    format!("netinst: {{url: \"{url}\", sha256: {digest}}}")
}

#[test]
fn it_is_downloaded_once() {
    let scene = Scene::new();
    scene.is_read();
    scene.asked(&[PATH]);
    let said = scene.is_read();
    has(&said, "(from the cache)");
    scene.asked(&[]);
}

#[test]
fn one_that_is_damaged_in_the_cache_is_downloaded_again() {
    let scene = Scene::new();
    scene.is_read();
    let mut flipped = scene.iso.clone();
    flipped[100_000] ^= 1;
    for damaged in [&flipped[..], &scene.iso[..100_000], b""] {
        scene.server.requests();
        fs::write(scene.file(), damaged).unwrap();
        let said = scene.is_read();
        let warning = format!(
            "imgbuild: warning: HERE/cache/imgbuild/{} is damaged, so it is removed and \
             downloaded again:\n    expected: {}\n    found:    {}\n",
            scene.name(),
            sha256(&scene.iso),
            sha256(damaged)
        );
        has(&said, &warning);
        scene.asked(&[PATH]);
    }
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let scene = Scene::new();
    let breaks = [Way::Cut(100_000), Way::Cut(50_000)];
    scene.server.next(PATH, &breaks);
    let said = scene.is_read();
    has(&said, "it broke off after 100000 bytes: resumed");
    let resumed = [100_000, 150_000].map(|from| format!("{PATH} from {from}"));
    scene.asked(&[PATH, &resumed[0], &resumed[1]]);
}

#[test]
fn a_server_that_sends_no_rest_is_asked_for_all() {
    let scene = Scene::with(Server::new().without_ranges());
    scene.server.next(PATH, &[Way::Cut(100_000)]);
    let said = scene.is_read();
    has(&said, "sends no rest of a file: from the start");
    let refused = format!("{PATH} from 100000");
    scene.asked(&[PATH, &refused, PATH]);
}

#[test]
fn a_download_that_does_not_go_on_fails_and_is_kept_for_the_next_time() {
    let scene = Scene::new();
    scene.server.next(PATH, &[Way::Cut(100_000), Way::Cut(0)]);
    let error = scene.place.error(&[]);
    let first = format!(
        "cannot download {}: the 0.1 MB that had come are kept for the next time: \
         HERE/cache/imgbuild/{}.part: a program failed (exit status: 18): ",
        scene.server.url(PATH),
        scene.name()
    );
    begins(&error, &first);
    has(&error, "\n    curl: (18) ");
    assert_eq!(scene.place.cached(), [scene.name() + ".part"]);
    scene.server.requests();
    scene.is_read();
    scene.asked(&[&format!("{PATH} from 100000")]);
}

#[test]
fn a_beginning_that_does_not_fit_is_given_up() {
    let scene = Scene::new();
    fs::create_dir_all(scene.place.cache()).unwrap();
    for (beginning, from) in [(1000, 1000), (scene.iso.len() + 5, scene.iso.len() + 5)] {
        let _ = fs::remove_file(scene.file());
        fs::write(scene.part(), vec![9; beginning]).unwrap();
        scene.is_read();
        scene.asked(&[&format!("{PATH} from {from}"), PATH]);
    }
}

#[test]
fn another_file_than_the_pinned_one_is_refused_and_removed() {
    let scene = Scene::new();
    let wanted = "ab".repeat(32);
    let url = scene.server.url(PATH);
    scene.place.define("trixie", &pinned(&url, &wanted));
    assert_eq!(
        scene.place.error(&[]),
        format!(
            "{url} is not the disc that it should be, and was removed:\n    expected: {wanted}\n    \
             found:    {}",
            sha256(&scene.iso)
        )
    );
    assert_eq!(scene.place.cached(), [""; 0]);
    scene.asked(&[PATH]);
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let scene = Scene::new();
    let url = scene.server.url(PATH);
    scene.server.next(PATH, &[Way::Refused(503)]);
    let error = scene.place.error(&[]);
    let first = format!("cannot download {url}: a program failed (exit status: 22): ");
    begins(&error, &first);
    has(&error, "returned error: 503");
    scene.server.remove(PATH);
    assert_eq!(
        scene.place.error(&[]),
        format!("cannot download {url}: the server has no such file (404)")
    );
    drop(scene.server);
    let error = scene.place.error(&[]);
    has(&error, "\n    curl: (7) ");
    assert_eq!(scene.place.cached(), [""; 0]);
}

#[test]
fn the_definitions_proxy_is_used() {
    let scene = Scene::new();
    let url = format!("http://images.invalid{PATH}");
    let keys = format!(
        "{}\nproxy: http://{}",
        pinned(&url, &sha256(&scene.iso)),
        scene.server.address
    );
    scene.place.define("trixie", &keys);
    scene.is_read();
    scene.asked(&[&url]);
}

#[test]
fn a_missing_curl_is_named_with_its_package() {
    let scene = Scene::new();
    for program in ["qemu-system-x86_64", "qemu-img"] {
        scene.place.stands_in(program, "");
    }
    // Without apt-get, it is the one that knows where the security updates are.
    let addresses = b"'http://images.invalid/debian' 'http://images.invalid/debian-security'\n";
    let bin = scene.place.path("bin");
    write_program(&bin.join("mmdebstrap"), addresses);
    let mut command = scene.place.command(&[]);
    let done = scene
        .place
        .done(&command.env("PATH", &bin).output().unwrap());
    let last = format!(
        "imgbuild: error: cannot download {}: curl is not installed. On Debian: sudo apt install \
         curl\n",
        scene.server.url(PATH)
    );
    ends(&done.err, &last);
}

#[test]
fn what_had_come_before_ctrl_c_is_kept() {
    let scene = Scene::new();
    scene.server.next(PATH, &[Way::Stuck(150_000)]);
    let child = scene.place.command(&[]).spawn().unwrap();
    let come = || fs::metadata(scene.part()).map_or(0, |m| m.len());
    wait_for("the first bytes", || come() > 0);
    kill(child.id(), Signal::INT);
    let done = scene.place.done(&child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130));
    let megabytes = come() as f64 / 1e6;
    let last = format!(
        "imgbuild: error: interrupted; the {megabytes:.1} MB that had come are kept for the next \
         time: HERE/cache/imgbuild/{}.part\n",
        scene.name()
    );
    ends(&done.err, &last);
    assert_eq!(scene.place.cached(), [scene.name() + ".part"]);
    scene.server.requests();
    let from = come();
    scene.is_read();
    scene.asked(&[&format!("{PATH} from {from}")]);
}

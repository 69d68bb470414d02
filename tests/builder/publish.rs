//! `imgbuild lab publish`, the programs that download what it made, and `imgbuild fetch`.

use crate::vm_folder::{Finished, LabFolder};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use testkit::http::{Server, Way};
use testkit::{begins, both, has, mode, must, sha256};

const SERVED: &str = "http://www.lab.example.org/images/";

/// What stands in for an image: more than two pieces, no two alike.
fn image(seed: u8) -> Vec<u8> {
    let numbers = (0_u32..700_000).flat_map(|number| number.to_le_bytes());
    b"QFI\xfb"
        .iter()
        .copied()
        .chain([seed])
        .chain(numbers)
        .collect()
}

/// A lab with a base of this content.
fn lab(content: &[u8]) -> LabFolder {
    let lab = LabFolder::new(&["vm42"]);
    base(&lab, content);
    symlink("/usr/bin/curl", lab.path("bin/curl")).unwrap();
    lab
}

/// A new base, by rename.
fn base(lab: &LabFolder, content: &[u8]) {
    lab.write("new", content);
    fs::rename(lab.path("new"), lab.path("base.qcow2")).unwrap();
    lab.write_manifest_of(content, 4 << 30);
}

fn publish(lab: &LabFolder, more: &[&str]) -> Finished {
    lab.imgbuild(&[&["lab", "publish", "www"], more].concat())
}

/// The names in the folder, with the digests of these images as 1, 2 …
fn names(lab: &LabFolder, images: &[&[u8]]) -> Vec<String> {
    let mut names = lab.names("www");
    for (number, image) in images.iter().enumerate() {
        for name in &mut names {
            *name = name.replace(&sha256(image), &(number + 1).to_string());
        }
    }
    names.sort();
    names
}

const ALL: [&str; 6] = [
    "1.manifest.json",
    "1.qcow2",
    "1.qcow2.meta4",
    "1.qcow2.sha256",
    "1.qcow2.torrent",
    "current.json",
];

#[test]
fn what_is_published_is_whole_and_for_everybody() {
    let one = image(1);
    let lab = lab(&one);
    let digest = sha256(&one);
    let done = publish(&lab, &["--url", SERVED.trim_end_matches('/')]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.out,
        format!(
            "www/{digest}.qcow2 is published (2 MB)\nnext: a web server has to serve www as {SERVED}; \
             then, on another desk: imgbuild fetch {SERVED}\n"
        )
    );
    assert_eq!(names(&lab, &[&one]), ALL);
    for name in lab.names("www") {
        assert_eq!(mode(&lab.path("www").join(name)), 0o644);
    }
    let file = |ending: &str| format!("www/{digest}{ending}");
    assert_eq!(
        lab.read("www/current.json"),
        format!(
            "{{\"image\":\"{digest}.qcow2\",\"sha256\":\"{digest}\",\"bytes\":{},\"manifest\":\
             \"{digest}.manifest.json\",\"metalink\":\"{digest}.qcow2.meta4\",\"torrent\":\
             \"{digest}.qcow2.torrent\"}}\n",
            one.len()
        )
    );
    assert_eq!(
        lab.read(&file(".manifest.json")),
        lab.read("base.manifest.json")
    );
    must(
        Command::new("sha256sum")
            .args(["--quiet", "-c"])
            .arg(format!("{digest}.qcow2.sha256"))
            .current_dir(lab.path("www")),
    );
    let metalink = lab.read(&file(".qcow2.meta4"));
    has(
        &metalink,
        &format!("<url priority=\"1\">{SERVED}{digest}.qcow2</url>"),
    );
    assert_eq!(metalink.matches("      <hash>").count(), 3);
    // One file under two names; a second time nothing is copied, and the bytes are the same.
    let inode = |name: &str| fs::metadata(lab.path(name)).unwrap().ino();
    assert_eq!(inode(&file(".qcow2")), inode("base.qcow2"));
    let torrent = fs::read(lab.path(&file(".qcow2.torrent"))).unwrap();
    base(&lab, &one);
    let done = publish(&lab, &["--url", SERVED]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(&done.err, "it is there already");
    assert_ne!(inode(&file(".qcow2")), inode("base.qcow2"));
    assert!(fs::read(lab.path(&file(".qcow2.torrent"))).unwrap() == torrent);
    assert_eq!(names(&lab, &[&one]), ALL);
    // One that is damaged is replaced.
    fs::write(lab.path(&file(".qcow2")), vec![0; one.len()]).unwrap();
    let done = publish(&lab, &["--url", SERVED]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(fs::read(lab.path(&file(".qcow2"))).unwrap() == one);
}

#[test]
fn old_images_are_removed_but_for_those_that_are_kept() {
    let (one, two, three) = (image(1), image(2), image(3));
    let lab = lab(&one);
    lab.write("www/index.html", "theirs");
    lab.write("www/debian.qcow2", "theirs");
    let all: [&[u8]; 3] = [&one, &two, &three];
    publish(&lab, &["--url", SERVED]);
    base(&lab, &two);
    publish(&lab, &["--url", SERVED]);
    base(&lab, &three);
    let done = publish(&lab, &["--url", SERVED]);
    assert_eq!(
        done.out.lines().next().unwrap(),
        format!(
            "www/{}.qcow2 was removed, with what belongs to it (--keep)",
            sha256(&one)
        )
    );
    let of = |number: u8| {
        ALL[..5]
            .iter()
            .map(move |name| name.replace('1', &number.to_string()))
    };
    let mut expected: Vec<String> = of(2).chain(of(3)).collect();
    expected.extend(["current.json", "debian.qcow2", "index.html"].map(String::from));
    assert_eq!(names(&lab, &all), expected);
    let done = publish(&lab, &["--url", SERVED, "--keep", "0"]);
    assert_eq!(done.code, Some(0));
    let mut expected: Vec<String> = of(3).collect();
    expected.extend(["current.json", "debian.qcow2", "index.html"].map(String::from));
    assert_eq!(names(&lab, &all), expected);
}

#[test]
fn without_an_address_there_is_no_metalink_and_that_is_said() {
    let one = image(1);
    let lab = lab(&one);
    publish(&lab, &["--url", SERVED]);
    let done = publish(&lab, &[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.out.lines().nth(1).unwrap(),
        "without metalink and torrent: in them stand addresses, and none is known. Where the folder is \
         served, say so: --url http://www.lab.example.org/images/"
    );
    assert_eq!(
        names(&lab, &[&one]),
        [
            "1.manifest.json",
            "1.qcow2",
            "1.qcow2.sha256",
            "current.json"
        ]
    );
    has(
        &lab.read("www/current.json"),
        "\"metalink\":null,\"torrent\":null}",
    );
}

/// Each address once, in the order of the rooms; the command line's are instead of them.
#[test]
fn the_rooms_say_where_the_folder_is_served() {
    let one = image(1);
    let lab = lab(&one);
    let room = |name: &str, url: &str| {
        format!("  {name}:\n    pcs: [pc-{name}.example.org]\n    base_url: {url}\n")
    };
    let rooms = [
        room("a", SERVED),
        room("b", "http://b.example.org/x"),
        room("c", SERVED),
    ];
    let hosts = format!("hosts:\n{}vms:\n", rooms.concat());
    lab.write("lab.yaml", lab.read("lab.yaml").replace("vms:\n", &hosts));
    let done = publish(&lab, &["--tracker", "http://tracker.example.org/announce"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let digest = sha256(&one);
    let metalink = lab.read(&format!("www/{digest}.qcow2.meta4"));
    let urls: Vec<&str> = metalink
        .lines()
        .filter(|line| line.contains("<url "))
        .collect();
    assert_eq!(
        urls,
        [
            format!("    <url priority=\"1\">{SERVED}{digest}.qcow2</url>"),
            format!("    <url priority=\"2\">http://b.example.org/x/{digest}.qcow2</url>"),
        ]
    );
    let torrent = fs::read(lab.path(&format!("www/{digest}.qcow2.torrent"))).unwrap();
    assert!(torrent.starts_with(b"d8:announce35:http://tracker.example.org/announce4:info"));
}

#[test]
fn nothing_is_published_that_is_not_what_it_should_be() {
    let one = image(1);
    let lab = lab(&one);
    let mut other = one.clone();
    other[100_000] ^= 1;
    lab.write("base.qcow2", &other);
    let done = publish(&lab, &[]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.error(),
        format!(
            "LAB/base.qcow2 is not the image that LAB/base.manifest.json describes:\n    expected: \
             {}\n    found:    {}\n  Make it again with: imgbuild base --force\n",
            sha256(&one),
            sha256(&other)
        )
    );
    assert_eq!(lab.names("www"), [""; 0]);
    let done = publish(&lab, &["--tracker", "http://tracker.example.org/announce"]);
    assert_eq!(
        done.err,
        "imgbuild: error: --tracker is for the torrent, and there is none without an address: give \
         --url too\n"
    );
    let done = publish(&lab, &["--url", "www.lab.example.org"]);
    assert_eq!(
        done.err,
        "imgbuild: error: --url: `www.lab.example.org` is no http:// or https:// address\n  right: \
         --url http://www.lab.example.org/images/\n"
    );
}

/// Serves what was published.
fn serve(lab: &LabFolder, server: &Server) {
    for name in lab.names("www") {
        let content = fs::read(lab.path("www").join(&name)).unwrap();
        server.put(&format!("/images/{name}"), &content);
    }
}

/// aria2c in a folder of its own; `None` where it is not installed.
fn aria2(lab: &LabFolder, words: &[&str]) -> Option<(bool, String)> {
    if !Path::new("/usr/bin/aria2c").is_file() {
        return None;
    }
    lab.folders(&["got"]);
    let output = Command::new("/usr/bin/aria2c")
        .args([
            "--no-conf",
            "--dir=got",
            "--enable-dht=false",
            "--enable-dht6=false",
        ])
        .args(["--bt-enable-lpd=false", "--seed-time=0"])
        .args(["--max-tries=2", "--bt-stop-timeout=3", "--stop=60"])
        .args(words)
        .env_remove("http_proxy")
        .current_dir(lab.path(""))
        .output()
        .unwrap();
    Some((output.status.success(), both(&output)))
}

#[test]
fn aria2_takes_the_metalink_and_the_torrent() {
    let one = image(1);
    let lab = lab(&one);
    let server = Server::new();
    assert_eq!(
        publish(&lab, &["--url", &server.url("/images/")]).code,
        Some(0)
    );
    serve(&lab, &server);
    let digest = sha256(&one);
    let torrent = format!("www/{digest}.qcow2.torrent");
    let Some((_, shown)) = aria2(&lab, &["--show-files", &torrent]) else {
        return;
    };
    for line in [
        "Mode: single\n",
        "Announce:\nInfo Hash: ",
        "Piece Length: 1.0MiB\n",
        "The Number of Pieces: 3\n",
        &format!("Total Length: 2.6MiB ({})\n", thousands(one.len())),
        &format!(
            "URL List:\n {}\n",
            server.url(&format!("/images/{digest}.qcow2"))
        ),
        &format!("Name: {digest}.qcow2\n"),
    ] {
        has(&shown, line);
    }
    for file in [torrent, format!("www/{digest}.qcow2.meta4")] {
        let (well, said) = aria2(&lab, &[&file]).unwrap();
        assert!(well, "{file}: {said}");
        let got = lab.path(&format!("got/{digest}.qcow2"));
        assert!(fs::read(&got).unwrap() == one, "{file}");
        fs::remove_file(got).unwrap();
    }
}

/// As aria2 writes a number.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = groups
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

/// A server that has another file than the one that metalink and torrent were made of.
#[test]
fn aria2_takes_no_image_whose_pieces_lie() {
    let one = image(1);
    let lab = lab(&one);
    let server = Server::new();
    publish(&lab, &["--url", &server.url("/images/")]);
    serve(&lab, &server);
    let digest = sha256(&one);
    let mut other = one.clone();
    other[1_500_000] ^= 1;
    server.put(&format!("/images/{digest}.qcow2"), &other);
    for ending in ["meta4", "torrent"] {
        let Some((well, said)) = aria2(&lab, &[&format!("www/{digest}.qcow2.{ending}")]) else {
            return;
        };
        assert!(!well, "{ending}: {said}");
        has(&said, "Invalid checksum index=1");
    }
}

/// A server with a published image, and a desk without a base.
struct Scene {
    desk: LabFolder,
    server: Server,
    image: Vec<u8>,
    digest: String,
}

impl Scene {
    fn new() -> Scene {
        let image = image(1);
        let lab = lab(&image);
        let server = Server::new();
        publish(&lab, &["--url", &server.url("/images/")]);
        serve(&lab, &server);
        let desk = LabFolder::new(&["vm42"]);
        symlink("/usr/bin/curl", desk.path("bin/curl")).unwrap();
        let digest = sha256(&image);
        Scene {
            desk,
            server,
            image,
            digest,
        }
    }

    fn path(&self) -> String {
        format!("/images/{}.qcow2", self.digest)
    }

    fn fetch(&self, url: &str) -> Finished {
        self.desk.imgbuild(&["fetch", url])
    }

    /// The refusal; what was there is as it was, and but for what had come nothing is left.
    fn refused(&self, url: &str, left: &[&str]) -> String {
        let before = self.desk.read("base.qcow2");
        let done = self.fetch(url);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(1), ""),
            "{}",
            done.err
        );
        assert_eq!(self.desk.read("base.qcow2"), before);
        let mut names = self.desk.names("");
        names.retain(|name| name.starts_with('.'));
        assert_eq!(names, left);
        done.error()
            .replace(&self.server.url(""), "SERVER")
            .replace(&self.digest, "DIGEST")
    }
}

#[test]
fn fetch_puts_the_newest_image_into_place() {
    let scene = Scene::new();
    let url = scene.server.url("/images");
    let old = sha256(scene.desk.read("base.qcow2").as_bytes());
    scene.desk.write("vm42/vm42.qcow2", "a disk");
    scene.desk.write("vm42/vm42.qcow2.base", format!("{old}\n"));
    let done = scene.fetch(&url);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.out,
        format!(
            "./base.qcow2 is ready: 2 MB, sha256 {}\nvm42 stays on the old base, kept as \
             ./bases/{old}.qcow2\n  For a new disk on the new base: imgbuild stop vm42, imgbuild rm vm42, \
             imgbuild seed vm42, imgbuild run vm42\n",
            scene.digest
        )
    );
    assert!(fs::read(scene.desk.path("base.qcow2")).unwrap() == scene.image);
    must(
        Command::new("sha256sum")
            .args(["--quiet", "-c", "base.qcow2.sha256"])
            .current_dir(scene.desk.path("")),
    );
    for name in ["base.qcow2", "base.manifest.json", "base.qcow2.sha256"] {
        assert_eq!(mode(&scene.desk.path(name)), 0o644);
    }
    assert_eq!(scene.desk.imgbuild(&["seed", "vm42"]).code, Some(0));
    scene.server.requests();
    let done = scene.fetch(&scene.server.url("/images/current.json"));
    assert_eq!(
        done.out.replace(&scene.server.url(""), "SERVER"),
        format!(
            "./base.qcow2 is up to date: it is SERVER/images/{}.qcow2 already\n",
            scene.digest
        )
    );
    let asked = scene.server.requests();
    assert_eq!(
        asked,
        [
            "/images/current.json".to_owned(),
            format!("/images/{}.manifest.json", scene.digest)
        ]
    );
}

#[test]
fn fetch_of_one_image_goes_on_where_it_broke_off() {
    let scene = Scene::new();
    scene.server.remove("/images/current.json");
    let url = scene.server.url(&scene.path());
    scene
        .server
        .next(&scene.path(), &[Way::Cut(1_000_000), Way::Cut(0)]);
    let part = format!(".{}.qcow2.part", scene.digest);
    let error = scene.refused(&url, &[&part]);
    begins(
        &error,
        "cannot download SERVER/images/DIGEST.qcow2: the 1.0 MB that had come are kept for the next \
         time: ./.DIGEST.qcow2.part: a program failed (exit status: 18): ",
    );
    let other = format!(".{}.qcow2.part", "ab".repeat(32));
    scene.desk.write(&other, "of an image that was given up");
    scene.server.requests();
    let done = scene.fetch(&url);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(fs::read(scene.desk.path("base.qcow2")).unwrap() == scene.image);
    let asked = [
        format!("/images/{}.manifest.json", scene.digest),
        format!("{} from 1000000", scene.path()),
    ];
    assert_eq!(scene.server.requests(), asked);
    assert!(!scene.desk.path(&part).exists() && !scene.desk.path(&other).exists());
}

#[test]
fn fetch_takes_nothing_that_is_not_the_image() {
    let scene = Scene::new();
    let page = b"<!DOCTYPE html>\n<title>Log in</title>";
    let folder = scene.server.url("/images/");
    let mut other = scene.image.clone();
    other[5] ^= 1;
    let wrong = |content: &[u8], seems: &str| {
        scene.server.put(&scene.path(), content);
        assert_eq!(
            scene.refused(&folder, &[]),
            format!(
                "SERVER/images/DIGEST.qcow2 is not the image that it should be, and was removed:\n    \
                 expected: DIGEST\n    found:    {}{seems}\n  right: the same once more; if it stays so, what \
                 lies there is damaged or changed: remove it there, and publish it again with `imgbuild lab \
                 publish`\n",
                sha256(content)
            )
        );
    };
    wrong(&other, "");
    wrong(
        page,
        "\n    it is an HTML page; perhaps the answer of a proxy or a login page",
    );
    let manifest = format!("/images/{}.manifest.json", scene.digest);
    scene.server.put(&manifest, page);
    assert_eq!(
        scene.refused(&folder, &[]),
        "SERVER/images/DIGEST.manifest.json is not the manifest of a base: it is an HTML page; perhaps \
         the answer of a proxy or a login page\n"
    );
    let others = scene.desk.read("base.manifest.json");
    scene.server.put(&manifest, others.as_bytes());
    let current = sha256(scene.desk.read("base.qcow2").as_bytes());
    assert_eq!(
        scene.refused(&folder, &[]),
        format!(
            "SERVER/images/DIGEST.manifest.json is the manifest of another image:\n    expected: \
             DIGEST, {} bytes\n    found:    {current}, 28 bytes\n  right: publish it there again, with \
             `imgbuild lab publish`\n",
            scene.image.len()
        )
    );
    scene.server.put("/images/current.json", page);
    assert_eq!(
        scene.refused(&folder, &[]),
        "SERVER/images/current.json is no current.json of `imgbuild lab publish`: it is an HTML page; \
         perhaps the answer of a proxy or a login page\n"
    );
    scene.server.remove("/images/current.json");
    assert_eq!(
        scene.refused(&folder, &[]),
        "SERVER/images/ is no folder of `imgbuild lab publish`, or cannot be reached: cannot download \
         SERVER/images/current.json: the server has no such file (404)\n  right: the address of the folder \
         that `imgbuild lab publish` has made; a browser shows its current.json\n"
    );
}

#[test]
fn fetch_says_beforehand_that_there_is_no_room() {
    let scene = Scene::new();
    let manifest = format!("/images/{}.manifest.json", scene.digest);
    let text = format!(
        r#"{{"image": {{"sha256": "{}", "bytes": 9000000000000000000, "virtual_bytes": 5}}, "firstboot": {{}}}}"#,
        scene.digest
    );
    scene.server.put(&manifest, text.as_bytes());
    let error = scene.refused(&scene.server.url(&scene.path()), &[]);
    begins(&error, "not enough space in .: ");
    has(
        &error,
        " MB are free, and 9000000000000 MB are still to come\n",
    );
}

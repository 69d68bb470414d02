//! OpenVPN itself is asked, where it is installed: what it takes for an option, and what it makes
//! of the configurations that `imgbuild check` calls good or bad.
use crate::contract::openvpn::{self, Guest};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The release that the table of options was made with.
const RELEASE: &str = "OpenVPN 2.6.";

fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let output = Command::new("openvpn").arg("--version").output();
        let said = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        said.is_ok_and(|said| said.starts_with(RELEASE))
    })
}

/// What OpenVPN says of a configuration within a moment; it has no network and no terminal.
fn says(folder: &Path, text: &str) -> String {
    let file = folder.join("c.conf");
    fs::write(&file, text).unwrap();
    let mut child = Command::new("openvpn")
        .arg("--config")
        .arg(&file)
        // Options such as `log` write where it stands.
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A line that no OpenVPN takes ends it before it does anything.
const END: &str = "end-of-the-question\n";

fn is_unknown(folder: &Path, name: &str, parameters: usize) -> bool {
    let line = format!("{name}{}\n{END}", " 1".repeat(parameters));
    let said = says(folder, &line);
    said.contains("Unrecognized option or missing or extra parameter(s)")
        && said.contains("c.conf:1: ")
}

#[test]
fn the_table_of_options_is_openvpns_own() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, least, most) in openvpn::options() {
        // A file of that name is read; and these two end the program in their own way.
        if ["config", "cd"].contains(&name) {
            continue;
        }
        if is_unknown(folder.path(), name, least) {
            wrong.push(format!("{name} with {least}"));
        }
        if least > 0 && name != "replay-window" && !is_unknown(folder.path(), name, least - 1) {
            wrong.push(format!("{name} with {}", least - 1));
        }
        if most < 9 && !is_unknown(folder.path(), name, most + 1) {
            wrong.push(format!("{name} with {}", most + 1));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_is_called_gone_is_refused() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in openvpn::refused_options() {
        let refused = (0..3).all(|count| {
            let line = format!("{name}{}\n{END}", " 1".repeat(count));
            let said = says(folder.path(), &line);
            !said.contains("c.conf:2: ") && !said.contains("Initialization")
        });
        assert!(refused, "{name}");
    }
}

/// OpenVPN's own verdict on the lines of a case: those that it does not even read.
#[test]
fn what_openvpn_cannot_read_is_an_error_here_too() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut seen, mut wrong) = ((0, 0), Vec::new());
    for entry in fs::read_dir(testkit::house("tests/cases/openvpn")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "conf") {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let said = says(folder.path(), &format!("{text}{END}"));
        let last = text.lines().count() + 1;
        // It came to the end, or stopped before.
        let reads = said.contains(&format!("c.conf:{last}: end-of-the-question"));
        let guest = Guest {
            user_pass: true,
            taken_in: true,
            ..Guest::default()
        };
        let is_good = openvpn::text_of(&bytes)
            .is_ok_and(|text| !openvpn::classify(text, &guest).iter().any(|f| f.is_error));
        if is_good && !reads {
            wrong.push(format!("{}: {said}", file.display()));
        }
        match reads {
            true => seen.0 += 1,
            false => seen.1 += 1,
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.0 > 5 && seen.1 > 5, "{seen:?}");
}

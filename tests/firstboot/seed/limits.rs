//! No seed within the limits of size takes more than 64 MiB, nor long: the worst ones of each kind.

use std::fs;
use std::process::Command;
use testkit::{Folder, both, has};

const MUCH: &str = "more than is read of any document (right: 4 MiB at most, and 20000 keys and values, \
                    with those behind each alias)";
const DEEP: &str = "lists and maps inside each other, deeper than anything here";

/// What the first stage says of a seed, in 64 MiB of addresses. A build without optimisation needs some
/// seconds where a release takes one.
fn told(user: &str, network: &str) -> (bool, String) {
    let folder = Folder::new();
    folder.write("seed/meta-data", "instance-id: i\n");
    folder.write(
        "seed/user-data",
        format!("#cloud-config\nhostname: vm42\n{user}"),
    );
    if !network.is_empty() {
        folder.write("seed/network-config", format!("version: 2\n{network}"));
    }
    folder.folders(&["root/etc"]);
    for name in ["user-data", "network-config"] {
        let length = fs::metadata(folder.path("seed").join(name)).map_or(0, |file| file.len());
        assert!(length <= 1 << 20, "{name} has {length} bytes");
    }
    let limits = "ulimit -v 65536 && ulimit -t 10 && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limits]).arg(crate::program());
    command.arg("--root").arg(folder.path("root"));
    command.arg("--seed-dir").arg(folder.path("seed"));
    let output = command.arg("local").output().unwrap();
    let words = both(&output);
    // Neither a signal nor an abort.
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{:?}\n{words:.2000}",
        output.status
    );
    (output.status.success(), words)
}

fn is_refused(user: &str, words: &str) {
    let (done, said) = told(user, "");
    assert!(!done);
    has(&said, words);
}

#[test]
fn bombs_are_refused() {
    let laughs = (1..10).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        let nine = vec![format!("*a{}", n - 1); 9].join(", ");
        format!("{text}a{n}: &a{n} [{nine}]\n")
    });
    is_refused(&laughs, MUCH);
    let times = |text: &str, count: usize| text.repeat(count);
    let long = format!(
        "a: &a '{}'\nb: [{}]\n",
        times("x", 4000),
        times("*a, ", 14_000)
    );
    is_refused(&long, MUCH);
    is_refused(&format!("a: [{}]\n", times("a, ", 340_000)), MUCH);
    is_refused(&format!("a:\n{}", times("- a\n", 260_000)), MUCH);
    is_refused(&times("a: b\n", 200_000), MUCH);
    is_refused(&format!("a: [{}]\n", times("'b', ", 170_000)), MUCH);
    is_refused(&format!("a:\n {}x\n", times("- ", 200_000)), DEEP);
    is_refused(&format!("a: {}\n", times("{a: ", 200_000)), DEEP);
    is_refused(
        &format!("a: {}\n", times("[", 200_000)),
        "this is not YAML: recursion limit exceeded",
    );
}

/// As much of each kind as a document may have, where each is compared with all others.
#[test]
fn the_most_of_everything_is_taken_or_refused() {
    let lines =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGh";
    let key = |n: usize| format!("  - {key}{n:05}f\n");
    for count in [2_000, 10_000] {
        let (done, said) = told(&format!("ssh_authorized_keys:\n{}", lines(count, &key)), "");
        assert!(done, "{said:.2000}");
        has(
            &said,
            &format!("{count} keys in /etc/ssh/authorized_keys.d/root"),
        );
    }
    let address = |n: usize| format!("      - 10.{}.{}.1/24\n", n / 250, n % 250);
    let (done, _) = told(
        "",
        &format!(
            "ethernets:\n  e:\n    addresses:\n{}",
            lines(19_000, &address)
        ),
    );
    assert!(done);
    let port = |n: usize| format!("      - tap{n}\n");
    told(
        "",
        &format!("bridges:\n  b:\n    interfaces:\n{}", lines(19_000, &port)),
    );
    let cards = format!(
        "ethernets:\n{}",
        lines(9_000, &|n| format!("  e{n}: {{}}\n"))
    );
    let (done, said) = told("", &cards);
    assert!(!done);
    has(
        &said,
        "ethernets.e256: is one interface too many: 256 at most",
    );
    let route = |n: usize| {
        format!(
            "      - {{to: 11.0.{}.{}/32, via: 10.0.0.2}}\n",
            n / 250,
            n % 250
        )
    };
    let card = "ethernets:\n  e:\n    addresses: [10.0.0.1/8]\n    routes:\n";
    assert!(told("", &format!("{card}{}", lines(3_900, &route))).0);
    let blocks = format!("a:\n{}", "  - |\n   x\n".repeat(19_000));
    assert!(told(&blocks, "").0);
    assert!(told(&format!("a: [{}]\n", "'b', ".repeat(19_000)), "").0);
    assert!(told(&format!("a: |\n{}  x\n", "\n".repeat(1_000_000)), "").0);
    assert!(told(&format!("a: \"{}\"\n", "\\n".repeat(500_000)), "").0);
}

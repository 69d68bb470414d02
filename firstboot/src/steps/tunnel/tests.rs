use super::*;
use crate::contract::seed;

/// Lines that OpenVPN 2.6.14 was seen to print.
const STARTED: &str = "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\n\
                       library versions: OpenSSL 3.0.22\nDCO version: N/A\n";

fn unit_that(active: &str, restarts: u32) -> Unit {
    Unit {
        active: active.to_owned(),
        restarts,
        status: String::new(),
    }
}

fn of(active: &str, restarts: u32, lines: &str) -> State {
    state(
        &unit_that(active, restarts),
        &format!("{STARTED}{lines}"),
        true,
    )
}

#[test]
fn up_is_what_openvpn_calls_complete_and_nothing_broke_since() {
    let up = "TAP device tap120 opened\nInitialization Sequence Completed\n";
    assert_eq!(of("active", 0, up), State::Up);
    assert_eq!(
        of(
            "active",
            0,
            &format!("{up}WARNING: this configuration may cache passwords\n")
        ),
        State::Up
    );
    let broken = "[server] Inactivity timeout (--ping-restart), restarting\n\
                  SIGUSR1[soft,ping-restart] received, process restarting\nRestart pause, 1 second(s)\n";
    assert_eq!(
        of("active", 0, &format!("{up}{broken}")),
        State::NotYet("[server] Inactivity timeout (--ping-restart), restarting".into())
    );
    assert_eq!(of("active", 0, &format!("{up}{broken}{up}")), State::Up);
    // A server may push what this OpenVPN does not take.
    let pushed = "Options error: option 'x' cannot be used in this context ([PUSH-OPTIONS])\n";
    assert!(matches!(of("active", 0, pushed), State::NotYet(_)));
    // Its log is a file: systemd has its last word.
    let mut unit = unit_that("active", 0);
    unit.status = "Initialization Sequence Completed".into();
    assert_eq!(state(&unit, "", true), State::Up);
}

#[test]
fn what_time_may_mend_is_said_in_openvpns_words() {
    let refused = "AUTH: Received control message: AUTH_FAILED\n\
                   SIGTERM[soft,auth-failure] received, process exiting\n";
    assert_eq!(
        of("activating", 12, refused),
        State::NotYet(
            "OpenVPN ended and was started again 12 times: AUTH: Received control message: \
             AUTH_FAILED"
                .into()
        )
    );
    let unknown = "RESOLVE: Cannot resolve host address: vpn.lab:1194 (Name or service not known)\n\
                   Could not determine IPv4/IPv6 protocol\n\
                   SIGUSR1[soft,Could not determine IPv4/IPv6 protocol] received, process restarting\n";
    assert_eq!(
        of("active", 0, unknown),
        State::NotYet(
            "RESOLVE: Cannot resolve host address: vpn.lab:1194 (Name or service not known)".into()
        )
    );
    let silent = "UDPv4 link local: (not bound)\nUDPv4 link remote: [AF_INET]192.0.2.7:1194\n";
    assert_eq!(
        of("active", 0, silent),
        State::NotYet("UDPv4 link remote: [AF_INET]192.0.2.7:1194".into())
    );
    assert_eq!(
        state(&unit_that("inactive", 0), "", true),
        State::NotYet("its unit is inactive".into())
    );
    // Nobody can say when somebody will call.
    assert_eq!(
        state(&unit_that("active", 0), STARTED, false),
        State::Listens
    );
}

#[test]
fn what_no_time_mends_ends_the_step() {
    for asked in [
        "ERROR: Failed retrieving username or password\nExiting due to fatal error\n",
        "neither stdin nor stderr are a tty device and you have neither a controlling tty nor \
         systemd - can't ask for 'Enter Private Key Password:'.\nExiting due to fatal error\n",
    ] {
        let State::Never(words) = of("activating", 3, asked) else {
            panic!("{asked}")
        };
        let meaning = "it asks for a password, and nobody is there to give one (";
        assert!(words.starts_with(meaning), "{words}");
    }
    assert_eq!(
        of(
            "activating",
            1,
            "Options error: --nobind doesn't make sense unless used with --remote\n\
             Use --help for more information.\n"
        ),
        State::Never("Options error: --nobind doesn't make sense unless used with --remote".into())
    );
    assert_eq!(
        of(
            "failed",
            0,
            "Cipher BF-CBC not supported\nExiting due to fatal error\n"
        ),
        State::Never("Cipher BF-CBC not supported".into())
    );
}

#[test]
fn a_corrected_configuration_is_not_blamed_for_the_one_before() {
    let before = "ERROR: Failed retrieving username or password\nExiting due to fatal error\n";
    let now = "TCP/UDP: Preserving recently used remote address: [AF_INET]192.0.2.7:1194\n";
    assert!(matches!(
        of("active", 0, &format!("{before}{STARTED}{now}")),
        State::NotYet(_)
    ));
}

#[test]
fn systemds_answer_is_read() {
    let text = "ActiveState=activating\nNRestarts=12\nStatusText=a=b\n";
    let unit = parse_unit(text);
    assert_eq!((unit.active.as_str(), unit.restarts), ("activating", 12));
    assert_eq!(unit.status, "a=b");
}

#[test]
fn those_behind_the_bridge_are_asked_and_no_others() {
    let network = "version: 2\nethernets: {eth1: {}}\nbridges:\n  vmbr120:\n    interfaces: [tap120]\n    \
                   addresses: [10.120.0.42/24]\n    routes: [{to: 10.0.0.0/8, via: 10.120.0.1}]\n  \
                   vmbr0:\n    interfaces: [eth1]\n    addresses: [10.0.0.42/24]\n";
    let seed = seed::parse("instance-id: i\n", "#cloud-config\n", Some(network)).unwrap();
    let peers = ["10.120.0.41", "10.120.0.42", "10.0.0.1"].map(|a| a.parse().unwrap());
    let network = seed.network.unwrap();
    let ask = to_ask(&network, &peers);
    let wanted: Vec<IpAddr> = ["10.120.0.1", "10.120.0.41"]
        .map(|a| a.parse().unwrap())
        .to_vec();
    assert_eq!(ask, [("vmbr120", "10.120.0.42".parse().unwrap(), wanted)]);
}

/// What OpenVPN itself says, in a network of its own that has a loopback and nothing else. Says
/// nothing where OpenVPN is not installed or no such network can be made.
#[test]
fn openvpn_itself_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let script = include_str!("../../../../tests/cases/openvpn/tunnel.sh");
    let run = std::process::Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["timeout", "60", "sh", "-e", "-c", script])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .output();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    match run {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(77) => {
            // The script has begun only where there is such a network.
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!folder.path().join("begun").exists(), "{said}");
            return;
        }
        _ => return,
    }
    let state = |name: &str, active: &str| state(&unit_that(active, 0), &read(name), true);
    assert_eq!(state("up", "active"), State::Up);
    assert_eq!(
        state("broken", "active"),
        State::NotYet("Connection reset, restarting [0]".into())
    );
    let State::NotYet(words) = state("refused", "active") else {
        panic!("{}", read("refused"))
    };
    assert!(words.contains("Connection refused"), "{words}");
    let State::NotYet(words) = state("nameless", "active") else {
        panic!("{}", read("nameless"))
    };
    assert!(words.contains("Cannot resolve host address"), "{words}");
    for (name, begin) in [
        (
            "asks",
            "it asks for a password, and nobody is there to give one (",
        ),
        ("option", "Options error: "),
        ("cipher", "Cipher CAST5-CBC not supported"),
    ] {
        let State::Never(words) = state(name, "activating") else {
            panic!("{name}: {}", read(name))
        };
        assert!(words.starts_with(begin), "{words}");
    }
}

//! The step `openvpn` over several seeds.

use super::{begin, cases, firstboot, outcome, text};
use std::fs;
use testkit::has;

#[test]
fn an_openvpn_instance_goes_with_the_seed_that_brought_it() {
    let case = cases().join("fresh-clone");
    let folder = begin(&case);
    firstboot(folder.path(), &case.join("seed"), "local");
    let conf = folder.path().join("etc/openvpn/vpn-interco.conf");
    let link = "etc/systemd/system/multi-user.target.wants/openvpn@vpn-interco.service";
    let link = folder.path().join(link);
    assert!(conf.exists() && link.is_symlink());
    let by_hand = folder.path().join("etc/openvpn/by-hand.conf");
    fs::write(&by_hand, "client\n").unwrap();

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("meta-data"), "instance-id: other\n").unwrap();
    fs::write(other.path().join("user-data"), "#cloud-config\n").unwrap();
    let output = firstboot(folder.path(), other.path(), "local");
    assert!(output.status.success(), "{}", text(&output));
    let words = outcome(folder.path());
    has(&words, "openvpn changed removed vpn-interco\n");
    assert!(!conf.exists() && !link.is_symlink());
    assert!(by_hand.exists());
    assert!(!folder.path().join("var/lib/firstboot/openvpn").exists());

    // Cut between the two removals.
    firstboot(folder.path(), &case.join("seed"), "local");
    fs::remove_file(&link).unwrap();
    firstboot(folder.path(), other.path(), "local");
    assert!(!conf.exists());
}

#[test]
fn user_and_password_lie_beside_the_configuration_and_go_with_it() {
    let case = cases().join("fresh-clone");
    let folder = begin(&case);
    let seed = tempfile::tempdir().unwrap();
    let write = |instance: &str, openvpn: &str| {
        let meta = format!("instance-id: {instance}\n");
        fs::write(seed.path().join("meta-data"), meta).unwrap();
        let user = format!("#cloud-config\nhostname: vm42\n{openvpn}");
        fs::write(seed.path().join("user-data"), user).unwrap();
    };
    let config = "client\\ndev tap0\\nauth-user-pass\\n";
    let login = "user_pass: \"vm42\\nhunter2\", shared: true";
    write(
        "a",
        &format!("openvpn: {{vpn: {{config: \"{config}\", {login}}}}}\n"),
    );
    let output = firstboot(folder.path(), seed.path(), "local");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("hunter2"));
    let read = |name: &str| fs::read_to_string(folder.path().join("etc/openvpn").join(name));
    assert_eq!(
        read("vpn.conf").unwrap(),
        "client\ndev tap0\nauth-user-pass /etc/openvpn/vpn.auth\n"
    );
    assert_eq!(read("vpn.auth").unwrap(), "vm42\nhunter2\n");
    let mode = fs::metadata(folder.path().join("etc/openvpn/vpn.auth")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);

    write("b", "openvpn: {vpn: \"client\\n\"}\n");
    assert!(
        firstboot(folder.path(), seed.path(), "local")
            .status
            .success()
    );
    assert_eq!(read("vpn.conf").unwrap(), "client\n");
    assert!(read("vpn.auth").is_err());

    write(
        "c",
        &format!("openvpn: {{vpn: {{config: \"{config}\", {login}}}}}\n"),
    );
    assert!(
        firstboot(folder.path(), seed.path(), "local")
            .status
            .success()
    );
    write("d", "");
    assert!(
        firstboot(folder.path(), seed.path(), "local")
            .status
            .success()
    );
    assert!(read("vpn.conf").is_err() && read("vpn.auth").is_err());
    let drop_in = "etc/systemd/system/openvpn@vpn.service.d/firstboot.conf";
    assert!(!folder.path().join(drop_in).exists());
}

//! Labs with clusters, for unit tests.

use super::Lab;

const FINGERPRINT: &str = "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
                           AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

/// A lab whose VMs have these clusters: name of the VM, peers, more keys.
pub(crate) fn lab(vms: &[(&str, &[&str], &str)]) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let mut text = "domain: example.org\nvms:\n".to_owned();
    for (name, peers, more) in vms {
        let peers: Vec<String> = peers
            .iter()
            .map(|peer| format!("{{address: {peer}, fingerprint: \"{FINGERPRINT}\"}}"))
            .collect();
        let peers = peers.join(", ");
        text.push_str(&format!(
            "- name: {name}\n  cluster: {{peers: [{peers}], password_file: password{more}}}\n"
        ));
    }
    let file = folder.path().join("lab.yaml");
    std::fs::write(&file, text).unwrap();
    Lab::load(&file).unwrap()
}

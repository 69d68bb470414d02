//! The members of a cluster that may be asked: `peers` of lab.yaml.

use super::folder::Folder;
use super::values;
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, Spanned, validators};
use crate::system::given;
use firstboot::contract::seed::Peer;
use firstboot::contract::values::Fingerprint;
use std::path::Path;

pub(super) const PEERS: (&str, &str) = (
    "peers",
    "peers: a list of {address, fingerprint}, the members that may be asked",
);
const KEYS: Keys = &[
    (
        "address",
        "address: an IP address or a name that the VM can resolve",
    ),
    (
        "fingerprint",
        "fingerprint: what the peer prints for: openssl x509 -noout -fingerprint -sha256 \
         -in /etc/pve/local/pve-ssl.pem (32 pairs of hex digits with colons), or a list of them",
    ),
    (
        "fingerprint_file",
        "fingerprint_file: a file with what openssl prints for the peer's certificate, one per \
         line, in the place of `fingerprint`",
    ),
];

/// Reads `peers`.
pub(super) fn read(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Vec<Spanned<Peer>> {
    let Some(list) = f.get(PEERS.0) else {
        return Vec::new();
    };
    let nodes = r.list(list, PEERS.1);
    if nodes.is_empty() && matches!(list.kind, Kind::List(_)) {
        r.problem(list.place, "a cluster without a peer", PEERS.1);
    }
    let peer = |r: &mut Reader, node: &Node| read_peer(r, node, folder);
    let same = |one: &Peer, other: &Peer| one.address == other.address;
    r.each_once(nodes, peer, same, |peer| {
        let what = format!("the peer {} is listed", peer.address);
        (what, "each peer once")
    })
}

fn read_peer(r: &mut Reader, node: &Node, folder: &Folder) -> Option<Spanned<Peer>> {
    let f = r.fields(node, "a peer", PEERS.1, KEYS);
    r.require(&f, "address");
    if !f.accounted("fingerprint_file") {
        r.require(&f, "fingerprint");
    }
    let address = r.field(&f, "address", |text| {
        let host = validators::host(text)?.of_another();
        host.map_err(|error| format!("`{}` {}", validators::display_safe(text), error.message()))
    });
    let fingerprints = match (f.get("fingerprint"), f.get("fingerprint_file")) {
        (Some(_), Some(file)) => {
            let message = "a peer with both `fingerprint` and `fingerprint_file`";
            r.problem(file.place, message, "one of the two");
            Vec::new()
        }
        (Some(node), None) => written(r, &f, node),
        (None, _) => of_a_file(r, &f, folder),
    };
    let address = address?;
    (!fingerprints.is_empty()).then_some(Spanned {
        place: address.place,
        value: Peer {
            address: address.value,
            fingerprints,
        },
    })
}

/// One fingerprint, or a list of them: a peer has two while its certificate is renewed.
fn written(r: &mut Reader, f: &Fields<'_>, node: &Node) -> Vec<Fingerprint> {
    let hint = f.hint("fingerprint");
    let found = match &node.kind {
        Kind::List(nodes) => {
            if nodes.is_empty() {
                r.problem(node.place, "a peer without a fingerprint", hint);
            }
            r.field_list(f, "fingerprint", values::fingerprint)
        }
        _ => r
            .formed(node, hint, values::fingerprint)
            .into_iter()
            .collect(),
    };
    found.into_iter().map(|found| found.value).collect()
}

fn of_a_file(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Vec<Fingerprint> {
    let key = "fingerprint_file";
    let Some(file) = r.field(f, key, file_name) else {
        return Vec::new();
    };
    let (shown, path) = folder.path(&file.value);
    match fingerprints(&path, &shown) {
        Ok(found) => found,
        Err(message) => {
            r.problem(file.place, message, f.hint(key));
            Vec::new()
        }
    }
}

/// A peer is the same for all VMs.
fn file_name(text: &str) -> Result<String, String> {
    match text.contains("{name}") {
        true => Err("{name} has no meaning here: a peer is the same for all VMs".to_owned()),
        false => values::path(text),
    }
}

/// The fingerprints in a file.
fn fingerprints(path: &Path, shown: &Path) -> Result<Vec<Fingerprint>, String> {
    let shown = shown.display();
    let text = given::read_text(path, given::SMALL);
    let text = text.map_err(|error| format!("cannot read {shown}: {error}"))?;
    values::lines(&text, &shown, "fingerprint", values::fingerprint)
}

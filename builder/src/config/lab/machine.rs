//! One VM: its own keys, the defaults, and what is derived.

use super::cluster::{ClusterOverride, WithOverride};
use super::folder::Folder;
use super::links::Addresses;
use super::model::{ClusterJoin, JoinWith, Vm};
use super::network::{self, Networks};
use super::openvpn::{self, OpenVpn, OpenVpnOverride};
use super::settings::{self, Settings};
use super::{secrets, values};
use crate::config::yaml::{Fields, Keys, Node, Place, Reader, Spanned, joined, validators};
use firstboot::contract::seed::{Ha, Peer};
use firstboot::contract::values::{HostName, Mac, Network};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

const KEYS: Keys = &joined::<18>(
    &[
        (
            "name",
            "name: a host name, lower-case letters, digits and hyphens, such as vm42",
        ),
        (
            "host",
            "host: the name of the PC that it runs on, such as pc-07",
        ),
        (
            "address",
            "address: an address inside the range of `network`",
        ),
        (
            "vmbr120",
            "vmbr120: an address inside the range of `vmbr120`, or none",
        ),
        ("mac", "mac: such as 52:54:00:12:34:56"),
    ],
    &settings::SETTINGS,
);

/// A VM and the places that the checks across VMs point at. What was noted as a problem is
/// `None` here.
#[derive(Debug)]
pub(super) struct ParsedVm {
    /// The place of its name.
    pub place: Place,
    pub address: Option<Spanned<Ipv4Addr>>,
    pub vmbr120: Option<Spanned<Ipv4Addr>>,
    pub mac: Option<Spanned<Mac>>,
    /// What identifies it to the OpenVPN server.
    pub identity: Option<Spanned<String>>,
    pub peers: Vec<Spanned<Peer>>,
    /// Where its links are written, by their numbers.
    pub links: BTreeMap<u8, Place>,
    /// What its files say that deserves a look.
    pub warnings: Vec<String>,
    /// Complete only where no problem was noted.
    pub vm: Vm,
}

/// Reads one entry of `vms`; `None` for one whose name was noted as a problem.
pub(super) fn read(
    r: &mut Reader,
    node: &Node,
    defaults: &Settings,
    networks: &Networks,
    folder: &Folder,
) -> Option<ParsedVm> {
    let f = r.fields(
        node,
        "a VM",
        "`- name: vm42`, and what is not as in `defaults`",
        KEYS,
    );
    r.require(&f, "name");
    let name = r.field(&f, "name", values::vm_name);
    let own = Settings::read(r, &f, folder);
    let own_ha = own.ha.part().is_some();
    let settings = own.over(defaults);
    let address = read_address(r, &f, name.as_ref(), networks);
    let vmbr120 = read_vmbr120(r, &f, name.as_ref(), networks);
    let mac = match (r.field(&f, "mac", validators::value), &name) {
        (None, Some(name)) if !f.accounted("mac") => Some(Spanned {
            place: name.place,
            value: values::derived_mac(&name.value),
        }),
        (mac, _) => mac,
    };
    let host = r.field(&f, "host", validators::host_name);
    let files = Files {
        name: name.as_ref().map(|name| name.value.as_str()),
        folder,
    };
    let mut warnings = Vec::new();
    let has_bridge = !f.get("vmbr120").is_some_and(settings::is_none) && networks.vmbr120.is_some();
    let (openvpn, identity) = match settings.openvpn.part() {
        Some(given) => files.openvpn(r, given, has_bridge, &mut warnings),
        None => (None, None),
    };
    let joined = settings.cluster.part();
    let own = Addresses {
        address: address.as_ref().map(|a| a.value),
        vmbr120: vmbr120.as_ref().map(|a| a.value),
    };
    let cluster = joined.and_then(|given| files.cluster(r, given, &own));
    let peers = joined.map_or_else(Vec::new, |given| given.peers.clone());
    let links = joined.map_or_else(BTreeMap::new, ClusterOverride::link_places);
    if let (true, None, Some(node)) = (own_ha, joined, f.get("ha")) {
        let hint = "`cluster`, or no `ha` for this VM";
        r.problem(node.place, "`ha` of a VM that joins no cluster", hint);
    }
    let root_password_file = settings.root_password_file.as_ref();
    let root_password_file = root_password_file.and_then(|file| files.password_file(r, file));
    let Spanned { place, value: name } = name?;
    let mac_or_derived = mac
        .as_ref()
        .map_or_else(|| values::derived_mac(&name), |m| m.value.clone());
    let vm = Vm {
        name,
        host: host.map(|h| h.value),
        memory_mib: settings.memory_mib.unwrap_or(2048),
        cores: settings.cores.unwrap_or(2),
        disk: settings.disk.unwrap_or(32 * validators::GIB),
        mac: mac_or_derived,
        address: address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |a| a.value),
        vmbr120: vmbr120.as_ref().map(|a| a.value),
        openvpn,
        ssh_keys: settings.ssh_keys.unwrap_or_default(),
        root_password_file,
        ssh_password: settings.ssh_password.unwrap_or(false),
        timezone: settings.timezone,
        ntp: settings.ntp.unwrap_or_default(),
        cluster,
        storage: settings.storage.part().cloned().unwrap_or_default(),
        // A default serves those that join; HA knows no others.
        ha: match settings.ha.part() {
            Some(given) if joined.is_some() => given.clone().ha(),
            _ => Ha::default(),
        },
    };
    Some(ParsedVm {
        place,
        address,
        vmbr120,
        mac,
        identity,
        peers,
        links,
        warnings,
        vm,
    })
}

fn read_address(
    r: &mut Reader,
    f: &Fields<'_>,
    name: Option<&Spanned<HostName>>,
    networks: &Networks,
) -> Option<Spanned<Ipv4Addr>> {
    let range = networks.nat.as_ref().map(|nat| nat.range);
    let address = given_or_derived(r, f, "address", name, range)?;
    let gateway = networks.nat.as_ref().map(|nat| nat.gateway);
    if gateway == Some(address.value) {
        let message = format!("{} is the gateway's own address", address.value);
        let hint = "another address, given with `address:` or derived from another number";
        r.problem(address.place, message, hint);
        return None;
    }
    Some(address)
}

fn read_vmbr120(
    r: &mut Reader,
    f: &Fields<'_>,
    name: Option<&Spanned<HostName>>,
    networks: &Networks,
) -> Option<Spanned<Ipv4Addr>> {
    let node = f.get("vmbr120");
    if node.is_some_and(settings::is_none) {
        return None;
    }
    match (networks.vmbr120, node) {
        (Some(range), _) => given_or_derived(r, f, "vmbr120", name, range),
        (None, None) => None,
        (None, Some(node)) => {
            let message = "an address on vmbr120, but the lab has no such network";
            let hint = "a section `vmbr120: {range: 10.120.0.0/24}` beside `vms`";
            r.problem(node.place, message, hint);
            None
        }
    }
}

/// The address of a key, else the one with the VM's number. Without a known range an address
/// is only read.
fn given_or_derived(
    r: &mut Reader,
    f: &Fields<'_>,
    key: &str,
    name: Option<&Spanned<HostName>>,
    range: Option<Network>,
) -> Option<Spanned<Ipv4Addr>> {
    if f.accounted(key) {
        let given = r.field(f, key, network::address)?;
        if let Some(Err(message)) = range.map(|range| range.classify(given.value)) {
            r.problem(given.place, message, f.hint(key));
            return None;
        }
        return Some(given);
    }
    let (name, range) = (name?, range?);
    let Some(number) = values::number_of(&name.value) else {
        let message = format!(
            "`{}` does not end with a number, so its `{key}` cannot be derived",
            name.value
        );
        let hint = format!(
            "a name such as {}1, or `{key}:` with an address in {range}",
            name.value
        );
        r.problem(name.place, message, hint);
        return None;
    };
    match range.nth(number) {
        Some(value) => Some(Spanned {
            place: name.place,
            value,
        }),
        None => {
            let message = format!(
                "`{}` has a number that gives no address in {range} for its `{key}`",
                name.value
            );
            let hint = format!("a smaller number, or `{key}:` with an address in {range}");
            r.problem(name.place, message, hint);
            None
        }
    }
}

/// The secret files of one VM; they are looked at only when its name is known.
struct Files<'a> {
    name: Option<&'a str>,
    folder: &'a Folder<'a>,
}

impl Files<'_> {
    /// Whether somebody needs none of them.
    fn ignored(&self) -> bool {
        let folder = self.name.map(|name| self.folder.absolute.join(name));
        folder.is_some_and(|folder| !(self.folder.secrets_wanted)(&folder))
    }

    /// A path for messages and the absolute one, `{name}` replaced.
    fn path(&self, file: &Spanned<String>) -> Option<(PathBuf, PathBuf)> {
        let name = self.name?;
        Some(self.folder.path(&file.value.replace("{name}", name)))
    }

    fn password_file(&self, r: &mut Reader, file: &Spanned<String>) -> Option<PathBuf> {
        let (shown, path) = self.path(file)?;
        if self.ignored() {
            return Some(path);
        }
        if let Err(refusal) = secrets::read_password(&path, &shown) {
            r.problem(file.place, refusal.message, refusal.hint);
        }
        Some(path)
    }

    fn openvpn(
        &self,
        r: &mut Reader,
        given: &OpenVpnOverride,
        has_bridge: bool,
        warnings: &mut Vec<String>,
    ) -> (Option<OpenVpn>, Option<Spanned<String>>) {
        given.require(r);
        let Some(file) = &given.config else {
            return (None, None);
        };
        let Some((shown, config)) = self.path(file) else {
            return (None, None);
        };
        let login = given.user_pass_file.as_ref();
        let login = login.and_then(|key| Some((key, self.path(key)?)));
        let instance = given.instance.clone();
        let openvpn = OpenVpn {
            instance: instance.unwrap_or_default(),
            config,
            inline: given.inline.unwrap_or(false),
            user_pass_file: login.as_ref().map(|(_, (_, path))| path.clone()),
            shared: given.shared.unwrap_or(false),
        };
        if self.ignored() {
            return (Some(openvpn), None);
        }
        let login = login
            .as_ref()
            .map(|(key, (shown, _))| (*key, shown.as_path()));
        let read = openvpn::check(r, &openvpn, &shown, file.place, login, has_bridge);
        let Some(read) = read else {
            return (Some(openvpn), None);
        };
        warnings.extend(read.warnings.iter().map(|w| {
            let (line, message, hint) = (w.place.line, &w.message, &w.hint);
            format!("{}:{line}: {message}\n  right: {hint}", shown.display())
        }));
        let identity = Spanned {
            place: file.place,
            value: read.identity,
        };
        (Some(openvpn), Some(identity))
    }

    fn cluster(
        &self,
        r: &mut Reader,
        given: &ClusterOverride,
        own: &Addresses,
    ) -> Option<ClusterJoin> {
        given.require(r);
        let links = given.links(r, own);
        let with = match given.with.as_ref()? {
            WithOverride::Ticket => JoinWith::Ticket,
            WithOverride::PasswordFile(file) => {
                JoinWith::PasswordFile(self.password_file(r, file)?)
            }
        };
        Some(given.join(r, with, links))
    }
}

//! One VM: what its entry says, and what is derived.

use super::cluster::{ClusterOverride, WithOverride};
use super::entry::{Around, Each, Written};
use super::folder::Folder;
use super::links::Addresses;
use super::model::{ClusterJoin, JoinWith, State, Vm};
use super::openvpn::{self, OpenVpn, OpenVpnOverride};
use super::values;
use crate::config::yaml::{Node, Place, Reader, Spanned, validators};
use firstboot::contract::seed::{Ha, Peer};
use firstboot::contract::values::{HostName, Mac, Network};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A VM and the places that the checks across VMs point at. What was noted as a problem is
/// `None` here.
#[derive(Debug)]
pub(super) struct ParsedVm {
    /// The place of its name.
    pub place: Place,
    /// The place of its PC's name, where that PC is known.
    pub host: Option<Place>,
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

/// Reads one entry of `vms`: the VM or VMs in it whose name is no problem.
pub(super) fn read(r: &mut Reader, node: &Node, around: &Around<'_>) -> Vec<ParsedVm> {
    let written = Written::read(r, node, around);
    let vms = (0..written.count()).filter_map(|index| one(r, &written, index, around));
    vms.collect()
}

/// The VM in this place of an entry.
fn one(
    r: &mut Reader,
    written: &Written<'_>,
    index: usize,
    around: &Around<'_>,
) -> Option<ParsedVm> {
    let settings = &written.settings;
    let name = written.name.as_ref().and_then(|name| {
        let (place, value) = (name.place, name.value.at(index)?);
        Some(Spanned { place, value })
    });
    let said = Said {
        written,
        index,
        name: name.as_ref(),
    };
    let address = said.address(r, around);
    let vmbr120 = match around.networks.vmbr120 {
        Some(range) if written.on_vmbr120 => {
            said.given_or_derived(r, &written.vmbr120, "vmbr120", range)
        }
        _ => None,
    };
    let mac = match (&written.mac, written.mac.at(index), &name) {
        (Each::Unsaid, _, Some(name)) => Some(Spanned {
            place: name.place,
            value: values::derived_mac(name.value),
        }),
        (_, mac, _) => mac.map(|mac| Spanned {
            place: mac.place,
            value: mac.value.clone(),
        }),
    };
    let host = written.host.at(index);
    let pc = host.as_ref().and_then(|host| around.rooms.resolve(r, host));
    let files = Files {
        name: name.as_ref().map(|name| name.value.as_str()),
        is_absent: written.state == State::Absent,
        folder: around.folder,
    };
    let mut warnings = Vec::new();
    let (openvpn, identity) = match settings.openvpn.part() {
        Some(given) => files.openvpn(r, given, written.on_vmbr120, &mut warnings),
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
    let root_password_file = settings.root_password_file.as_ref();
    let root_password_file = root_password_file.and_then(|file| files.password_file(r, file));
    let Spanned { place, value: name } = name?;
    let mac_or_derived = mac
        .as_ref()
        .map_or_else(|| values::derived_mac(name), |m| m.value.clone());
    let vm = Vm {
        name: name.clone(),
        host: pc,
        state: written.state,
        memory_mib: settings.memory_mib.unwrap_or(2048),
        cores: settings.cores.unwrap_or(2),
        disk: settings.disk.unwrap_or(32 * validators::GIB),
        mac: mac_or_derived,
        address: address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |a| a.value),
        vmbr120: vmbr120.as_ref().map(|a| a.value),
        openvpn,
        ssh_keys: settings.ssh_keys.clone().unwrap_or_default(),
        root_password_file,
        ssh_password: settings.ssh_password.unwrap_or(false),
        timezone: settings.timezone.clone(),
        ntp: settings.ntp.clone().unwrap_or_default(),
        cluster,
        storage: settings.storage.part().cloned().unwrap_or_default(),
        // A default serves those that join; HA knows no others.
        ha: match settings.ha.part() {
            Some(given) if joined.is_some() => given.clone().ha(),
            _ => Ha::default(),
        },
    };
    let known = vm.host.is_some() || matches!(written.host, Each::Unsaid);
    Some(ParsedVm {
        place,
        host: host.filter(|_| vm.host.is_some()).map(|host| host.place),
        // Which VMs share a PC that is not known, nobody can tell.
        address: address.filter(|_| known),
        vmbr120,
        mac,
        identity,
        peers,
        links,
        warnings,
        vm,
    })
}

/// What an entry says of one of its VMs.
struct Said<'a> {
    written: &'a Written<'a>,
    index: usize,
    name: Option<&'a Spanned<&'a HostName>>,
}

impl Said<'_> {
    fn address(&self, r: &mut Reader, around: &Around<'_>) -> Option<Spanned<Ipv4Addr>> {
        let nat = around.networks.nat.as_ref();
        let given = &self.written.address;
        let address = self.given_or_derived(r, given, "address", nat.map(|nat| nat.range))?;
        if nat.is_some_and(|nat| nat.gateway == address.value) {
            let message = format!("{} is the gateway's own address", address.value);
            let hint = "another address, given with `address:` or derived from another number";
            r.problem(address.place, message, hint);
            return None;
        }
        Some(address)
    }

    /// The address of a key, else the one with the VM's number. Without a known range an address
    /// is only read.
    fn given_or_derived(
        &self,
        r: &mut Reader,
        given: &Each<Ipv4Addr>,
        key: &str,
        range: Option<Network>,
    ) -> Option<Spanned<Ipv4Addr>> {
        if !matches!(given, Each::Unsaid) {
            let Spanned { place, value } = given.at(self.index)?;
            if let Some(Err(message)) = range.map(|range| range.classify(*value)) {
                r.problem(place, message, self.written.hint(key));
                return None;
            }
            let value = *value;
            return Some(Spanned { place, value });
        }
        let (Spanned { place, value: name }, range) = (self.name?, range?);
        let Some(number) = values::number_of(name) else {
            if self.written.is_told(self.index) {
                return None;
            }
            let message =
                format!("`{name}` does not end with a number, so its `{key}` cannot be derived");
            let hint = format!("a name such as {name}1, or `{key}:` with an address in {range}");
            r.problem(*place, message, hint);
            return None;
        };
        let address = range.nth(number);
        if address.is_none() {
            let message =
                format!("`{name}` has a number that gives no address in {range} for its `{key}`");
            let hint = format!("a smaller number, or `{key}:` with an address in {range}");
            r.problem(*place, message, hint);
        }
        let place = *place;
        address.map(|value| Spanned { place, value })
    }
}

/// The secret files of one VM; they are looked at only when its name is known.
struct Files<'a> {
    name: Option<&'a str>,
    /// An absent VM gets no seed.
    is_absent: bool,
    folder: &'a Folder<'a>,
}

impl Files<'_> {
    /// Whether somebody needs none of them.
    fn ignored(&self) -> bool {
        if self.is_absent {
            return true;
        }
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
        if let Err(refusal) = self.folder.check_password(&path, &shown) {
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

//! An entry of `vms` as it is written: one VM, or a range of them, whose keys may be ranges of the
//! same length.

use super::folder::Folder;
use super::hosts::Rooms;
use super::model::State;
use super::network::{self, Networks};
use super::range::{Ranged, ranged};
use super::settings::{self, Settings};
use super::values;
use crate::config::yaml::{Fields, Keys, Node, Reader, Spanned, joined, validators};
use firstboot::contract::values::{HostName, Mac};
use std::net::Ipv4Addr;

const KEYS: Keys = &joined::<19>(
    &[
        (
            "name",
            "name: a host name, lower-case letters, digits and hyphens, such as vm42",
        ),
        (
            "host",
            "host: the name of the PC that it runs on, such as pc-07",
        ),
        ("state", "state: started, stopped or absent"),
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

/// What the entries of `vms` are read with.
pub(super) struct Around<'a> {
    pub defaults: &'a Settings,
    pub networks: &'a Networks,
    pub rooms: &'a Rooms,
    pub folder: &'a Folder<'a>,
}

/// One entry.
pub(super) struct Written<'a> {
    f: Fields<'a>,
    /// `None` for one that was noted as a problem; nothing is derived from it then.
    pub name: Option<Spanned<Ranged<HostName>>>,
    pub host: Each<HostName>,
    pub state: State,
    pub address: Each<Ipv4Addr>,
    pub vmbr120: Each<Ipv4Addr>,
    /// Whether the VMs are on the lab's vmbr120, where there is one.
    pub on_vmbr120: bool,
    pub mac: Each<Mac>,
    /// With the defaults.
    pub settings: Settings,
}

/// What an entry says of a key of which each VM may have a value of its own.
pub(super) enum Each<T> {
    Unsaid,
    /// A problem was noted.
    Wrong,
    Said(Spanned<Ranged<T>>),
}

impl<T> Each<T> {
    /// What it says of the VM in this place of a range.
    pub(super) fn at(&self, index: usize) -> Option<Spanned<&T>> {
        let Each::Said(Spanned { place, value }) = self else {
            return None;
        };
        let (place, value) = (*place, value.at(index)?);
        Some(Spanned { place, value })
    }

    /// Notes one value that would be that of every VM of a range; `what` it is.
    fn not_shared(self, r: &mut Reader, count: Option<usize>, what: &str, hint: &str) -> Self {
        match (&self, count) {
            (Each::Said(Spanned { place, value }), Some(2..)) if value.length().is_none() => {
                let count = count.unwrap_or_default();
                r.problem(*place, format!("one {what} for {count} VMs"), hint);
                Each::Wrong
            }
            _ => self,
        }
    }
}

impl<'a> Written<'a> {
    /// Reads one entry.
    pub(super) fn read(r: &mut Reader, node: &'a Node, around: &Around<'_>) -> Self {
        let f = r.fields(
            node,
            "a VM",
            "`- name: vm42`, and what is not as in `defaults`",
            KEYS,
        );
        r.require(&f, "name");
        let name = r.field(&f, "name", |t| ranged(t, values::vm_name));
        let own = Settings::read(r, &f, around.folder);
        let own_ha = own.ha.part().is_some();
        let settings = own.over(around.defaults);
        if let (true, None, Some(node)) = (own_ha, settings.cluster.part(), f.get("ha")) {
            let hint = "`cluster`, or no `ha` for this VM";
            r.problem(node.place, "`ha` of a VM that joins no cluster", hint);
        }
        let state = r.field(&f, "state", state);
        let host = each(r, &f, "host", name.as_ref(), validators::host_name);
        let address = each(r, &f, "address", name.as_ref(), network::address);
        let mac = each(r, &f, "mac", name.as_ref(), validators::value);
        let count = name.as_ref().and_then(|name| name.value.length());
        let hint = "a range of as many, such as 52:54:00:12:34:[10:39]; without `mac` it is derived \
                    from each name";
        let mac = mac.not_shared(r, count, "MAC address", hint);
        let none = f.get("vmbr120").is_some_and(settings::is_none);
        let vmbr120 = match (around.networks.vmbr120, f.get("vmbr120")) {
            (_, _) if none => Each::Unsaid,
            (None, Some(node)) => {
                let message = "an address on vmbr120, but the lab has no such network";
                let hint = "a section `vmbr120: {range: 10.120.0.0/24}` beside `vms`";
                r.problem(node.place, message, hint);
                Each::Wrong
            }
            _ => {
                let hint = "a range of as many, such as 10.120.0.[101:130]; without `vmbr120` it \
                            is derived from each name";
                each(r, &f, "vmbr120", name.as_ref(), network::address).not_shared(
                    r,
                    count,
                    "address on vmbr120",
                    hint,
                )
            }
        };
        Written {
            name,
            host,
            state: state.map_or(State::default(), |state| state.value),
            address,
            vmbr120,
            on_vmbr120: !none && around.networks.vmbr120.is_some(),
            mac,
            settings,
            f,
        }
    }

    /// What would be right for a key.
    pub(super) fn hint(&self, key: &str) -> &'static str {
        self.f.hint(key)
    }

    /// Whether the addresses of the VM in this place cannot be derived, as those of the one before
    /// it: that was told then.
    pub(super) fn is_told(&self, index: usize) -> bool {
        let name = |index| self.name.as_ref().and_then(|name| name.value.at(index));
        index > 0 && name(index - 1).is_some_and(|name| values::number_of(name).is_none())
    }

    /// How many VMs it is.
    pub(super) fn count(&self) -> usize {
        let length = |name: &Spanned<Ranged<HostName>>| name.value.length();
        self.name.as_ref().and_then(length).unwrap_or(1)
    }
}

/// Reads a key whose value may be a range; it is then as long as that of `name`.
fn each<T>(
    r: &mut Reader,
    f: &Fields<'_>,
    key: &str,
    name: Option<&Spanned<Ranged<HostName>>>,
    form: impl Fn(&str) -> Result<T, String>,
) -> Each<T> {
    let Some(said) = r.field(f, key, |t| ranged(t, form)) else {
        return match f.accounted(key) {
            true => Each::Wrong,
            false => Each::Unsaid,
        };
    };
    let (Some(length), Some(name)) = (said.value.length(), name) else {
        return Each::Said(said);
    };
    let names = match name.value.length() {
        Some(names) if names == length => return Each::Said(said),
        Some(names) => format!("one of {names}"),
        None => "one name".to_owned(),
    };
    let message = format!("`{key}` is a range of {length}, and `name` is {names}");
    let hint = "ranges of one length: each VM takes the value in its own place";
    r.problem(said.place, message, hint);
    Each::Wrong
}

fn state(text: &str) -> Result<State, String> {
    let all = [State::Started, State::Stopped, State::Absent];
    let found = all.into_iter().find(|state| state.word() == text);
    found.ok_or_else(|| format!("`{}` is no state of a VM", validators::display_safe(text)))
}

//! What removes a node from its cluster: the commands, in order, for the one who types them.
//!
//! Proxmox VE's manual, "Remove a Cluster Node", and what `pvecm delnode` was seen to print.

use crate::config::lab::{Lab, Vm};
use crate::system::text::wrapped;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// What it makes true.
    pub what: String,
    /// To be typed as root on a stable member of the cluster.
    pub commands: Vec<String>,
    /// What is to be seen, for a human.
    pub notes: Vec<String>,
    /// What to type where it is not; words in capitals stand for others.
    pub remedies: Vec<String>,
}

fn step(what: &str, commands: &[&str], notes: &[&str], remedies: &[&str]) -> Step {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Step {
        what: what.to_owned(),
        commands: owned(commands),
        notes: owned(notes),
        remedies: owned(remedies),
    }
}

/// The steps for one VM.
pub(super) fn steps(vm: &Vm) -> Vec<Step> {
    let name = &vm.name;
    let folder = format!("/etc/pve/nodes/{name}");
    let elsewhere = match &vm.host {
        Some(host) => format!("If its disk is on {host} and not here"),
        None => "If its disk is on another PC than this folder".to_owned(),
    };
    vec![
        step(
            &format!("{name} is off, and stays off"),
            &[&format!("grep '\"{name}\"' /etc/pve/.members")],
            &[
                "It must show \"online\": 0, or nothing. Else: poweroff in the VM.",
                &format!(
                    "{elsewhere}: copy {name}/retired and {name}/seed.img into the folder \
                     {name} there, or remove that folder."
                ),
            ],
            &[],
        ),
        step(
            "no guest is left on it",
            &[
                &format!("ls {folder}/qemu-server {folder}/lxc"),
                &format!("grep -nsw {name} /etc/pve/replication.cfg"),
            ],
            &[
                "Each file is the configuration of a virtual machine or container, and step 4 \
                 would destroy it. What HA manages moves by itself. A disk that is only on this \
                 node is lost with it. Move any other guest, such as container 100 to the node \
                 OTHER. Each line that the second command shows is of a replication job, which \
                 nobody can remove any more once the node is gone. The job's number, such as 100-0, \
                 is in the first line of its paragraph.",
            ],
            &[
                &format!("mv {folder}/lxc/100.conf /etc/pve/nodes/OTHER/lxc/"),
                "pvesr delete 100-0",
            ],
        ),
        step(
            &format!("{name} is no member"),
            &[
                "pvecm status",
                &format!("pvecm delnode {name}"),
                "pvecm nodes",
            ],
            &[
                &format!(
                    "The first must say \"Quorate: Yes\", and no \"Qdevice\": take that out first, \
                     with pvecm qdevice remove. The last must not show {name} any more."
                ),
                "\"Could not kill node (error = CS_ERR_NOT_EXIST)\" is normal for a node that is \
                 off.",
                &format!(
                    "\"{name} is not a known host of the cluster\": it never joined, or was \
                     removed before. Go on."
                ),
            ],
            &[],
        ),
        step(
            "its folder is gone, and its key",
            &[
                &format!("rm -r {folder}"),
                &format!("sed -i '/ root@{name}$/d' /etc/pve/priv/authorized_keys"),
            ],
            &["Only after step 2: nothing brings a guest's configuration back."],
            &[],
        ),
        rest(vm),
    ]
}

/// What cannot be known here: who else names the node.
fn rest(vm: &Vm) -> Step {
    let name = &vm.name;
    let mut notes = Vec::new();
    let known: Vec<String> = [
        (
            "storage",
            vm.storage.iter().map(|s| s.id.as_str()).collect(),
        ),
        (
            "group",
            vm.ha.groups.iter().map(|group| group.as_str()).collect(),
        ),
        (
            "rule",
            vm.ha.rules.iter().map(|rule| rule.name.as_str()).collect(),
        ),
    ]
    .into_iter()
    .filter(|(_, names): &(_, Vec<&str>)| !names.is_empty())
    .map(|(what, names)| format!("{what} {}", names.join(", ")))
    .collect();
    if !known.is_empty() {
        notes.push(format!("The lab has put it into: {}.", known.join("; ")));
    }
    if vm.openvpn.is_some() {
        notes.push("Its OpenVPN certificate is good until the VPN's server revokes it.".to_owned());
    }
    notes.push(
        "Each line that the command shows still names the node. Give the list again without it; \
         where nobody else is in a storage's list, `--delete nodes` opens the storage to all. \
         Backups and networks (SDN, mappings): in the web interface."
            .to_owned(),
    );
    Step {
        what: "nothing else names it".to_owned(),
        commands: vec![format!(
            "grep -nsw {name} /etc/pve/*.cfg /etc/pve/ha/*.cfg /etc/pve/sdn/*.cfg /etc/pve/mapping/*.cfg"
        )],
        notes,
        remedies: [
            "pvesm set STORAGE --nodes OTHER,NODES                            # storage.cfg",
            "ha-manager groupset GROUP --nodes OTHER,NODES                    # PVE 8, groups.cfg",
            "ha-manager rules set node-affinity RULE --nodes OTHER,NODES      # PVE 9, rules.cfg",
        ]
        .map(str::to_owned)
        .to_vec(),
    }
}

/// Where the commands are to be typed: members that are no VMs of the lab, else any peer.
pub(super) fn members(lab: &Lab, vm: &Vm) -> Vec<String> {
    let peers = vm.cluster.iter().flat_map(|join| &join.peers);
    let peers: Vec<String> = peers.map(|peer| peer.address.to_string()).collect();
    let stable: Vec<String> = peers.iter().filter(|p| !lab.is_vm(p)).cloned().collect();
    if stable.is_empty() { peers } else { stable }
}

/// The steps as lines, numbered.
pub(super) fn lines(steps: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    let indented = |command: &String| format!("       {command}");
    for (number, step) in (1..).zip(steps) {
        lines.push(String::new());
        lines.push(format!("{number}. {}:", step.what));
        lines.extend(step.commands.iter().map(indented));
        for note in &step.notes {
            lines.extend(wrapped(note, 92).iter().map(|line| format!("   {line}")));
        }
        lines.extend(step.remedies.iter().map(indented));
    }
    lines
}

//! What the guest takes from a seed disk: firstboot's own types and reader.

pub(crate) use firstboot::contract::seed::{
    CONTRACT, Cluster, Credential, Ha, HaRule, NfsStorage, Proxmox, Retry, Seed, Ticket, UserData,
    parse,
};
pub(crate) use firstboot::{JOIN, LOCAL, args::HELP};

use std::path::Path;

/// A seed disk, as the guest reads it.
pub(crate) fn read_disk(image: &Path) -> Seed {
    let disk = std::fs::File::open(image).unwrap();
    firstboot::contract::volumes::read_fat(disk, "seed.img".as_ref()).unwrap()
}

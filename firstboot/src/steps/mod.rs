//! The steps: each makes one thing true, and says whether it had to change anything. None knows another.

pub(crate) mod addresses;
pub(crate) mod cluster_keys;
pub(crate) mod ha;
pub(crate) mod hostname;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod mailname;
pub(crate) mod network;
pub(crate) mod ntp;
pub(crate) mod openvpn;
pub(crate) mod postfix;
pub(crate) mod retired;
pub(crate) mod root_password;
pub(crate) mod root_size;
pub(crate) mod rrd;
pub(crate) mod secret;
pub(crate) mod ssh_host_keys;
pub(crate) mod ssh_keys;
pub(crate) mod sshd;
pub(crate) mod storage;
pub(crate) mod timezone;
pub(crate) mod tunnel;
pub(crate) mod votes;

#[cfg(test)]
mod tests {
    use crate::step::tests::{joining, with_context};
    use crate::system::root::Root;

    #[test]
    fn a_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let beside = "  storage: [{id: nfs1, server: a, export: /b}]\n  ha: {rules: [ab]}\n";
        for (seed, said) in [
            (joining(beside), ["not the running machine"; 3]),
            (
                String::new(),
                [
                    "no votes in the seed",
                    "no storage in the seed",
                    "no HA in the seed",
                ],
            ),
        ] {
            let outcomes = with_context(&root, &seed, |context| {
                let steps = [super::votes::run, super::storage::run, super::ha::run];
                steps.map(|run| run(context).unwrap().detail.unwrap())
            });
            assert_eq!(outcomes, said);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

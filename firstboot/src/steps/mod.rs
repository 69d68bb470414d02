//! The steps: each makes one thing true, and says whether it had to change anything. None knows another.

pub mod addresses;
pub mod cluster_keys;
pub mod ha;
pub mod hostname;
pub mod hosts;
pub mod join;
pub mod mailname;
pub mod network;
pub mod ntp;
pub mod openvpn;
pub mod postfix;
pub mod retired;
pub mod root_password;
pub mod root_size;
pub mod rrd;
pub mod secret;
pub mod ssh_host_keys;
pub mod ssh_keys;
pub mod sshd;
pub mod storage;
pub mod timezone;
pub mod tunnel;
pub mod votes;

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

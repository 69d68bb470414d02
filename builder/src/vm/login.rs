//! How somebody gets into a VM, and what is said where nobody does.

use crate::config::lab::Vm;
use crate::system::text::first_few;

/// The ways into a VM that its settings open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// Over ssh, with a key or with root's password.
    Ssh,
    /// With root's password, at the console alone.
    Console,
    Nobody,
}

impl Login {
    /// The best way into a VM.
    pub(crate) fn of(vm: &Vm) -> Self {
        let password = vm.root_password_file.is_some();
        match (vm.ssh_keys.is_empty(), password, vm.ssh_password) {
            (false, _, _) | (true, true, true) => Login::Ssh,
            (true, true, false) => Login::Console,
            (true, false, _) => Login::Nobody,
        }
    }
}

/// What there is to say about these VMs before somebody stands before a login prompt.
pub(crate) fn warnings(vms: &[&Vm]) -> Vec<String> {
    let those = |login: Login| {
        let vms = vms.iter().filter(|vm| Login::of(vm) == login);
        let names: Vec<&str> = vms.map(|vm| vm.name.as_str()).collect();
        (!names.is_empty()).then(|| first_few(&names))
    };
    let nobody = those(Login::Nobody).map(|names| {
        format!(
            "nobody can log in to {names}: no ssh key, no root password\n  right: `ssh_key_files: \
             [~/.ssh/id_ed25519.pub]` (ssh-keygen makes the file), or `ssh_keys`, or \
             `root_password_file`"
        )
    });
    let console = those(Login::Console).map(|names| {
        format!(
            "only the console opens {names}: root has a password and no ssh key, and ssh takes \
             no password\n  right: `ssh_key_files` or `ssh_keys`; or `ssh_password: true`"
        )
    });
    nobody.into_iter().chain(console).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::example;

    fn vm(name: &str, keys: usize, password: bool, ssh_password: bool) -> Vm {
        let mut vm = example::lab().vms.remove(0);
        vm.name = name.parse().unwrap();
        vm.ssh_keys.truncate(keys);
        vm.root_password_file = vm.root_password_file.filter(|_| password);
        vm.ssh_password = ssh_password;
        vm
    }

    #[test]
    fn a_key_or_a_password_that_ssh_takes_opens_ssh() {
        for (keys, password, ssh_password, login) in [
            (1, false, false, Login::Ssh),
            (1, true, false, Login::Ssh),
            (0, true, true, Login::Ssh),
            (0, true, false, Login::Console),
            (0, false, true, Login::Nobody),
            (0, false, false, Login::Nobody),
        ] {
            assert_eq!(Login::of(&vm("vm1", keys, password, ssh_password)), login);
        }
    }

    #[test]
    fn those_that_nobody_can_log_in_to_are_named() {
        let fine = vm("vm1", 1, false, false);
        assert_eq!(warnings(&[&fine]), [""; 0]);
        let closed: Vec<Vm> = (2..9)
            .map(|n| vm(&format!("vm{n}"), 0, false, false))
            .collect();
        let console = vm("vm9", 0, true, false);
        let mut all: Vec<&Vm> = closed.iter().collect();
        all.extend([&fine, &console]);
        assert_eq!(
            warnings(&all),
            [
                "nobody can log in to vm2, vm3, vm4, vm5, vm6 and 2 more: no ssh key, no root \
                 password\n  right: `ssh_key_files: [~/.ssh/id_ed25519.pub]` (ssh-keygen makes the \
                 file), or `ssh_keys`, or `root_password_file`",
                "only the console opens vm9: root has a password and no ssh key, and ssh takes no \
                 password\n  right: `ssh_key_files` or `ssh_keys`; or `ssh_password: true`",
            ]
        );
    }
}

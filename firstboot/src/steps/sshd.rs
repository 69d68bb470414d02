//! `sshd`: who may log in to this machine over ssh: root by key, and by password only where
//! the seed says so.
//!
//! `pvecm add` writes `PermitRootLogin yes` into `/etc/ssh/sshd_config`. sshd takes the first
//! value that it reads (sshd_config(5)), and Debian's file begins with the line that reads the
//! folder of [`DROP_IN`], so what stands there wins, whenever a join comes.

use crate::step::{Context, Outcome};
use crate::system::root::Root;
use crate::system::ssh::ROOT_KEYS;
use anyhow::{Context as _, Result};
use std::fmt::Write;

const SSHD: &str = "/usr/sbin/sshd";
const CONFIG: &str = "/etc/ssh/sshd_config";
/// The file that firstboot writes.
pub(crate) const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-firstboot.conf";
const INCLUDED: &str = "/etc/ssh/sshd_config.d/*.conf";
/// Made by sshd's own unit when it starts; without it sshd does not even test.
const RUN_FOLDER: &str = "/run/sshd";

/// Writes the settings, and has a sshd that runs take them over.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    let Some(config) = root.read_text(CONFIG)? else {
        return Ok(Outcome::unchanged_because(
            "the ssh server is not installed",
        ));
    };
    let by_password = context.seed.user_data.ssh_pwauth;
    let mut changed = root.ensure(DROP_IN, settings(by_password).as_bytes(), 0o644)?;
    let mut detail = match by_password {
        Some(true) => "root by key or by password".to_owned(),
        _ => "root by key only".to_owned(),
    };
    if !reads_drop_ins_first(&config) {
        let (mode, uid, gid) = root.owner_and_mode(CONFIG)?.unwrap_or((0o644, 0, 0));
        let text = format!("Include {INCLUDED}\n{config}");
        root.write_owned(CONFIG, text.as_bytes(), mode, uid, gid)?;
        let _ = write!(detail, "; {CONFIG} had no `Include {INCLUDED}` at its head");
        changed = true;
    }
    if changed && root.is_live() {
        take_over(root)?;
    }
    Ok(Outcome::changed_if(changed, detail))
}

/// The drop-in. cloud-init's `ssh_pwauth` says whether a password opens anything; without a
/// word about it the machine's own setting stays, but not for root.
fn settings(by_password: Option<bool>) -> String {
    let root = match by_password {
        Some(true) => "PermitRootLogin yes\nPasswordAuthentication yes\n",
        Some(false) => "PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        None => "PermitRootLogin prohibit-password\n",
    };
    format!(
        "# Written by firstboot from the seed disk. The first value counts: what is to win over\n\
         # this belongs in a file of this folder whose name sorts before this one's.\n\
         # {ROOT_KEYS} is this machine's alone. On a member of a Proxmox cluster\n\
         # /root/.ssh/authorized_keys is shared by all members.\n\
         AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/ssh/authorized_keys.d/%u\n\
         {root}"
    )
}

/// Whether sshd reads the folder of drop-ins before anything else that has a value.
fn reads_drop_ins_first(config: &str) -> bool {
    let first = config
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let mut words = first.unwrap_or_default().split_whitespace();
    let is_include = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("include"));
    // A path without a slash before it begins at /etc/ssh.
    is_include && words.any(|word| word == INCLUDED || word == "sshd_config.d/*.conf")
}

/// Has sshd itself judge its configuration; one that runs reads it again.
fn take_over(root: &Root) -> Result<()> {
    if root.kind(SSHD)?.is_none() {
        return Ok(());
    }
    root.ensure_folder(RUN_FOLDER, 0o755)?;
    root.run(SSHD, &["-t"], b"")
        .context("sshd refuses its configuration, and would not start")?;
    if root.is_active("ssh.service")? {
        root.systemctl(&["reload", "--no-block", "ssh.service"])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

    /// The lines of Debian 13's file that say something.
    const DEBIAN: &str = "# This is the sshd server system-wide configuration file.\n\n\
                          Include /etc/ssh/sshd_config.d/*.conf\n\n#Port 22\n\
                          KbdInteractiveAuthentication no\nUsePAM yes\n";

    fn step(root: &Root, seed: &str) -> Outcome {
        with_context(root, seed, |context| run(context).unwrap())
    }

    /// The lines of the drop-in that say something.
    fn said(root: &Root) -> Vec<String> {
        let text = root.read_text(DROP_IN).unwrap().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn root_by_key_only_unless_the_seed_says_otherwise() {
        let (_folder, root) = tree();
        let none = Outcome::unchanged_because("the ssh server is not installed");
        assert_eq!(step(&root, ""), none);
        root.write(CONFIG, DEBIAN.as_bytes(), 0o644).unwrap();
        assert_eq!(step(&root, ""), Outcome::changed("root by key only"));
        assert_eq!(said(&root), ["PermitRootLogin prohibit-password"]);
        assert_eq!(step(&root, ""), Outcome::unchanged());
        let both = Outcome::changed("root by key or by password");
        assert_eq!(step(&root, "ssh_pwauth: true"), both);
        assert_eq!(
            said(&root),
            ["PermitRootLogin yes", "PasswordAuthentication yes"]
        );
        assert!(step(&root, "ssh_pwauth: false").changed);
        assert_eq!(
            said(&root),
            [
                "PermitRootLogin prohibit-password",
                "PasswordAuthentication no"
            ]
        );
        assert_eq!(root.read_text(CONFIG).unwrap().unwrap(), DEBIAN);
    }

    #[test]
    fn a_configuration_that_reads_no_drop_ins_learns_it() {
        for config in [
            "PermitRootLogin yes\n",
            "PermitRootLogin yes\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            "# Include /etc/ssh/sshd_config.d/*.conf\n",
            "Include /etc/ssh/other.d/*.conf\n",
            "",
        ] {
            let (_folder, root) = tree();
            root.write(CONFIG, config.as_bytes(), 0o600).unwrap();
            let detail = step(&root, "").detail.unwrap();
            assert_eq!(
                detail,
                "root by key only; /etc/ssh/sshd_config had no `Include \
                 /etc/ssh/sshd_config.d/*.conf` at its head"
            );
            let text = root.read_text(CONFIG).unwrap().unwrap();
            assert_eq!(text, format!("Include {INCLUDED}\n{config}"));
            assert_eq!(root.owner_and_mode(CONFIG).unwrap().unwrap().0, 0o600);
            assert_eq!(step(&root, ""), Outcome::unchanged());
        }
        assert!(reads_drop_ins_first(
            "\n# x\n include \"x\" sshd_config.d/*.conf\n"
        ));
    }
}

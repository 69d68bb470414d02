//! `ntp`: the machine's clock is set by the seed's time servers.
//!
//! chrony's, which Proxmox VE brings. The servers go into a file of their own that chrony's
//! configuration reads (`sourcedir /etc/chrony/sources.d`), and the distribution's own servers beside them are
//! switched off: that is what `ntp` means to cloud-init, and a lab whose PCs reach no other server
//! names its own. A later seed without servers brings the distribution's back.

use crate::contract::seed::Ntp;
use crate::step::{Context, Outcome};
use crate::system::root::Root;
use anyhow::Result;

const CONF: &str = "/etc/chrony/chrony.conf";
const SOURCES: &str = "/etc/chrony/sources.d/firstboot.sources";
/// The folder of the file above, as the configuration names it.
const SOURCES_FOLDER: &str = "/etc/chrony/sources.d";
/// What stands before a line of the configuration that is switched off.
const OFF: &str = "#firstboot: ";

/// Writes the servers, and has chrony take them up.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    let wanted = context.seed.user_data.ntp.as_ref();
    let sources = wanted.map(sources).unwrap_or_default();
    let conf = root.read_text(CONF)?;
    if sources.is_empty() {
        let removed = root.remove_file(SOURCES)?;
        let restored = match &conf {
            Some(conf) => rewrite(root, conf, &with_own_servers(conf))?,
            None => false,
        };
        if removed || restored {
            restart(root)?;
            return Ok(Outcome::changed(
                "the distribution's own time servers again",
            ));
        }
        return Ok(Outcome::unchanged_because(match wanted {
            Some(_) => "switched off, or without servers, in the seed",
            None => "no time servers in the seed",
        }));
    }
    // As a machine without postfix is: what it has is configured, and the rest named.
    let not_done = |why: String| {
        let servers = sources.join(", ");
        Ok(Outcome::unchanged_because(format!(
            "{why}: not done: {servers}"
        )))
    };
    let Some(conf) = conf else {
        return not_done(format!("chrony is not installed ({CONF} is missing)"));
    };
    if !reads_sources(&conf) {
        return not_done(format!(
            "{CONF} does not read {SOURCES_FOLDER} (`sourcedir`)"
        ));
    }
    let text: String = sources.iter().map(|line| format!("{line}\n")).collect();
    let written = root.ensure(SOURCES, text.as_bytes(), 0o644)?;
    let switched = rewrite(root, &conf, &without_own_servers(&conf))?;
    if written || switched {
        restart(root)?;
    }
    Ok(Outcome::changed_if(written || switched, sources.join(", ")))
}

/// The lines of the sources file. `iburst` sets the clock within seconds.
fn sources(ntp: &Ntp) -> Vec<String> {
    if !ntp.enabled {
        return Vec::new();
    }
    let servers = ntp
        .servers
        .iter()
        .map(|server| format!("server {server} iburst"));
    let pools = ntp.pools.iter().map(|pool| format!("pool {pool} iburst"));
    servers.chain(pools).collect()
}

/// chronyd reads its own servers only when it starts, so `chronyc reload sources` is not enough. At a
/// boot it does not run yet, and nothing happens. Not waiting: it runs after this very stage.
fn restart(root: &Root) -> Result<()> {
    if root.is_live() {
        root.query("systemctl", &["try-restart", "--no-block", "chrony"])?;
    }
    Ok(())
}

/// Only a difference in the text counts: the file is the distribution's.
fn rewrite(root: &Root, conf: &str, wanted: &str) -> Result<bool> {
    match conf == wanted {
        true => Ok(false),
        false => root.ensure(CONF, wanted.as_bytes(), 0o644),
    }
}

fn reads_sources(conf: &str) -> bool {
    let folder = |line: &str| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some("sourcedir");
        is_it && words.any(|word| word.trim_end_matches('/') == SOURCES_FOLDER)
    };
    conf.lines().any(folder)
}

fn without_own_servers(conf: &str) -> String {
    let is_server = |line: &str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        ["server", "pool", "peer"].contains(&first)
    };
    let lines = conf.split_inclusive('\n');
    lines
        .map(|line| match is_server(line) {
            true => format!("{OFF}{line}"),
            false => line.to_owned(),
        })
        .collect()
}

fn with_own_servers(conf: &str) -> String {
    let lines = conf.split_inclusive('\n');
    lines
        .map(|line| line.strip_prefix(OFF).unwrap_or(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

    /// Debian 13's, without its comments.
    const DEBIAN: &str = "confdir /etc/chrony/conf.d\n\n# Use Debian vendor zone.\npool 2.debian.pool.ntp.org \
        iburst\n\nsourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\nmakestep 1 3\n";

    fn run_with(root: &Root, ntp: &str) -> Result<Outcome, String> {
        let result = with_context(root, ntp, run);
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn the_seed_s_servers_take_the_place_of_the_distribution_s_and_give_it_back() {
        let (_folder, root) = tree();
        root.write(CONF, DEBIAN.as_bytes(), 0o644).unwrap();
        let ntp = "ntp: {servers: [10.120.0.1, ntp.lab.example], pools: [pool.lab.example]}\n";
        let lines = "server 10.120.0.1 iburst, server ntp.lab.example iburst, pool pool.lab.example \
                     iburst";
        assert_eq!(run_with(&root, ntp), Ok(Outcome::changed(lines)));
        let text = |path: &str| root.read_text(path).unwrap();
        let sources = format!("{}\n", lines.replace(", ", "\n"));
        assert_eq!(text(SOURCES), Some(sources));
        let switched = DEBIAN.replace("pool 2", "#firstboot: pool 2");
        assert_eq!(text(CONF).as_deref(), Some(switched.as_str()));
        assert_eq!(run_with(&root, ntp), Ok(Outcome::unchanged()));

        let words = "the distribution's own time servers again";
        for without in [
            "",
            "ntp: {enabled: false, servers: [10.120.0.1]}\n",
            "ntp: {}\n",
        ] {
            run_with(&root, ntp).unwrap();
            assert_eq!(run_with(&root, without), Ok(Outcome::changed(words)));
            assert_eq!((text(SOURCES), text(CONF)), (None, Some(DEBIAN.to_owned())));
        }
        let words = "no time servers in the seed";
        assert_eq!(run_with(&root, ""), Ok(Outcome::unchanged_because(words)));
        let words = "switched off, or without servers, in the seed";
        let off = "ntp: {enabled: false}\n";
        assert_eq!(run_with(&root, off), Ok(Outcome::unchanged_because(words)));
    }

    #[test]
    fn a_machine_that_cannot_is_told() {
        let (_folder, root) = tree();
        let ntp = "ntp: {servers: [10.120.0.1]}\n";
        let words = "chrony is not installed (/etc/chrony/chrony.conf is missing): not done: server \
                     10.120.0.1 iburst";
        assert_eq!(run_with(&root, ntp), Ok(Outcome::unchanged_because(words)));
        let old = DEBIAN.replace("sourcedir /etc", "#sourcedir /etc");
        root.write(CONF, old.as_bytes(), 0o644).unwrap();
        let words = "/etc/chrony/chrony.conf does not read /etc/chrony/sources.d (`sourcedir`): not \
                     done: server 10.120.0.1 iburst";
        assert_eq!(run_with(&root, ntp), Ok(Outcome::unchanged_because(words)));
        assert_eq!(root.read_text(CONF).unwrap(), Some(old));
        assert_eq!(root.read_text(SOURCES).unwrap(), None);
    }
}

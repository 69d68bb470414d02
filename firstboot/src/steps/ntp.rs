//! `ntp`: the machine's clock is set by the seed's time servers, whenever it is wrong.
//!
//! chrony's, which Proxmox VE brings. The servers go into a file of their own that chrony's
//! configuration reads (`sourcedir /etc/chrony/sources.d`), and the distribution's own servers beside them are
//! switched off: that is what `ntp` means to cloud-init, and a lab whose PCs reach no other server
//! names its own. A later seed without servers brings the distribution's back.
//!
//! With servers or without, a wrong clock is set at any time. Debian's `makestep 1 3` does so in the
//! first three updates after chronyd's start alone. A VM whose PC slept for a night goes on later than that, and
//! a clock that is slewed is wrong for hours. chronyd takes the last `makestep` that it reads, and
//! Debian's stands below `confdir` (`chronyd -p` shows both), so that one is switched off like a server.

use crate::contract::seed::Ntp;
use crate::step::{Context, Outcome};
use crate::system::root::Root;
use anyhow::Result;

const CONF: &str = "/etc/chrony/chrony.conf";
const SOURCES: &str = "/etc/chrony/sources.d/firstboot.sources";
/// The folder of the file above, as the configuration names it.
const SOURCES_FOLDER: &str = "/etc/chrony/sources.d";
const STEPS: &str = "/etc/chrony/conf.d/firstboot.conf";
/// The folder of the file above.
const CONF_FOLDER: &str = "/etc/chrony/conf.d";
/// A clock that is wrong by more than a second is set at once, however long chronyd has run (chrony.conf(5)).
const MAKESTEP: &str = "makestep 1 -1\n";
/// What stands before a line of the configuration that is switched off.
const OFF: &str = "#firstboot: ";

/// Writes the servers and when a clock is stepped, and has chrony take them up.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    let wanted = context.seed.user_data.ntp.as_ref();
    let sources = wanted.map(sources).unwrap_or_default();
    let conf = root.read_text(CONF)?;
    let is_installed = conf.is_some();
    let mut conf = conf.unwrap_or_default();

    let reads_sources = reads(&conf, "sourcedir", SOURCES_FOLDER);
    let has_servers = reads_sources && !sources.is_empty();
    let text: String = sources.iter().map(|line| format!("{line}\n")).collect();
    let servers = put(root, SOURCES, has_servers.then_some(&text))?
        | switch(root, &mut conf, is_server, has_servers)?;

    let reads_steps = reads(&conf, "confdir", CONF_FOLDER);
    let steps = put(root, STEPS, reads_steps.then_some(MAKESTEP))?
        | switch(root, &mut conf, is_makestep, reads_steps)?;
    if servers || steps {
        restart(root)?;
    }

    let servers = match (sources.is_empty(), is_installed, reads_sources) {
        (true, ..) if servers => Outcome::changed("the distribution's own time servers again"),
        (true, ..) => Outcome::unchanged_because(match wanted {
            Some(_) => "switched off, or without servers, in the seed",
            None => "no time servers in the seed",
        }),
        (_, _, true) => Outcome::changed_if(servers, sources.join(", ")),
        (_, false, _) => not_done(
            &format!("chrony is not installed ({CONF} is missing)"),
            &sources.join(", "),
        ),
        (_, true, _) => not_done(
            &format!("{CONF} does not read {SOURCES_FOLDER} (`sourcedir`)"),
            &sources.join(", "),
        ),
    };
    let steps = match is_installed && !reads_steps {
        true => not_done(
            &format!("{CONF} does not read {CONF_FOLDER} (`confdir`)"),
            MAKESTEP.trim_end(),
        ),
        false => Outcome::changed_if(steps, "a wrong clock is set at any time"),
    };
    Ok(servers.and(steps))
}

/// As a machine without postfix is: what it has is configured, and the rest named.
fn not_done(why: &str, what: &str) -> Outcome {
    Outcome::unchanged_because(format!("{why}: not done: {what}"))
}

/// Makes a file hold this, or not be there; returns whether that was new.
fn put(root: &Root, file: &str, text: Option<impl AsRef<str>>) -> Result<bool> {
    match text {
        Some(text) => root.ensure(file, text.as_ref().as_bytes(), 0o644),
        None => root.remove_file(file),
    }
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

/// Whether the configuration reads the files of a folder by this directive.
fn reads(conf: &str, directive: &str, folder: &str) -> bool {
    conf.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(directive) && words.any(|word| word.trim_end_matches('/') == folder)
    })
}

fn is_server(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    ["server", "pool", "peer"].contains(&first)
}

fn is_makestep(line: &str) -> bool {
    line.split_whitespace().next() == Some("makestep")
}

/// Switches the configuration's own lines of a kind off, or on again; returns whether that was new. Only a
/// difference in the text counts: the file is the distribution's.
fn switch(root: &Root, conf: &mut String, kind: fn(&str) -> bool, off: bool) -> Result<bool> {
    let line = |line: &str| match line.strip_prefix(OFF) {
        Some(own) if kind(own) && !off => own.to_owned(),
        None if kind(line) && off => format!("{OFF}{line}"),
        _ => line.to_owned(),
    };
    let wanted: String = conf.split_inclusive('\n').map(line).collect();
    let changed = *conf != wanted && root.ensure(CONF, wanted.as_bytes(), 0o644)?;
    *conf = wanted;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::with_context;
    use crate::system::root::tests::tree;

    /// Debian 13's, without its comments.
    const DEBIAN: &str = "confdir /etc/chrony/conf.d\n\n# Use Debian vendor zone.\npool 2.debian.pool.ntp.org \
        iburst\n\nsourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\nmakestep 1 3\n";
    const STEPPED: &str = "a wrong clock is set at any time";

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
        let both = Outcome::changed(format!("{lines}; {STEPPED}"));
        assert_eq!(run_with(&root, ntp), Ok(both));
        let text = |path: &str| root.read_text(path).unwrap();
        let sources = format!("{}\n", lines.replace(", ", "\n"));
        assert_eq!(text(SOURCES), Some(sources));
        let stepping = DEBIAN.replace("makestep", "#firstboot: makestep");
        let switched = stepping.replace("pool 2", "#firstboot: pool 2");
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
            assert_eq!((text(SOURCES), text(CONF)), (None, Some(stepping.clone())));
        }
        let words = "no time servers in the seed";
        assert_eq!(run_with(&root, ""), Ok(Outcome::unchanged_because(words)));
        let words = "switched off, or without servers, in the seed";
        let off = "ntp: {enabled: false}\n";
        assert_eq!(run_with(&root, off), Ok(Outcome::unchanged_because(words)));
    }

    /// A PC that sleeps: the clock is far behind, long after chronyd's first three updates.
    #[test]
    fn a_clock_is_stepped_at_any_time_without_servers_too() {
        let (_folder, root) = tree();
        root.write(CONF, DEBIAN.as_bytes(), 0o644).unwrap();
        let words = format!("no time servers in the seed; {STEPPED}");
        assert_eq!(run_with(&root, ""), Ok(Outcome::changed(words)));
        let text = |path: &str| root.read_text(path).unwrap();
        assert_eq!(text(STEPS).as_deref(), Some("makestep 1 -1\n"));
        let conf = text(CONF).unwrap();
        assert_eq!(conf, DEBIAN.replace("makestep", "#firstboot: makestep"));
        let words = "no time servers in the seed";
        assert_eq!(run_with(&root, ""), Ok(Outcome::unchanged_because(words)));
    }

    #[test]
    fn a_machine_that_cannot_is_told() {
        let (_folder, root) = tree();
        let ntp = "ntp: {servers: [10.120.0.1]}\n";
        let words = "chrony is not installed (/etc/chrony/chrony.conf is missing): not done: server \
                     10.120.0.1 iburst";
        assert_eq!(run_with(&root, ntp), Ok(Outcome::unchanged_because(words)));
        let old = DEBIAN.replace("sourcedir /etc", "#sourcedir /etc");
        let old = old.replace("confdir", "#confdir");
        root.write(CONF, old.as_bytes(), 0o644).unwrap();
        let words = "/etc/chrony/chrony.conf does not read /etc/chrony/sources.d (`sourcedir`): not \
                     done: server 10.120.0.1 iburst; /etc/chrony/chrony.conf does not read \
                     /etc/chrony/conf.d (`confdir`): not done: makestep 1 -1";
        assert_eq!(run_with(&root, ntp), Ok(Outcome::unchanged_because(words)));
        assert_eq!(root.read_text(CONF).unwrap(), Some(old));
        assert_eq!(root.read_text(SOURCES).unwrap(), None);
        assert_eq!(root.read_text(STEPS).unwrap(), None);
    }
}

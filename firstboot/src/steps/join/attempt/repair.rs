//! What an attempt does on this node alone: its services, its certificate, and waiting.

use super::{Attempt, RESTART_WAIT, is_left_behind};
use crate::cluster::corosync;
use crate::cluster::member::restart_corosync;
use crate::cluster::password_command::MEANWHILE;
use crate::cluster::pvecm;
use crate::step::RetryLater;
use crate::steps::join::machine::State;
use crate::steps::join::observe::clock_is_behind;
use crate::steps::join::stale::QuorumWait;
use crate::system::wait;
use anyhow::Result;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long another firstboot may take that starts corosync or pmxcfs.
const BUSY: Duration = Duration::from_secs(60);

impl Attempt<'_> {
    /// Does something that should change the state, at most once in an attempt.
    pub(super) fn once(
        &mut self,
        what: &'static str,
        reason: String,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.tried.contains(&what) {
            return Err(RetryLater::because(reason).into());
        }
        let before = self.state()?;
        {
            let _busy = self.services()?;
            act()?;
        }
        self.wait_until(RESTART_WAIT, |state| *state != before)?;
        self.tried.push(what);
        Ok(())
    }

    /// The right to start and stop corosync and pmxcfs, which whoever watches over a member has too.
    pub(super) fn services(&self) -> Result<OwnedFd> {
        let busy = || RetryLater::because("another firstboot is starting corosync or pmxcfs");
        Ok(corosync::services(self.context.root, BUSY).ok_or_else(busy)?)
    }

    /// pvecm stops pmxcfs for some seconds. What the boot is still starting would end over that, and
    /// systemd starts little of it again: pvestatd, the firewall, the HA manager. And pveproxy makes the
    /// node's certificate before it starts, as pvecm does. A node that is a member without quorum waits
    /// less: its pveproxy takes 80 s then.
    pub(super) fn let_the_boot_settle(&self, force: bool) -> Result<()> {
        let limit = match (force, self.state()?) {
            (true, State::LeftBehind { .. }) => Duration::from_secs(5),
            _ => Duration::from_secs(100),
        };
        let root = self.context.root;
        let jobs = || root.query("systemctl", &["list-jobs", "--no-legend"]);
        let is_quiet = |jobs: &String| !starts_proxmox(jobs);
        wait::until(limit, Duration::from_secs(1), jobs, is_quiet).map(drop)
    }

    /// Nothing comes of itself afterwards, so nothing is waited for: it is there, or pvecm said why not.
    pub(super) fn renew_certificate(&mut self, state: &State) -> Result<()> {
        let State::NoCertificate(why) = state else {
            return Ok(());
        };
        let is_due = !clock_is_behind(self.context.root, why)?;
        if !is_due || self.tried.contains(&"certificate") {
            return Err(RetryLater::because(why.clone()).into());
        }
        self.tried.push("certificate");
        if let Err(words) = pvecm::renew_certificate(self.context)? {
            return Err(
                RetryLater::because(format!("{why}; pvecm updatecerts says: {words}")).into(),
            );
        }
        self.done
            .get_or_insert_with(|| "with a new certificate".to_owned());
        Ok(())
    }

    /// As long as one attempt may take; quorum often comes by itself. Or never, because others joined
    /// meanwhile: then corosync has been stopped.
    pub(super) fn wait_for_quorum(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.cluster.retry.attempt_limit();
        let peers = self.cluster.peers.iter().collect();
        let waiting = QuorumWait::new(self.context, self.cluster, peers);
        loop {
            let State::Waiting(missing) = self.state()? else {
                self.done
                    .get_or_insert_with(|| "quorum came by itself".to_owned());
                return Ok(());
            };
            if waiting.look().is_some() {
                return Ok(());
            }
            if Instant::now() > deadline {
                if let Some(end) = waiting.abort_if() {
                    return Err(end);
                }
                return Err(RetryLater::because(format!(
                    "{missing}. Too many of its members are off, or UDP 5405 to them is blocked, or \
                     another node's join was cut and has to be repaired first"
                ))
                .into());
            }
            std::thread::sleep(MEANWHILE);
        }
    }

    /// A member that was off while others joined needs neither password nor `--force`: what brings
    /// it back later, when it is configured, does it here. Where that is of no use, a peer is asked.
    pub(super) fn bring_back(&mut self) -> Result<()> {
        const TRIED: &str = "bring back";
        if self.tried.contains(&TRIED) {
            return self.ask();
        }
        self.tried.push(TRIED);
        let restarted = {
            let _busy = self.services()?;
            restart_corosync::with_newest_conf(self.context.root, &self.context.name, true)
        };
        match restarted {
            Ok(words) => {
                (self.context.log)(&words.unwrap_or_default());
                self.wait_until(RESTART_WAIT, |state| !is_left_behind(state))?;
            }
            Err(error) => {
                let words = format!("{error:#}");
                (self.context.log)(&words);
                self.left_behind = Some(words);
            }
        }
        Ok(())
    }
}

/// Whether one of Proxmox's daemons is still to be started, in what `systemctl list-jobs` prints: a
/// number, the unit, the kind of job and its state. `pve-guests` starts the guests, which takes as
/// long as it takes.
fn starts_proxmox(jobs: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (unit, kind) = (words.next().unwrap_or_default(), words.next());
        let is_ours = unit.starts_with("pve") || unit.starts_with("spiceproxy");
        is_ours && unit != "pve-guests.service" && kind == Some("start")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_is_still_starting() {
        let jobs = "178 multi-user.target        start waiting\n\
                    201 pvestatd.service         start waiting\n\
                    199 pve-guests.service       start running\n";
        assert!(starts_proxmox(jobs));
        assert!(!starts_proxmox(&jobs.replace("pvestatd", "chrony")));
        assert!(!starts_proxmox(
            &jobs.replace("start waiting", "stop waiting")
        ));
        assert!(!starts_proxmox(""));
    }
}

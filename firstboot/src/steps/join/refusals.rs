//! Why the peers of one attempt were of no use, and whether that is the end of the join.

use crate::step::RetryLater;
use std::time::Duration;

/// Each reason with the pause that it asks for; `None` where no waiting mends it.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(String, Option<Duration>)>);

impl Refusals {
    pub(super) fn note(&mut self, reason: String, patience: Option<Duration>) {
        self.0.push((reason, patience));
    }

    /// Every peer has been asked: one that may answer later is hope.
    pub(super) fn no_peer_left(&self, name: &str) -> anyhow::Error {
        match self.0.iter().any(|(_, patience)| patience.is_some()) {
            true => self.later(),
            false => self.end(name),
        }
    }

    /// A [`RetryLater`], after the longest of the pauses.
    pub(super) fn later(&self) -> anyhow::Error {
        let pauses = self.0.iter().filter_map(|(_, pause)| *pause);
        RetryLater {
            reason: self.reasons(),
            at_least: pauses.max().unwrap_or_default(),
        }
        .into()
    }

    /// The end of the join of the node `name`, with what to do about it.
    pub(super) fn end(&self, name: &str) -> anyhow::Error {
        anyhow::anyhow!(
            "{}. Correct the seed (on the host, with the VM switched off: imgbuild seed {name}) or \
             what is wrong in the cluster; then the next boot, or `firstboot retry`, goes on",
            self.reasons(),
        )
    }

    fn reasons(&self) -> String {
        let reasons = self.0.iter().map(|(text, _)| text.as_str());
        reasons.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(refusals: &[(&str, Option<u64>)]) -> anyhow::Error {
        let mut noted = Refusals::default();
        for (reason, seconds) in refusals {
            noted.note((*reason).to_owned(), seconds.map(Duration::from_secs));
        }
        noted.no_peer_left("vm42")
    }

    #[test]
    fn one_peer_that_may_answer_later_is_hope() {
        let error = left(&[("wrong", None), ("locked", Some(130)), ("off", Some(0))]);
        let later = error.downcast_ref::<RetryLater>().unwrap();
        assert_eq!(later.reason, "wrong; locked; off");
        assert_eq!(later.at_least, Duration::from_secs(130));
        let error = left(&[("wrong", None)]);
        assert!(error.downcast_ref::<RetryLater>().is_none());
        assert!(error.to_string().starts_with("wrong. Correct the seed"));
    }
}

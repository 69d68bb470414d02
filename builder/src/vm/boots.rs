//! What the lines of a VM's status port tell of its boots: the steps, the parts of each boot, and how
//! it ended or what it waits for.

use super::status::{self, Lines};
use firstboot::contract::status::{
    Event, Stage, StageState, StepEvent, Verdict, VerdictEvent, WaitingEvent,
};
use serde::Serialize;

/// No time since a boot beyond this is believed, in seconds: a year.
const LONGEST_UPTIME: f64 = 365.0 * 86_400.0;

/// What a booting VM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Firmware, boot loader, kernel.
    Boot,
    /// firstboot's first stage.
    Local,
    /// The services start between the two stages.
    Services,
    /// firstboot's second stage.
    Join,
    /// A step of it is tried again and again.
    Waits,
}

/// A part of a boot, in seconds since the VM's start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Span {
    pub part: Part,
    pub from: f64,
    pub to: f64,
}

/// One boot, as far as the lines go.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Boot {
    /// firstboot's steps in order; none on a machine that was configured before.
    pub steps: Vec<StepEvent>,
    /// What it has done so far, without gaps.
    pub spans: Vec<Span>,
    /// Its last word, where it has one.
    pub verdict: Option<VerdictEvent>,
    /// What it is waiting for.
    pub waiting: Option<WaitingEvent>,
    /// The time of its last line, in seconds since its start.
    pub uptime: f64,
}

/// The boots that these lines tell of, the oldest first. The first line may have lost its beginning.
pub(crate) fn boots(lines: &[u8]) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    let mut part = Part::Boot;
    for line in Lines::default().feed(lines) {
        let event = status::event(&line);
        let uptime = uptime(&event);
        // After a reset of the guest the same file goes on.
        if boots
            .last()
            .is_none_or(|boot| uptime.is_some_and(|now| now < boot.uptime))
        {
            boots.push(Boot::default());
            part = Part::Boot;
        }
        if let Some(boot) = boots.last_mut() {
            part = boot.take(event, uptime.unwrap_or(boot.uptime), part);
        }
    }
    boots
}

/// When a line was written, where it says so: an older guest does not, and reads as 0.
fn uptime(event: &Event) -> Option<f64> {
    let uptime = match event {
        Event::Stage(stage) => stage.uptime,
        Event::Step(step) => step.uptime,
        Event::Waiting(waiting) => waiting.uptime,
        Event::Verdict(verdict) => verdict.uptime,
        Event::Log(_) | Event::Unknown => 0.0,
    };
    (uptime > 0.0).then(|| uptime.min(LONGEST_UPTIME))
}

impl Boot {
    /// Takes a line that was written at `now`; returns what the VM does from then on.
    fn take(&mut self, event: Event, now: f64, part: Part) -> Part {
        if matches!(event, Event::Log(_) | Event::Unknown) {
            return part;
        }
        self.uptime = now;
        self.spend(part, now);
        let stage_part = |stage| match stage {
            Stage::Local => Part::Local,
            Stage::Join => Part::Join,
        };
        self.waiting = None;
        match event {
            Event::Stage(stage) => match stage.state {
                StageState::Started => {
                    self.verdict = None;
                    stage_part(stage.stage)
                }
                StageState::Finished | StageState::Failed => Part::Services,
            },
            Event::Step(step) => {
                let part = stage_part(step.stage);
                self.steps.push(step);
                part
            }
            Event::Waiting(waiting) => {
                self.waiting = Some(waiting);
                Part::Waits
            }
            Event::Verdict(verdict) => {
                self.verdict = Some(verdict);
                Part::Services
            }
            Event::Log(_) | Event::Unknown => part,
        }
    }

    fn spend(&mut self, part: Part, now: f64) {
        match self.spans.last_mut() {
            // What comes after the last word is no part of the boot.
            _ if self.verdict.is_some() => {}
            Some(last) if last.part == part => last.to = now,
            last => {
                let from = last.map_or(0.0, |last| last.to);
                self.spans.push(Span {
                    part,
                    from,
                    to: now,
                });
            }
        }
    }

    /// Whether firstboot says that the machine is configured.
    pub(crate) fn is_configured(&self) -> bool {
        let verdict = self.verdict.as_ref();
        verdict.is_some_and(|verdict| verdict.result == Verdict::Configured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"event":"stage","stage":"local","state":"started","uptime":6.5}
{"event":"log","stage":"local","step":"seed","text":"x"}
{"event":"step","stage":"local","step":"hostname","result":"changed","seconds":0.1,"uptime":6.6}
{"event":"stage","stage":"local","state":"finished","uptime":9.0}
{"event":"stage","stage":"join","state":"started","uptime":20.0}
{"event":"waiting","stage":"join","step":"join","attempt":1,"seconds":30,"reason":"no quorum","uptime":22.0}
"#;
    const LAST: &str = r#"{"event":"step","stage":"join","step":"join","result":"changed","seconds":31.5,"uptime":53.5}
{"event":"stage","stage":"join","state":"finished","uptime":54.0}
{"event":"verdict","result":"configured","uptime":54.5}
"#;

    fn spans(boot: &Boot) -> Vec<(Part, f64, f64)> {
        let spans = boot.spans.iter();
        spans.map(|span| (span.part, span.from, span.to)).collect()
    }

    #[test]
    fn a_boot_is_told_in_its_parts() {
        let waiting = &boots(FIRST.as_bytes())[0];
        let reason = waiting
            .waiting
            .as_ref()
            .map(|waiting| waiting.reason.as_str());
        assert_eq!(reason, Some("no quorum"));
        assert_eq!((waiting.uptime, waiting.steps.len()), (22.0, 1));
        let boots = boots(format!("{FIRST}{LAST}").as_bytes());
        assert_eq!(boots.len(), 1);
        assert!(boots[0].is_configured() && boots[0].waiting.is_none());
        assert_eq!(
            spans(&boots[0]),
            [
                (Part::Boot, 0.0, 6.5),
                (Part::Local, 6.5, 9.0),
                (Part::Services, 9.0, 20.0),
                (Part::Join, 20.0, 22.0),
                (Part::Waits, 22.0, 53.5),
                (Part::Join, 53.5, 54.0),
                (Part::Services, 54.0, 54.5),
            ]
        );
    }

    #[test]
    fn a_guest_that_was_reset_begins_another_one() {
        let again = r#"{"event":"verdict","result":"configured","uptime":41.0}"#;
        let text = format!("nt\":\"cut\"}}\n{FIRST}{LAST}{again}\n");
        let boots = boots(text.as_bytes());
        assert_eq!(boots.len(), 2);
        assert_eq!((boots[0].steps.len(), boots[1].steps.len()), (2, 0));
        assert_eq!(spans(&boots[1]), [(Part::Boot, 0.0, 41.0)]);
        assert!(boots[1].is_configured());
    }

    /// The second word, long after the first, is no longer boot.
    #[test]
    fn what_comes_after_the_verdict_makes_no_boot_longer() {
        let twice = r#"{"event":"verdict","result":"unconfigured","uptime":84.0}
{"event":"verdict","result":"unconfigured","uptime":207.0}
"#;
        let boots = boots(twice.as_bytes());
        assert_eq!(boots.len(), 1);
        assert_eq!(spans(&boots[0]), [(Part::Boot, 0.0, 84.0)]);
        assert!(!boots[0].is_configured());
    }

    #[test]
    fn times_that_cannot_be_are_not_believed() {
        let odd = r#"{"event":"stage","stage":"local","state":"started","uptime":1e300}
{"event":"stage","stage":"local","state":"finished"}
{"event":"verdict","result":"failed","reason":"why","uptime":-5}
"#;
        let boots = boots(odd.as_bytes());
        assert_eq!(boots.len(), 1);
        assert_eq!(boots[0].uptime, LONGEST_UPTIME);
        assert!(super::boots(b"").is_empty());
    }
}

//! `firstboot status`: the state of this boot, for a human or a program.

use super::console::step_line;
use super::state::{FILE, State};
use crate::contract::clock;
use crate::contract::status::Verdict;
use crate::system::root::Root;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The state, once it is final or `wait` is over (`Some(None)`: never).
pub fn state(root: &Root, wait: Option<Option<u64>>) -> Option<State> {
    let start = Instant::now();
    loop {
        let state = State::load(root);
        let is_final = state.as_ref().is_some_and(|s| s.state != Verdict::Running);
        let over = match wait {
            None => true,
            Some(None) => false,
            Some(Some(seconds)) => start.elapsed() >= Duration::from_secs(seconds),
        };
        if is_final || over {
            return state;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The exit code: 0 configured, 1 failed, 3 not finished.
pub fn exit_code(state: Option<&State>) -> u8 {
    match state.map(|s| s.state) {
        Some(Verdict::Configured) => 0,
        Some(Verdict::Failed) => 1,
        Some(Verdict::Running | Verdict::Unconfigured) | None => 3,
    }
}

pub fn text(state: Option<&State>) -> String {
    let Some(state) = state else {
        return format!("firstboot has not run since the boot ({FILE} is not there)\n");
    };
    let who = match state.name.as_str() {
        "" => "this machine".to_owned(),
        name => format!("{name} (instance {})", state.instance),
    };
    let how = match &state.waiting {
        Some(waiting) => waiting.words(clock::uptime()),
        None => state.state.name().to_owned(),
    };
    let mut text = format!("{who}: {how}\n");
    for line in state.reason.iter().flat_map(|reason| reason.lines()) {
        let _ = writeln!(text, "    {line}");
    }
    for step in &state.steps {
        let _ = writeln!(text, "{:<6} {}", step.stage.name(), step_line(&step.record));
    }
    text
}

/// The state as JSON, one object.
pub fn json(state: Option<&State>) -> serde_json::Result<String> {
    match state {
        Some(state) => serde_json::to_string(state),
        None => Ok("null".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::status::{Stage, StepResult, Waiting};
    use crate::stage::journal::StepRecord;
    use crate::stage::report::state::StepState;

    #[test]
    fn a_failed_machine() {
        let record = StepRecord {
            step: "hosts".into(),
            result: StepResult::Failed,
            seconds: 0.0,
            detail: Some("cannot write /etc/hosts".into()),
            uptime: 1.0,
            time: 1,
        };
        let state = State {
            version: "1".into(),
            state: Verdict::Failed,
            name: "vm42".into(),
            instance: "iid-1".into(),
            reason: Some("step hosts: cannot write /etc/hosts\ncaused by: full".into()),
            waiting: None,
            steps: vec![StepState {
                stage: Stage::Local,
                record,
            }],
        };
        assert_eq!(
            text(Some(&state)),
            "vm42 (instance iid-1): failed\n    step hosts: cannot write /etc/hosts\n    \
             caused by: full\nlocal  hosts           failed     0.0 s  cannot write /etc/hosts\n"
        );
        assert_eq!(exit_code(Some(&state)), 1);
        let read: State = serde_json::from_str(&json(Some(&state)).unwrap()).unwrap();
        assert_eq!(read, state);
    }

    #[test]
    fn a_machine_that_waits_for_its_cluster() {
        let mut state = State {
            name: "vm42".into(),
            instance: "iid-1".into(),
            waiting: Some(Waiting {
                step: "join".into(),
                attempt: 4,
                next: Some(clock::uptime() + 180.5),
                reason: "the cluster of 10.120.0.1 has no quorum".into(),
            }),
            ..State::default()
        };
        assert_eq!(
            text(Some(&state)),
            "vm42 (instance iid-1): joining, attempt 4, next in 3 min, because the cluster of \
             10.120.0.1 has no quorum\n"
        );
        assert_eq!(exit_code(Some(&state)), 3);
        state.waiting.as_mut().unwrap().next = None;
        assert!(text(Some(&state)).contains("joining, attempt 4, under way, because the cluster"));
    }

    #[test]
    fn nothing_has_run() {
        assert_eq!(exit_code(None), 3);
        assert!(text(None).starts_with("firstboot has not run since the boot"));
        assert_eq!(json(None).unwrap(), "null");
    }
}

//! `imgbuild run` of a machine whose join has to wait for its cluster.

use crate::terminal::Session;
use crate::vm_folder::{LabFolder, RUN};
use rustix::process::Signal;
use testkit::{ends, has, kill, wait_for};

/// Up to the login prompt and the beginning of the join.
const UP: &str = r#"
console 'vm42 login:'
status '{"event":"stage","stage":"join","state":"started","name":"vm42"}'
status '{"event":"step","stage":"join","step":"addresses","result":"unchanged","seconds":0.5}'
"#;

fn waiting(attempt: u32, seconds: u32, reason: &str) -> String {
    format!(
        r#"status '{{"event":"waiting","stage":"join","step":"join","attempt":{attempt},"seconds":{seconds}.0,"reason":"{reason}","uptime":312.5}}'
"#
    )
}

const QUORUM: &str = "the cluster of 10.120.0.1 has no quorum";

/// The line of progress for a wait.
fn line(attempt: u32, pause: &str, reason: &str) -> String {
    format!("\n         joining, attempt {attempt}, next in {pause}, because {reason}\n")
}

#[test]
fn each_reason_is_shown_once_and_the_verdict_still_counts() {
    let lab = LabFolder::new(&["vm42"]);
    let scenario = [
        UP.to_owned(),
        waiting(1, 10, "10.120.0.1 does not answer"),
        waiting(2, 20, QUORUM),
        waiting(3, 40, QUORUM),
        r#"status '{"event":"step","stage":"join","step":"join","result":"changed","seconds":70.0}'
status '{"event":"stage","stage":"join","state":"finished"}'
status '{"event":"verdict","result":"configured"}'"#
            .to_owned(),
    ];
    lab.seeded("vm42", &scenario.concat());
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    ends(&done.out, "vm42 is configured\n");
    let lines = [
        line(1, "10 s", "10.120.0.1 does not answer"),
        line(2, "20 s", QUORUM),
    ];
    for line in &lines {
        assert_eq!(done.err.matches(line).count(), 1, "{}", done.err);
    }
    assert!(!done.err.contains("attempt 3"), "{}", done.err);
}

#[test]
fn an_announced_silence_is_none() {
    let lab = LabFolder::new(&["vm42"]);
    let verdict = r#"sleep 3
status '{"event":"verdict","result":"configured"}'"#;
    lab.seeded("vm42", &[UP, &waiting(1, 60, QUORUM), verdict].concat());
    let done = lab.run(&["--silence=1"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!done.err.contains("no word for"), "{}", done.err);
}

#[test]
fn at_the_time_limit_the_machine_is_left_to_itself() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", &[UP, &waiting(4, 180, QUORUM)].concat());
    let done = lab.run(&["--timeout=3", "--forward", "tcp:127.0.0.1:2222-:22"]);
    assert_eq!(done.code, Some(1));
    let pid = imgbuild::qemu::running(&lab.path("vm42")).unwrap();
    assert_eq!(lab.read("vm42/fake.log"), "started\n");
    let (progress, error) = done.err.split_once("imgbuild: error: ").unwrap();
    assert_eq!(
        error,
        format!(
            "vm42 is up and goes on joining its cluster by itself: attempt 4, because {QUORUM}; \
             see firstboot status\n"
        )
    );
    assert!(progress.contains(&line(4, "3 min", QUORUM)), "{progress}");
    let last = progress.lines().last().unwrap();
    assert!(
        last.starts_with("waits  vm42: firstboot, join "),
        "{progress}"
    );
    assert!(last.ends_with(&format!(" s  {QUORUM}")), "{progress}");
    assert_eq!(
        done.out,
        format!(
            "step       result         time\n\
             addresses  unchanged     0.5 s\n\
             vm42 is running, as process {pid}\n  \
             log in:     ssh -p 2222 root@127.0.0.1\n  \
             shut down:  ssh -p 2222 root@127.0.0.1 poweroff\n  \
             console:    LAB/vm42/console.log\n"
        )
    );
    assert!(lab.files("vm42").contains(&"vm42.qcow2".to_owned()));
}

/// Why, for how long still, and what Ctrl-C does, in a terminal of 80 columns.
#[test]
fn a_terminal_shows_a_countdown() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", &[UP, &waiting(4, 180, QUORUM)].concat());
    let session = Session::watched(&lab, &RUN);
    let mut shown = String::new();
    let mut until = |what: &str, is_there: &dyn Fn(&str) -> bool| {
        wait_for(what, || {
            shown.push_str(&session.shown());
            is_there(&shown)
        });
    };
    // The spinner is taken away before a line, and drawn again below it.
    for line in [
        &*format!("         joining, attempt 4, next in 3 min, because {QUORUM}\r\n"),
        "         Ctrl-C ends the watching: it goes on by itself\r\n",
    ] {
        until(line, &|shown| shown.contains(line));
    }
    until("the countdown", &|shown| {
        let after = shown.split(" s  attempt 5 in 2 min ").skip(1);
        let seconds = after.filter_map(|text| text.split_once(" s, because ")?.0.parse().ok());
        let seconds: Vec<u32> = seconds.collect();
        assert!(seconds.is_sorted_by(|one, next| one >= next), "{seconds:?}");
        seconds.first() > seconds.last()
    });
    session.types("\u{3}");
    let end = format!(" itself: attempt 4, because {QUORUM}; see firstboot status\r\n");
    until(&end, &|shown| shown.contains(&end));
    assert_eq!(session.end().code, Some(130));
    assert!(imgbuild::qemu::running(&lab.path("vm42")).is_some());
}

#[test]
fn ctrl_c_leaves_it_to_itself_too() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", &[UP, &waiting(4, 180, QUORUM)].concat());
    let words = [&RUN[..], &["--json"]].concat();
    let mut command = lab.command(&crate::program(), &words);
    let told = lab.path("told");
    let child = command
        .stdout(std::fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    // Once it has read the wait; the event comes a moment before it is acted on.
    let is_told = || {
        std::fs::read_to_string(&told)
            .unwrap()
            .contains("\"waiting\"")
    };
    wait_for("the wait", is_told);
    std::thread::sleep(std::time::Duration::from_millis(300));
    kill(child.id(), Signal::INT);
    let done = lab.finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: error: interrupted; vm42 is up and goes on joining its cluster by itself: \
             attempt 4, because {QUORUM}; see firstboot status\n"
        )
    );
    assert!(imgbuild::qemu::running(&lab.path("vm42")).is_some());
    assert_eq!(lab.read("vm42/fake.log"), "started\n");
}

/// The wait is over once the step has succeeded or failed: what hangs afterwards is no wait.
#[test]
fn a_wait_that_is_over_is_none() {
    let lab = LabFolder::new(&["vm42"]);
    let over =
        r#"status '{"event":"step","stage":"join","step":"join","result":"changed","seconds":1}'"#;
    lab.seeded("vm42", &[UP, &waiting(4, 180, QUORUM), over].concat());
    let done = lab.run(&["--timeout=3"]);
    assert_eq!(done.code, Some(1));
    has(&done.err, "error: vm42 gave no verdict within 3 s");
    assert_eq!(lab.read("vm42/fake.log"), "started\nended\n");
}

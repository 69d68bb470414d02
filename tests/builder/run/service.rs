//! `run.sh service install|remove`, with stand-ins for systemctl, loginctl and crontab.

use crate::vm_folder::{Finished, LabFolder, QMP, niceness, oom_score};
use std::fs;
use std::process::Command;
use testkit::{ends, has};

const SYSTEMCTL: &str = r#"#!/bin/sh
[ -e "$HOME/systemd" ] || { echo 'Failed to connect to bus: No medium found' >&2; exit 1; }
[ "$1" = --user ] || exit 1
shift
if [ "$1" = --quiet ]; then shift; fi
units=$HOME/.config/systemd/user
for unit in "$@"; do :; done
wants=$units/default.target.wants
case $1 in
    is-enabled) if [ -e "$wants/$unit" ]; then echo enabled; else echo disabled; exit 1; fi ;;
    enable) mkdir -p "$wants"; cat "$units/$unit" >"$wants/$unit" ;;
    disable) rm "$wants/$unit" ;;
    start)
        line=$(grep ^ExecStart= "$units/$unit")
        eval "exec setsid ${line#*=}" </dev/null >/dev/null 2>&1 &
        echo $! >"$HOME/pid" ;;
    is-active | show)
        state=inactive
        if [ -e "$HOME/pid" ] && grep -q 'State:.[^XZ]' "/proc/$(cat "$HOME/pid")/status" 2>/dev/null; then state=active; fi
        if [ "$1" = show ]; then echo "$state"; else [ "$state" = active ]; fi ;;
    stop | reset-failed | daemon-reload | show-environment) ;;
    *) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;

const LOGINCTL: &str = r#"#!/bin/sh
case "$*" in
    show-user*) if [ -e "$HOME/lingers" ]; then echo yes; else echo no; fi ;;
    *enable-linger*)
        if [ -e "$HOME/refuses" ]; then echo 'Could not enable linger: Access denied' >&2; exit 1; fi
        : >"$HOME/lingers" ;;
    *disable-linger*) rm "$HOME/lingers" ;;
esac
"#;

/// As Debian's speaks.
const CRONTAB: &str = r#"#!/bin/sh
case $1 in
    -l) if [ -e "$HOME/crontab" ]; then cat "$HOME/crontab"; else echo 'no crontab for student' >&2; exit 1; fi ;;
    -r) rm "$HOME/crontab" ;;
    *) cat "$1" >"$HOME/crontab" ;;
esac
"#;

struct Pc(LabFolder);

testkit::is_a!(Pc, LabFolder);

impl Pc {
    /// With a user's systemd, or without.
    fn new(systemd: bool) -> Self {
        let lab = LabFolder::new(&["vm42"]);
        lab.seeded("vm42", QMP);
        lab.program("systemctl", SYSTEMCTL);
        lab.program("loginctl", LOGINCTL);
        lab.program("crontab", CRONTAB);
        lab.folders(&["home"]);
        if systemd {
            lab.write("home/systemd", "");
        }
        Pc(lab)
    }

    fn run(&self, words: &[&str]) -> Finished {
        let mut command = self.command(&self.path("vm42/run.sh"), words);
        command.env("HOME", self.path("home"));
        self.finished(command.output().unwrap())
    }

    /// What a word that succeeds says.
    fn done(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, Some(0), "{words:?}: {}", done.err);
        done.out
    }

    /// Every file below the home, but for what tells the stand-ins what to play.
    fn home(&self) -> Vec<String> {
        let found = Command::new("find")
            .arg(self.path("home"))
            .args(["-type", "f", "-printf", "%P\n"])
            .output()
            .unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.retain(|name| !["systemd", "refuses", "pid"].contains(&name.as_str()));
        names.sort();
        names
    }
}

const UNIT: &str = "home/.config/systemd/user/imgbuild-vm42.service";
const INSTALLED: &str = "the systemd user unit imgbuild-vm42.service starts it with this PC";

#[test]
fn a_unit_of_systemd_where_lingering_is_allowed() {
    let pc = Pc::new(true);
    let words = [
        "service",
        "install",
        "--user-net",
        "--forward",
        "tcp:2222-:22",
        "--nice=12",
    ];
    assert_eq!(
        pc.done(&words),
        format!("vm42: installed: {INSTALLED}. Now: run.sh start\n")
    );
    let unit = pc.read(UNIT);
    assert_eq!(
        pc.hide(&unit, "LAB"),
        format!(
            "# imgbuild LAB/vm42:  --user-net --forward=tcp:2222-:22/ --nice=12 --io-class=idle \
             --oom-score=500\n\
             # Made by run.sh service install, and taken away by run.sh service remove.\n\
             [Unit]\n\
             Description=The virtual machine vm42\n\
             ConditionHost={}\n\
             ConditionPathExists=LAB/vm42/run.sh\n\
             StartLimitIntervalSec=600\n\
             StartLimitBurst=10\n\
             \n\
             [Service]\n\
             Type=exec\n\
             ExecStart=/bin/sh \"LAB/vm42/run.sh\" --log --user-net --forward=tcp:2222-:22\n\
             ExecStop=/bin/sh \"LAB/vm42/run.sh\" stop --limit 90\n\
             Restart=on-failure\n\
             RestartSec=10\n\
             TimeoutStopSec=115\n\
             KillMode=mixed\n\
             Nice=12\n\
             IOSchedulingClass=idle\n\
             CPUWeight=20\n\
             OOMScoreAdjust=500\n\
             \n\
             [Install]\n\
             WantedBy=default.target\n",
            fs::read_to_string("/proc/sys/kernel/hostname")
                .unwrap()
                .trim()
        )
    );
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--user"])
        .arg(pc.path(UNIT))
        .env("XDG_RUNTIME_DIR", pc.path("home"))
        .output();
    // Passed over where it is not installed; scripts/setup installs it.
    if let Ok(verify) = verify {
        assert!(verify.status.success(), "{}", testkit::both(&verify));
    }
    assert_eq!(pc.done(&words), format!("vm42: unchanged: {INSTALLED}\n"));
    has(&pc.done(&["status", "--json"]), "\"service\":\"systemd\"");

    // Its own options start it, and no others.
    let done = pc.run(&["start", "--user-net"]);
    assert_eq!(
        (done.code, done.err.as_str()),
        (
            Some(1),
            "vm42/run.sh: error: vm42 is a service, which starts with: --user-net \
             --forward=tcp:2222-:22 --nice=12 --io-class=idle --oom-score=500. To start it otherwise: \
             run.sh service install OPTIONS, or run.sh service remove\n"
        )
    );
    testkit::begins(&pc.done(&["start"]), "vm42: started, as process ");
    has(
        &pc.read("vm42/qemu.args"),
        ",hostfwd=tcp:127.0.0.1:2222-:22\n",
    );
    has(
        &pc.read("vm42/run.log"),
        "vm42/run.sh: the console goes to ",
    );
    let done = pc.run(&["service", "remove"]);
    assert_eq!(
        done.err,
        "vm42/run.sh: error: vm42 runs as this service. Stop it first: run.sh stop\n"
    );
    pc.done(&["stop"]);
    assert_eq!(
        pc.done(&["service", "remove"]),
        "vm42: removed: nothing starts it with this PC any more\n"
    );
    // Lingering that was switched on is switched off again.
    assert_eq!(pc.home(), [""; 0]);
    assert_eq!(
        pc.done(&["service", "remove"]),
        "vm42: unchanged: it is no service\n"
    );
}

#[test]
fn lingering_that_was_there_stays() {
    let pc = Pc::new(true);
    pc.write("home/lingers", "");
    pc.done(&["service", "install"]);
    pc.done(&["service", "remove"]);
    assert_eq!(pc.home(), ["lingers"]);
}

#[test]
fn a_service_that_does_not_start_says_why() {
    let pc = Pc::new(true);
    pc.done(&["service", "install", "--user-net", "--accel=kvm"]);
    let done = pc.run(&["start"]);
    assert_eq!(done.code, Some(1));
    ends(
        &done.err,
        "vm42/run.sh: error: KVM is not usable: LAB/kvm is not there (virtualisation is switched off \
         in the firmware setup?)\nvm42/run.sh: error: vm42 did not start\n",
    );
}

#[test]
fn another_lab_s_machine_of_the_same_name_keeps_its_unit() {
    let pc = Pc::new(true);
    pc.done(&["service", "install"]);
    let other = pc.path("other");
    fs::create_dir(&other).unwrap();
    fs::rename(pc.path("vm42"), other.join("vm42")).unwrap();
    pc.folders(&["vm42"]);
    pc.write("vm42/run.sh", "");
    let mut command = pc.command(&other.join("vm42/run.sh"), &["service", "install"]);
    command.env("HOME", pc.path("home"));
    let done = pc.finished(command.output().unwrap());
    assert_eq!(
        done.err,
        "vm42/run.sh: error: imgbuild-vm42.service belongs to another vm42, in LAB/vm42. Remove that \
         first: LAB/vm42/run.sh service remove\n"
    );
}

#[test]
fn a_line_in_the_crontab_where_there_is_no_systemd_or_no_lingering() {
    for refuses in [false, true] {
        let pc = Pc::new(refuses);
        pc.write("home/refuses", "");
        // Without an end, as no editor leaves it, and with what cron reads in its own way.
        let mine = "MAILTO=me\n@daily echo \\% there  \n# imgbuild vm42\n";
        pc.write("home/crontab", mine);
        let install = ["service", "install", "--user-net"];
        let done = pc.run(&install);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let user =
            String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let user = user.trim();
        let why = match refuses {
            false => {
                format!("there is no systemd for {user} here (systemctl --user does not answer)")
            }
            true => format!(
                "{user} may not let services run without a login (loginctl enable-linger: Could not \
                 enable linger: Access denied)"
            ),
        };
        assert_eq!(
            done.err,
            format!(
                "vm42/run.sh: no systemd user unit: {why}. So nothing starts it again after a crash, \
                 and it has no CPU weight\n"
            )
        );
        assert_eq!(
            done.out,
            format!(
                "vm42: installed: a line in the crontab of {user} starts it with this PC. Now: run.sh \
                 start\n"
            )
        );
        let options = "--user-net --nice=10 --io-class=idle --oom-score=500";
        let line = "@reboot /bin/sh 'LAB/vm42/run.sh' start --log";
        let crontab = pc.hide(&pc.read("home/crontab"), "LAB");
        assert_eq!(
            crontab,
            format!(
                "{mine}{line} {options} # imgbuild LAB/vm42:  --user-net/ --nice=10 --io-class=idle \
                 --oom-score=500\n"
            )
        );
        testkit::begins(
            &pc.done(&install),
            "vm42: unchanged: a line in the crontab of ",
        );
        assert_eq!(pc.hide(&pc.read("home/crontab"), "LAB"), crontab);
        has(&pc.done(&["status", "--json"]), "\"service\":\"cron\"");

        // What cron does.
        let text = pc.read("home/crontab");
        let command = text
            .lines()
            .last()
            .unwrap()
            .strip_prefix("@reboot ")
            .unwrap();
        let mut cron = pc.command("/bin/sh".as_ref(), &["-c", command]);
        let done = cron.env("HOME", pc.path("home")).output().unwrap();
        assert_eq!(testkit::both(&done), "");
        let pid = imgbuild::qemu::running(&pc.path("vm42")).unwrap();
        let own = std::process::id();
        assert_eq!(niceness(pid), niceness(own).max(10));
        assert_eq!(oom_score(pid), oom_score(own).max(500));
        pc.done(&["stop"]);

        pc.done(&["service", "remove"]);
        assert_eq!(pc.read("home/crontab"), mine);
        assert_eq!(pc.home(), ["crontab"]);
        assert!(!pc.names("vm42").iter().any(|name| name.contains("crontab")));
    }
}

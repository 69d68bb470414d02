//! A lab folder with a base that is no real image, and programs that stand in for QEMU's.

use crate::contract::{CONTRACT, Seed, read_disk};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use testkit::{Folder, kill, sha256, write_program};

/// What run.sh may use besides QEMU.
const PROGRAMS: [&str; 27] = [
    "base64",
    "cat",
    "cp",
    "date",
    "dirname",
    "flock",
    "grep",
    "id",
    "ionice",
    "ln",
    "mkdir",
    "mv",
    "nice",
    "perl",
    "readlink",
    "renice",
    "rm",
    "rmdir",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "stat",
    "sync",
    "tail",
    "tr",
    "uname",
];

/// Stands in for qemu-img: leaves its arguments in the file that it should make.
const FAKE_QEMU_IMG: &str = r#"#!/bin/sh
line="$*"
if [ "$1" = info ]; then
    shift $(($# - 1))
    read -r line <"$1" || :
    printf 'image: %s\nfile format: qcow2\n' "$1"
    case $line in *" -b "*) line=${line#*" -b "}; printf 'backing file: %s\n' "${line%% *}" ;; esac
    exit
fi
while [ $# -gt 2 ]; do shift; done
printf '%s\n' "$line" >"$1"
"#;

/// Stands in for QEMU: leaves its arguments, plays the guest of `scenario`, waits to be ended. Its logs go
/// where its arguments say; `hold` says to the keeper that a disk is full, as QEMU 7.2 was seen to say it,
/// and waits until it is told to go on.
const FAKE_QEMU: &str = r#"#!/bin/sh
if [ "$*" = "-netdev help" ]; then echo stream; exit 0; fi
trap 'echo ended >>fake.log; rm -f qemu.pid; exit 0' TERM
printf '%s\n' "$@" >qemu.args
echo $$ >qemu.pid
echo started >>fake.log
console() { printf '%s\r\n' "$@" >&7; }
status() { printf '%s\n' "$@" >&8; }
error='"data": {"device": "disk", "nospace": true, "operation": "write", "action": "stop", "reason": "No space left on device"}'
hold() {
    printf '{"timestamp": {"seconds": 1}, "event": "BLOCK_IO_ERROR", %s}\n{"event": "STOP"}\n' "$error" >&6
    echo io-error >state
    until read -r order <&6 && [ "$order" != "${order#*cont}" ]; do :; done
    echo running >state
    printf '{"timestamp": {"seconds": 1}, "event": "RESUME"}\n{"return": {}}\n' >&6
}
. ./scenario
count=0
while [ $count -lt 1200 ] && [ ! -e off ]; do
    sleep 0.05
    count=$((count + 1))
done
"#;

/// Stands in for QEMU's control socket, as QEMU 7.2 was seen to speak. `state` holds what the machine's
/// is; with a file `deaf` its guest hears no power button.
const PLAY_QMP: &str = r#"#!/usr/bin/perl
use strict;
use warnings;
use Socket;
my $parent = getppid;
unlink 'qmp.sock';
socket(my $door, PF_UNIX, SOCK_STREAM, 0) or die $!;
bind($door, sockaddr_un('qmp.sock')) or die $!;
listen($door, 1) or die $!;
sub off { open(my $off, '>', 'off') or die $!; exit }
while (getppid == $parent) {
    my $ready = '';
    vec($ready, fileno $door, 1) = 1;
    next if !select($ready, undef, undef, 0.2);
    accept(my $peer, $door) or die $!;
    syswrite $peer, qq({"QMP": {"version": {}, "capabilities": ["oob"]}}
);
    while (my $line = <$peer>) {
        my ($order) = $line =~ /"execute":\s*"([^"]*)"/ or die $line;
        open(my $log, '>>', 'qmp.log') or die $!;
        print $log "$order
" if $order ne 'qmp_capabilities';
        close $log;
        my $state = 'running';
        if (open(my $file, '<', 'state')) { chomp($state = <$file>) }
        my $running = $state eq 'running' ? 'true' : 'false';
        my $answer = '{}';
        $answer = qq({"status": "$state", "singlestep": false, "running": $running}) if $order eq 'query-status';
        $answer = '[{"frontend-open": true, "filename": "disconnected:unix:console.sock,server=on", "label": "console"}]'
            if $order eq 'query-chardev';
        syswrite $peer, qq({"timestamp": {"seconds": 1}, "event": "POWERDOWN"}
) if $order eq 'system_powerdown';
        syswrite $peer, qq({"return": $answer}
);
        off() if $order eq 'quit' || $order eq 'system_powerdown' && $state eq 'running' && !-e 'deaf';
    }
}
"#;

/// A guest in a machine that has a control socket.
pub(crate) const QMP: &str = "rm -f off\nplay-qmp 6>&- 7>&- 8>&- 9>&- &\n";

/// `imgbuild run` on a PC without a bridge.
pub(crate) const RUN: [&str; 3] = ["run", "vm42", "--user-net"];

/// A guest that firstboot configures.
pub(crate) const CONFIGURED: &str = r#"
console '[    0.000000] Linux version 6.12'
status '{"event":"stage","stage":"local","state":"started","name":"vm42","instance":"i","version":"0"}'
status '{"event":"step","stage":"local","step":"hostname","result":"changed","seconds":0.25,"detail":"vm42","uptime":4}'
status '{"event":"step","stage":"local","step":"network","result":"unchanged","seconds":1.5,"uptime":5}'
status '{"event":"stage","stage":"local","state":"finished","name":"vm42","instance":"i","version":"0"}'
status '{"event":"stage","stage":"join","state":"started","name":"vm42","instance":"i","version":"0"}'
status '{"event":"stage","stage":"join","state":"finished","name":"vm42","instance":"i","version":"0"}'
status '{"event":"verdict","result":"configured","name":"vm42","instance":"i","uptime":9}'
"#;

/// A temporary folder that is a lab; what runs in it is ended when it goes.
pub(crate) struct LabFolder(Folder);

testkit::is_a!(LabFolder, Folder);

impl LabFolder {
    /// A lab of these machines in `example.org`, each with a root password.
    pub(crate) fn new(names: &[&str]) -> Self {
        // A blank in the path, because students have such folders.
        let lab = LabFolder(Folder::named("the lab "));
        lab.write("base.qcow2", "this stands in for an image\n");
        lab.write_manifest("this stands in for an image\n", 4 << 30);
        lab.secret("root-password", "geheim geheim\n");
        let vms: String = names
            .iter()
            .map(|name| format!("  - name: {name}\n"))
            .collect();
        lab.write(
            "lab.yaml",
            format!(
                "domain: example.org\ndefaults:\n  disk: 8G\n  root_password_file: root-password\n  ssh_password: true\n\
                 vms:\n{vms}"
            ),
        );
        fs::create_dir(lab.path("bin")).unwrap();
        for program in PROGRAMS {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let found = found.iter().find(|file| file.is_file()).unwrap();
            symlink(found, lab.path("bin").join(program)).unwrap();
        }
        lab.program("qemu-img", FAKE_QEMU_IMG);
        lab.program("qemu-system-x86_64", FAKE_QEMU);
        lab.program("play-qmp", PLAY_QMP);
        lab
    }

    /// Gives the machines of the lab a cluster, with a password and more keys.
    pub(crate) fn with_cluster(&self, more: &str) {
        self.secret("cluster-password", "cluster geheim\n");
        let text = self.read("lab.yaml");
        let fingerprint = vec!["AB"; 32].join(":");
        let cluster = format!(
            "  cluster:\n    peers: [{{address: 10.120.0.1, fingerprint: \"{fingerprint}\"}}]\n    \
             password_file: cluster-password\n{more}"
        );
        self.write(
            "lab.yaml",
            text.replace("vms:\n", &format!("{cluster}vms:\n")),
        );
    }

    /// The manifest that `imgbuild base` would write for a base of this content.
    pub(crate) fn write_manifest(&self, base: &str, virtual_bytes: u64) {
        self.write_manifest_of(base.as_bytes(), virtual_bytes);
    }

    /// [`LabFolder::write_manifest`] for a base that is no text.
    pub(crate) fn write_manifest_of(&self, base: &[u8], virtual_bytes: u64) {
        let sha256 = sha256(base);
        let manifest = format!(
            r#"{{"image": {{"sha256": "{sha256}", "bytes": {}, "virtual_bytes": {virtual_bytes}}},
                "firstboot": {{"version": "{}", "contract": {CONTRACT}}}}}"#,
            base.len(),
            env!("CARGO_PKG_VERSION")
        );
        self.write("base.manifest.json", &manifest);
    }

    /// Lets a program of this PC run under QEMU's name.
    pub(crate) fn symlink_as_qemu(&self, program: &str) {
        let real = fs::read(self.path("bin").join(program)).unwrap();
        write_program(&self.path("bin/qemu-system-x86_64"), &real);
    }

    /// Takes a program away.
    pub(crate) fn without(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    /// A command in the lab's folder that finds only the lab's programs.
    pub(crate) fn command(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs imgbuild.
    pub(crate) fn imgbuild(&self, words: &[&str]) -> Finished {
        self.finish(self.command(&crate::program(), words))
    }

    /// Runs `imgbuild run vm42` with further words.
    pub(crate) fn run(&self, more: &[&str]) -> Finished {
        self.imgbuild(&[&RUN[..], more].concat())
    }

    /// Runs a machine's run.sh from elsewhere.
    pub(crate) fn run_sh(&self, name: &str, words: &[&str]) -> Finished {
        let mut command = self.command(&self.path(name).join("run.sh"), words);
        command.current_dir("/");
        self.finish(command)
    }

    fn finish(&self, mut command: Command) -> Finished {
        self.finished(command.output().unwrap())
    }

    /// What a program printed, with LAB for the lab's folder.
    pub(crate) fn finished(&self, output: Output) -> Finished {
        let text = |bytes| self.hide(&String::from_utf8(bytes).unwrap(), "LAB");
        Finished {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Which files a machine's folder has, without those of the stand-in.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        let ours = ["fake.log", "qemu.args", "scenario", "qemu.pid", "run.lock"];
        let mut names = self.names(name);
        names.retain(|name| !ours.contains(&name.as_str()));
        names
    }

    /// What the guest reads from a machine's seed disk.
    pub(crate) fn seed_of(&self, name: &str) -> Seed {
        read_disk(&self.path(&format!("{name}/seed.img")))
    }

    /// Seeds a machine whose PC has no KVM, and lets its guest do this.
    pub(crate) fn seeded(&self, name: &str, scenario: &str) {
        let done = self.imgbuild(&["seed", name]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        self.replace(
            name,
            "kvm=/dev/kvm\n",
            &format!("kvm='{}'\n", self.path("kvm").display()),
        );
        self.write(&format!("{name}/scenario"), scenario);
    }

    /// Changes a line of a machine's run.sh.
    pub(crate) fn replace(&self, name: &str, old: &str, new: &str) {
        let file = format!("{name}/run.sh");
        let text = self.read(&file);
        assert!(text.contains(old), "{old}");
        write_program(&self.path(&file), text.replace(old, new).as_bytes());
    }
}

impl Drop for LabFolder {
    /// Ends the stand-ins that a test leaves running.
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path("")).unwrap().flatten() {
            if let Some(pid) = imgbuild::qemu::running(&entry.path()) {
                kill(pid, Signal::KILL);
            }
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// The error, without the program's name and what was said before.
    pub(crate) fn error(&self) -> &str {
        self.err.split_once("imgbuild: error: ").expect(&self.err).1
    }
}

/// How far a process steps back for others, proc_pid_stat(5).
pub(crate) fn niceness(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_the_name) = stat.rsplit_once(") ").unwrap();
    after_the_name.split(' ').nth(16).unwrap().parse().unwrap()
}

/// How much sooner than others a process goes when memory runs out.
pub(crate) fn oom_score(pid: u32) -> i32 {
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    score.trim().parse().unwrap()
}

//! Running programs, in this one place: an error has the whole command line and the program's own
//! words.

use crate::system::interrupt;
use crate::system::text;
use anyhow::{Context, Result};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
pub(crate) use std::process::Command;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many of a program's last lines an error shows.
const TAIL_LINES: usize = 20;
/// How long a program may take to clean up after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// Where a program is, or an error that names the Debian package which has it.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // mke2fs and friends live in sbin, which an ordinary user's PATH on Debian lacks.
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
        .with_context(|| match package_of(program) {
            Some(package) => {
                format!("{program} is not installed. On Debian: sudo apt install {package}")
            }
            None => format!("{program} is not installed"),
        })
}

/// The command line of an installed program, still without arguments.
pub(crate) fn command(program: &str) -> Result<Command> {
    Ok(Command::new(find(program)?))
}

/// A program that gets SIGTERM when this one is killed, and then removes what it has made
/// outside of the work folder.
pub(crate) fn ending_with_this(program: &str) -> Result<Command> {
    let program = find(program)?;
    // Of util-linux, which every Debian has; without it only a kill -9 leaves something behind.
    let Ok(mut command) = command("setpriv") else {
        return Ok(Command::new(program));
    };
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    Ok(command)
}

/// The Debian package that ships a program this project calls.
pub(crate) fn package_of(program: &str) -> Option<&'static str> {
    Some(match program {
        "mmdebstrap" => "mmdebstrap",
        "qemu-img" => "qemu-utils",
        "qemu-system-x86_64" => "qemu-system-x86",
        "newuidmap" | "newgidmap" => "uidmap",
        "gpg" => "gnupg",
        "gpgv" => "gpgv",
        "curl" => "curl",
        "getent" => "libc-bin",
        _ => return None,
    })
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// A command line as a shell would take it; of a whole script in it the first line.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| match word.to_string_lossy().split_once('\n') {
            Some((first, _)) => quote(&format!("{first} …")),
            None => quote(&word.to_string_lossy()),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Quotes a word for a POSIX shell where it needs it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A program that did not exit 0.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The whole command line.
    line: String,
    status: ExitStatus,
    /// The last lines that it printed.
    words: Vec<String>,
}

impl Failed {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it; `None` when it exited.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Whether these words are among the last that it printed.
    pub(crate) fn said(&self, words: &str) -> bool {
        self.words.iter().any(|line| line.contains(words))
    }

    /// The last line that it printed.
    pub(crate) fn last_words(&self) -> &str {
        self.words.last().map_or("nothing was said", String::as_str)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = text::indented(&self.words);
        write!(
            f,
            "a program failed ({}): {}{words}",
            self.status, self.line
        )
    }
}

impl std::error::Error for Failed {}

/// Starts a program that goes on beside this one; what it says goes to `log`.
pub(crate) fn start(command: &mut Command, log: &File) -> Result<Child> {
    let line = command_line(command);
    let mut start = || -> std::io::Result<Child> {
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
    };
    start().with_context(|| format!("cannot start: {line}"))
}

/// Runs a program to its end and returns its standard output. When it does not exit 0, the error
/// is [`Failed`].
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = command_line(command);
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start: {line}"))?;
    interrupt::check()?;
    let words = String::from_utf8_lossy(&result.stderr);
    let words = words.lines().map(str::to_owned);
    exited(line, result.status, words)?;
    Ok(result.stdout)
}

/// Runs a program in a process group of its own and hands each line it prints (both
/// streams, without control characters) to `each`. On Ctrl-C the group gets SIGTERM, then SIGKILL.
pub(crate) fn stream(command: &mut Command, mut each: impl FnMut(&str)) -> Result<()> {
    let each = |line: &str| {
        each(line);
        true
    };
    watch(command, each, || {})
}

/// As [`stream`], and calls `meanwhile` several times a second, for a program that is silent.
/// `each` says whether a line belongs to the words that an error shows.
pub(crate) fn watch(
    command: &mut Command,
    mut each: impl FnMut(&str) -> bool,
    mut meanwhile: impl FnMut(),
) -> Result<()> {
    let line = command_line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start: {line}"))?;
    let (send, receive) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|s| read_lines(s, send.clone())),
        child.stderr.take().map(|s| read_lines(s, send)),
    ];
    let mut tail = std::collections::VecDeque::new();
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if each(&line.words) && line.stays {
                    if tail.len() == TAIL_LINES {
                        tail.pop_front();
                    }
                    tail.push_back(line.words);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        meanwhile();
        if interrupt::requested() {
            end_group(&mut child, GRACE);
            return Err(interrupt::Interrupted::default().into());
        }
    }
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for: {line}"))?;
    interrupt::check()?;
    exited(line, status, tail.into_iter())
}

/// Ends a child that leads its own process group: SIGTERM, then SIGKILL after `grace`.
fn end_group(child: &mut Child, grace: Duration) {
    let group = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
}

/// A line that a program printed.
struct Line {
    words: String,
    /// Whether it was ended by LF. Those that a program will write over, such as a percentage,
    /// are ended by CR alone.
    stays: bool,
}

fn read_lines(
    stream: impl Read + Send + 'static,
    send: mpsc::Sender<Line>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(chunk) = reader.fill_buf() {
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = end.map_or(chunk.len(), |at| at + 1);
            line.extend_from_slice(&chunk[..taken]);
            let stays = end.is_some_and(|at| chunk[at] == b'\n');
            reader.consume(taken);
            if end.is_some() && !say(&mut line, stays, &send) {
                return;
            }
        }
        say(&mut line, true, &send);
    })
}

/// Hands a line on, unless it is empty; false when nobody listens any more.
fn say(line: &mut Vec<u8>, stays: bool, send: &mpsc::Sender<Line>) -> bool {
    let words = text::plain(&String::from_utf8_lossy(line));
    line.clear();
    words.is_empty() || send.send(Line { words, stays }).is_ok()
}

fn exited(line: String, status: ExitStatus, words: impl Iterator<Item = String>) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let mut words: Vec<String> = words.filter(|line| !line.trim().is_empty()).collect();
    words.drain(..words.len().saturating_sub(TAIL_LINES));
    Err(Failed {
        line,
        status,
        words,
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Vec<String>, Result<()>) {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        let result = stream(command.args(["-c", script]), |line| {
            lines.push(line.to_owned());
        });
        (lines, result)
    }

    #[test]
    fn a_line_that_is_written_over_is_told_but_not_kept() {
        let script = r"printf '    (1/100%%)\r    (2/100%%)\r\none\n\n\033[1mtwo'; exit 3";
        let (lines, result) = shell(script);
        assert_eq!(lines, ["    (1/100%)", "    (2/100%)", "one", "two"]);
        let text = result.unwrap_err().to_string();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("a program failed (exit status: 3): /bin/sh -c "));
        assert_eq!(rest, "    one\n    two");
    }

    #[test]
    fn of_a_script_the_first_line_is_shown() {
        let mut command = Command::new("sh");
        command.args(["-c", "# What it does\nexit 1\n", "a b"]);
        assert_eq!(command_line(&command), "sh -c '# What it does …' 'a b'");
    }

    #[test]
    fn an_error_shows_the_last_lines_only() {
        let (lines, result) =
            shell("n=0; while [ $n -lt 50 ]; do n=$((n+1)); echo $n; done; exit 1");
        assert_eq!(lines.len(), 50);
        let text = result.unwrap_err().to_string();
        assert_eq!(text.lines().count(), 1 + TAIL_LINES);
        assert!(text.ends_with("\n    50"), "{text}");
    }
}

//! Secrets that are asked for: at the terminal without showing what is typed, or from standard
//! input for scripts.

use crate::system::interrupt;
use anyhow::{Context, Result, bail};
use firstboot::contract::seed::Secret;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::io::{IsTerminal, Read, Stdin, Write};

const MAX_BYTES: usize = 4096;

/// Where secrets come from.
#[derive(Debug)]
pub(crate) enum Answers {
    /// A person at the terminal of standard input.
    Terminal,
    /// The lines of standard input, in order.
    Lines(std::vec::IntoIter<Secret>),
    /// What a file holds, once.
    File(Option<Secret>),
    /// Nobody can be asked.
    Nobody,
}

impl Answers {
    /// Standard input, where it is a terminal.
    pub(crate) fn at_the_terminal() -> Self {
        match std::io::stdin().is_terminal() {
            true => Answers::Terminal,
            false => Answers::Nobody,
        }
    }

    /// The lines of standard input, read now. Fails when there is none.
    pub(crate) fn from_stdin() -> Result<Self> {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(MAX_BYTES as u64)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        interrupt::check()?;
        let Ok(text) = String::from_utf8(bytes) else {
            bail!("what came on standard input is not UTF-8 text");
        };
        let lines: Vec<Secret> = text.lines().map(Secret::new).collect();
        if lines.first().is_none_or(|line| line.reveal().is_empty()) {
            bail!("--password-stdin: standard input has no password in its first line");
        }
        Ok(Answers::Lines(lines.into_iter()))
    }

    /// A single one, which a file holds.
    pub(crate) fn one(secret: Secret) -> Self {
        Answers::File(Some(secret))
    }

    /// Whether nobody answers but a file.
    pub(crate) fn are_of_a_file(&self) -> bool {
        matches!(self, Answers::File(_))
    }

    /// Whether a wrong answer can be given once more.
    pub(crate) fn can_be_asked_again(&self) -> bool {
        matches!(self, Answers::Terminal)
    }

    /// The next answer; `None` when there is no more.
    pub(crate) fn next(&mut self, question: &str) -> Result<Option<Secret>> {
        match self {
            Answers::Terminal => Ok(Some(ask(question)?)),
            Answers::Lines(lines) => Ok(lines.next().filter(|line| !line.reveal().is_empty())),
            Answers::File(secret) => Ok(secret.take()),
            Answers::Nobody => Ok(None),
        }
    }
}

/// Asks at the terminal for a yes; anything else is a no. `None` where nobody can be asked.
pub(crate) fn yes(question: &str) -> Result<Option<bool>> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(None);
    }
    let mut error = std::io::stderr();
    write!(error, "{question} [y/N] ")
        .and_then(|()| error.flush())
        .context("cannot ask at the terminal")?;
    let answer = line(&input)?;
    Ok(Some(matches!(answer.reveal().trim(), "y" | "Y" | "yes")))
}

/// Why an answer cannot be what was asked for, whoever is asked: an arrow key or a Ctrl-V gets into a
/// line that is not shown, and nobody sees it.
pub(crate) fn cannot_be(answer: &Secret) -> Option<&'static str> {
    let unseen = |c: char| c.is_control() || c == '\u{feff}';
    let control = answer.reveal().contains(unseen);
    control.then_some(
        "it has a control character, such as a tab, an arrow key or a byte order mark, which is in no password; nobody \
         was asked",
    )
}

/// Shows a question on standard error and reads a line from the terminal of standard input,
/// which does not show it. Ctrl-C and Ctrl-\ leave the terminal as it was.
fn ask(question: &str) -> Result<Secret> {
    let input = std::io::stdin();
    let silence =
        Silence::begin(&input).context("cannot keep the terminal from showing what is typed")?;
    let mut error = std::io::stderr();
    write!(error, "{question}: ")
        .and_then(|()| error.flush())
        .context("cannot ask at the terminal")?;
    let line = line(&input);
    drop(silence);
    // The Enter was not shown either.
    let _ = writeln!(error);
    line
}

fn line(input: &Stdin) -> Result<Secret> {
    let mut bytes = Vec::new();
    loop {
        interrupt::check()?;
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let mut ready = [PollFd::new(input, PollFlags::IN)];
        match poll(&mut ready, Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for the terminal"),
        }
        let mut buffer = [0; MAX_BYTES];
        // Not through std's buffer: what is left in it would be a secret that nobody removes.
        let count =
            rustix::io::read(input, &mut buffer).context("cannot read from the terminal")?;
        bytes.extend_from_slice(&buffer[..count]);
        if count == 0 {
            // Ctrl-D.
            bail!("nothing was typed, so nothing was made");
        }
        if bytes.last() == Some(&b'\n') || bytes.len() > MAX_BYTES {
            break;
        }
    }
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("what was typed is not UTF-8 text");
    };
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silence<'a> {
    input: &'a Stdin,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(input: &'a Stdin) -> rustix::io::Result<Self> {
        let before = rustix::termios::tcgetattr(input)?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL);
        silent
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        // Ctrl-Z would leave a shell behind that shows nothing. 0 is no key (termios(3)).
        silent.special_codes[SpecialCodeIndex::VSUSP] = 0;
        // What was typed before the question was no answer to it.
        rustix::termios::tcsetattr(input, OptionalActions::Flush, &silent)?;
        Ok(Silence { input, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.input, OptionalActions::Now, &self.before);
    }
}

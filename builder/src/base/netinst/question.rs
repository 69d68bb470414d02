//! The installer's screen: how far it is, and whether it asks something.
//!
//! With the text frontend (`DEBIAN_FRONTEND=text`) a progress bar is a line such as
//! `Scanning installation media  ... 2%... 11%`, and a question ends with a prompt such as
//! `Prompt: '?' for help>` or `[Press enter to continue]`.

/// What stands between a progress line's name and its numbers.
const BAR: &str = "  ...";
/// The first line of the installer itself.
const STARTED: &str = "Starting system log";

/// The last percentage of a progress line, from 0 to 1.
pub(crate) fn progress(line: &str) -> Option<f64> {
    let (_, numbers) = line.split_once("  ... ")?;
    let last = numbers.trim_end().rsplit("... ").next()?;
    let percent: f64 = last.strip_suffix('%')?.parse().ok()?;
    // `NaN%` is a number to the parser.
    percent
        .is_finite()
        .then(|| (percent / 100.0).clamp(0.0, 1.0))
}

/// The text of the question that the last line is the prompt of, where it is one: `Prompt: …>`,
/// `[Press enter to continue]`, `Root password:`. Its line may be ended, although nobody has
/// pressed a key: the installer reads a serial port that is a file. The name of a progress line
/// may stand alone too, until its first number; it ends in none of these.
pub(crate) fn question(lines: &[String]) -> Option<Vec<String>> {
    let (prompt, lines) = lines.split_last()?;
    // The kernel's and the firmware's lines may end so too.
    let begin = lines
        .iter()
        .rposition(|line| line.contains(BAR) || line.starts_with(STARTED))
        .map(|at| at + 1)?;
    if prompt.contains(BAR) || !prompt.trim_end().ends_with([':', '>', ']', '?']) {
        return None;
    }
    let text: Vec<String> = lines[begin..]
        .iter()
        .filter(|line| !line.trim_matches(['-', ' ']).is_empty())
        .cloned()
        .collect();
    // A password's prompt is the question.
    let says_nothing = ["Prompt:", "[Press enter"]
        .iter()
        .any(|start| prompt.trim_start().starts_with(start));
    let asked = (!says_nothing || text.is_empty()).then(|| prompt.to_owned());
    Some(text.into_iter().chain(asked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_percentage_counts() {
        for (line, expected) in [
            (
                "Loading additional components  ... 2%... 11%... 20%",
                Some(0.2),
            ),
            ("Detecting link on eth0; please wait...  ... 0%", Some(0.0)),
            ("Partitions formatting  ... 33%", Some(0.33)),
            ("Loading additional components", None),
            ("Choose ... 20", None),
            ("Partitions formatting  ... NaN%", None),
        ] {
            assert_eq!(progress(line), expected, "{line}");
        }
    }

    #[test]
    fn a_question_is_what_stands_above_its_prompt() {
        let menu = "Partitions formatting  ... 33%\nDebian installer main menu\n\
            --------------------------\n\nChoose the next step:\n  1: Detect disks,\n\
            Prompt: '?' for help, default=8>";
        assert_eq!(
            question(&lines(menu)).unwrap(),
            [
                "Debian installer main menu",
                "Choose the next step:",
                "  1: Detect disks,"
            ]
        );
        let password = "Starting system log daemon: syslogd\nSet up users\nRoot password:";
        assert_eq!(
            question(&lines(password)).unwrap(),
            ["Set up users", "Root password:"]
        );
        let note = "Checking the mirror  ... 25%\nBad mirror\n[Press enter to continue]";
        assert_eq!(question(&lines(note)).unwrap(), ["Bad mirror"]);
    }

    #[test]
    fn work_is_no_question() {
        let log = "Starting system log daemon: syslogd\nLoading  ... 2%... 100%\n";
        for last in [
            "Loading additional components  ... 2%",
            "Detecting disks  ...",
            // Seen to stand like this for ten seconds on a machine with much else to do.
            "Detecting hardware to find installation media",
        ] {
            assert_eq!(question(&lines(&format!("{log}{last}"))), None, "{last}");
        }
        assert_eq!(question(&lines(log)), None);
        // Before the installer has begun, it is the firmware or the kernel.
        assert_eq!(question(&lines("SeaBIOS\nvda: vda1 [sda]")), None);
        assert_eq!(question(&[]), None);
    }
}

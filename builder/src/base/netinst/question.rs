//! The installer's screen: how far it is, and whether it asks something.
//!
//! With the text frontend (`DEBIAN_FRONTEND=text`) a progress bar is a line such as
//! `Scanning installation media  ... 2%... 11%`, and a question ends with `Prompt: ` and no
//! end of line.

/// Beginnings of the open line under a question (cdebconf's text frontend).
const PROMPTS: [&str; 2] = ["Prompt: ", "[Press enter to continue"];

/// The last percentage of a progress line, from 0 to 1.
pub fn progress(line: &str) -> Option<f64> {
    let (_, numbers) = line.split_once("  ... ")?;
    let last = numbers.trim_end().rsplit("... ").next()?;
    let percent: f64 = last.strip_suffix('%')?.parse().ok()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

/// The text of the question that the last, open line is the prompt of.
pub fn question(lines: &[String]) -> Option<Vec<String>> {
    let (prompt, before) = lines.split_last()?;
    if !PROMPTS
        .iter()
        .any(|start| prompt.trim_start().starts_with(start.trim_end()))
    {
        return None;
    }
    let begin = before
        .iter()
        .rposition(|line| progress(line).is_some() || line.starts_with("Starting system log"))
        .map_or(0, |at| at + 1);
    let text: Vec<String> = before[begin..]
        .iter()
        .filter(|line| !line.trim_matches(['-', ' ']).is_empty())
        .cloned()
        .collect();
    Some(text)
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
        ] {
            assert_eq!(progress(line), expected, "{line}");
        }
    }

    #[test]
    fn a_question_is_what_stands_above_its_prompt() {
        let text = "Partitions formatting  ... 33%\n\
            Debian installer main menu\n--------------------------\n\nChoose the next step:\n  \
            1: Detect disks,\nPrompt: '?' for help, default=8>";
        assert_eq!(
            question(&lines(text)).unwrap(),
            [
                "Debian installer main menu",
                "Choose the next step:",
                "  1: Detect disks,"
            ]
        );
        assert_eq!(question(&lines("Installing  ... 3%")), None);
        assert_eq!(question(&lines("Prompt: old\nInstalling  ... 3%")), None);
        assert_eq!(question(&[]), None);
        assert!(question(&lines("Bad mirror\n[Press enter to continue]")).is_some());
    }
}

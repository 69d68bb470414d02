//! Secret files: passwords and OpenVPN configurations. Only their owner may read them.

use crate::system::given::{self, Unreadable};
use crate::system::program;
use anyhow::{Result, anyhow};
use firstboot::contract::seed::Secret;
use firstboot::contract::values::{Password, UserPass};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why a secret file cannot be used, and what to do; neither holds any of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Reads a password: one line, without its line end. Fails when others than the owner can
/// read the file, or when it holds no password or more than one line.
pub fn read_secret(path: &Path) -> Result<Secret> {
    read_password(path, path).map_err(|refusal| error(path, &refusal))
}

/// As [`read_secret`], for a file that holds a ticket.
pub fn read_ticket(path: &Path) -> Result<Secret> {
    one_line(path, path, "ticket").map_err(|refusal| error(path, &refusal))
}

pub(super) fn error(path: &Path, refusal: &Refusal) -> anyhow::Error {
    let Refusal { message, hint } = refusal;
    anyhow!(
        "cannot read the secret file {}: {message}\n  right: {hint}",
        path.display()
    )
}

/// Reads a file with a password; `shown` is the path for messages.
pub(super) fn read_password(path: &Path, shown: &Path) -> Result<Secret, Refusal> {
    one_line(path, shown, "password")
}

/// The one line of a file; `what` it is, for messages.
fn one_line(path: &Path, shown: &Path, what: &str) -> Result<Secret, Refusal> {
    let text = whole(path, shown)?;
    let line = text.reveal().trim_end_matches(['\n', '\r']);
    let refuse = |message: &str| Refusal {
        message: format!("{} {message}", shown.display()),
        hint: format!("the {what} alone in its first line"),
    };
    if line.is_empty() {
        Err(refuse(&format!("holds no {what}")))
    } else if line.contains(['\n', '\r']) {
        Err(refuse("has more than one line"))
    } else if line.parse::<Password>().is_err() {
        Err(refuse("holds a control character"))
    } else if firstboot::contract::seed::is_removed(&Secret::new(line)) {
        Err(refuse(&format!(
            "holds nothing but `x`, which stands in a seed for a {what} that was removed"
        )))
    } else {
        Ok(Secret::new(line))
    }
}

/// Reads a user's name and password, one a line; `shown` is the path for messages.
pub(super) fn user_pass(path: &Path, shown: &Path) -> Result<Secret, Refusal> {
    let text = whole(path, shown)?;
    let lines: Vec<&str> = text.reveal().lines().collect();
    match lines.join("\n").parse::<UserPass>() {
        Ok(lines) => Ok(lines.into()),
        Err(_) => Err(Refusal {
            message: format!("{} does not hold two lines", shown.display()),
            hint: "the user's name in the first line, the password in the second".to_owned(),
        }),
    }
}

/// Reads a whole secret file that is text; `shown` is the path for messages.
fn whole(path: &Path, shown: &Path) -> Result<Secret, Refusal> {
    match String::from_utf8(bytes(path, shown)?) {
        // Nobody sees it, and nobody types it with the password.
        Ok(text) if text.starts_with('\u{feff}') => Err(Refusal {
            message: format!(
                "{} begins with a byte order mark, which editors on Windows write",
                shown.display()
            ),
            hint: format!(
                "the file without it: sed -i '1s/^\\xEF\\xBB\\xBF//' {}",
                program::quote(&shown.to_string_lossy())
            ),
        }),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Refusal {
            message: format!("{} is not UTF-8 text", shown.display()),
            hint: "a text file in UTF-8".to_owned(),
        }),
    }
}

/// Reads a whole secret file; `shown` is the path for messages. The mode is that of the
/// opened file, so that nobody can put another one in its place in between.
pub(super) fn bytes(path: &Path, shown: &Path) -> Result<Vec<u8>, Refusal> {
    read(path, shown, true)
}

/// As [`bytes`], for a file that others may read, such as a certificate.
pub(super) fn open_bytes(path: &Path, shown: &Path) -> Result<Vec<u8>, Refusal> {
    read(path, shown, false)
}

fn read(path: &Path, shown: &Path, is_secret: bool) -> Result<Vec<u8>, Refusal> {
    let name = shown.display();
    let quoted = program::quote(&shown.to_string_lossy());
    let refuse = |message: String, hint: String| Refusal { message, hint };
    let unreadable = |error: Unreadable| {
        let hint = match error {
            _ if error.is_missing() && !is_secret => "a file that is there".to_owned(),
            _ if error.is_missing() => format!("make it, then: chmod 600 {quoted}"),
            Unreadable::IsLarger(_) => "a password or an OpenVPN configuration".to_owned(),
            Unreadable::Io(_) => "a file that you can read".to_owned(),
            _ => "a regular file".to_owned(),
        };
        refuse(format!("cannot read {name}: {error}"), hint)
    };
    let file = given::open(path).map_err(unreadable)?;
    let data = file.metadata().map_err(|error| unreadable(error.into()))?;
    let mode = data.permissions().mode() & 0o7777;
    if is_secret && mode & 0o077 != 0 {
        let message = format!("{name} is open to other users (mode {mode:04o})");
        return Err(refuse(message, format!("chmod 600 {quoted}")));
    }
    let bytes = given::content(&file, given::SMALL).map_err(unreadable)?;
    if bytes.is_empty() {
        let hint = "the secret in it, and nothing else".to_owned();
        return Err(refuse(format!("{name} is empty"), hint));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn refusal(content: &[u8], mode: u32) -> (String, String) {
        let (_folder, path) = file(content, mode);
        let refusal = read_password(&path, Path::new("it's")).unwrap_err();
        (refusal.message, refusal.hint)
    }

    #[test]
    fn a_password_is_its_line() {
        for content in ["hunter 2\n", "hunter 2\r\n", "hunter 2"] {
            let (_folder, path) = file(content.as_bytes(), 0o600);
            assert_eq!(read_secret(&path).unwrap().reveal(), "hunter 2");
        }
        let (_folder, path) = file(b"a\nb\n", 0o400);
        assert_eq!(user_pass(&path, &path).unwrap().reveal(), "a\nb");
        let (_folder, path) = file(b"a\n", 0o400);
        let refusal = user_pass(&path, Path::new("login")).unwrap_err();
        assert_eq!(refusal.message, "login does not hold two lines");
    }

    #[test]
    fn refusals_name_the_file_and_the_remedy_and_no_content() {
        let text = |(message, hint): (String, String)| format!("{message} | {hint}");
        assert_eq!(
            text(refusal(b"hunter2\n", 0o640)),
            r"it's is open to other users (mode 0640) | chmod 600 'it'\''s'"
        );
        assert_eq!(
            text(refusal(b"", 0o600)),
            "it's is empty | the secret in it, and nothing else"
        );
        let one_line = "the password alone in its first line";
        for (content, message) in [
            (&b"\n"[..], "it's holds no password"),
            (b"hunter2\nmore\n", "it's has more than one line"),
            (b"hunter\x1b2\n", "it's holds a control character"),
            (
                b"xxxx\n",
                "it's holds nothing but `x`, which stands in a seed for a password that was removed",
            ),
        ] {
            assert_eq!(refusal(content, 0o600), (message.into(), one_line.into()));
        }
        assert_eq!(refusal(b"\xff", 0o600).0, "it's is not UTF-8 text");
        assert_eq!(
            refusal(&vec![b'x'; 1 << 21], 0o600).0,
            "cannot read it's: it is larger than 1 MiB, which no such file is"
        );
        assert_eq!(
            text(refusal(b"\xef\xbb\xbfhunter2\n", 0o600)),
            "it's begins with a byte order mark, which editors on Windows write | the file without \
             it: sed -i '1s/^\\xEF\\xBB\\xBF//' 'it'\\''s'"
        );
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_secret(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it is a folder, and only"), "{error}");
        let error = read_secret(&folder.path().join("x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("then: chmod 600 "), "{error}");
    }
}

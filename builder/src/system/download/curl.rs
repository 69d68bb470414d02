//! One transfer by curl.

use crate::system::interrupt::Interrupted;
use crate::system::program::{self, Command};
use crate::system::ui::Stage;
use anyhow::{Error, Result, anyhow};
use std::fs;
use std::path::Path;

/// A list of digests has some kilobytes.
const MOST_OF_A_LIST: u64 = 1 << 20;

/// What curl writes at its end, before the last answer's status.
const STATUS: &str = "imgbuild-http-status: ";
/// curl's exit codes (curl(1), "EXIT CODES"): what came cannot be written; an answer of 400 or
/// more, with `--fail`; the server sends no rest of a file.
const NOT_WRITTEN: i32 = 23;
const REFUSED: i32 = 22;
const NO_RANGE: i32 = 33;

/// Why a transfer failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answers that there is no such file.
    NotThere,
    /// The server does not send the rest of a file, or there is no rest.
    NoRest,
    /// The file cannot be written.
    NoPlace(Error),
    /// The user asked to stop.
    Interrupted(Error),
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// By curl's exit code and the status of the last answer, 0 where none came.
    fn classify(error: Error, status: u16) -> Self {
        let code = error.downcast_ref::<program::Failed>();
        match (code.and_then(program::Failed::code), status) {
            // 410: it was there once.
            (Some(REFUSED), 404 | 410) => Failure::NotThere,
            (Some(REFUSED), 416) | (Some(NO_RANGE), _) => Failure::NoRest,
            (Some(NOT_WRITTEN), _) => Failure::NoPlace(error),
            _ if error.is::<Interrupted>() => Failure::Interrupted(error),
            _ => Failure::Other(error),
        }
    }

    /// The error of a file that was to come whole from `url`; `what` is what cannot be downloaded.
    pub(crate) fn into_error(self, what: &str, to: &Path) -> Error {
        let error = match self {
            Failure::NotThere => anyhow!("the server has no such file (404)"),
            Failure::NoRest => anyhow!("the server sends no rest of a file"),
            Failure::NoPlace(error) => {
                let full = "cannot be written; is its disk full?";
                return error.context(format!("{} {full}", to.display()));
            }
            Failure::Interrupted(error) => return error,
            Failure::Other(error) => error,
        };
        error.context(format!("cannot download {what}"))
    }
}

/// What every transfer has: no settings of the user's that change what is written, an error
/// for an error page, and an end when nothing comes any more.
fn curl(url: &str, to: &Path, proxy: Option<&str>) -> Result<Command, Failure> {
    let mut curl = program::ending_with_this("curl").map_err(Failure::Other)?;
    curl.args([
        "--disable",
        "--fail",
        "--location",
        "--silent",
        "--show-error",
    ])
    .args(["--proto", "=http,https", "--proto-redir", "=http,https"])
    .args(["--connect-timeout", "30"])
    .args(["--speed-limit", "100", "--speed-time", "60"])
    .args(["--write-out", &format!("{STATUS}%{{http_code}}\\n")]);
    if let Some(proxy) = proxy {
        curl.args(["--proxy", proxy]);
    }
    curl.arg("--output").arg(to).arg(url);
    Ok(curl)
}

/// A small file, whole or not at all.
pub(crate) fn small(url: &str, to: &Path, proxy: Option<&str>) -> Result<(), Failure> {
    let mut curl = curl(url, to, proxy)?;
    curl.args(["--max-filesize", &MOST_OF_A_LIST.to_string()]);
    transfer(&mut curl, || {})?;
    // A server may not say how long it is before it sends it.
    if size(to) > MOST_OF_A_LIST {
        let error = anyhow!("{url} has more than {MOST_OF_A_LIST} bytes");
        return Err(Failure::Other(error));
    }
    Ok(())
}

/// A large file, from where `part` ends.
pub(crate) fn rest(
    url: &str,
    part: &Path,
    proxy: Option<&str>,
    stage: &Stage,
) -> Result<(), Failure> {
    let headers = part.with_extension("headers");
    let mut curl = curl(url, part, proxy)?;
    curl.args(["--continue-at", "-", "--dump-header"])
        .arg(&headers);
    let mut total = None;
    let show = || {
        let done = size(part);
        total = total.or_else(|| announced(&fs::read_to_string(&headers).ok()?));
        match total {
            Some(total) => stage.progress(done as f64 / total.max(1) as f64),
            None => stage.note(&format!("{} MB", done / 1_000_000)),
        }
    };
    let result = transfer(&mut curl, show);
    let _ = fs::remove_file(&headers);
    result
}

fn transfer(curl: &mut Command, meanwhile: impl FnMut()) -> Result<(), Failure> {
    let mut status = 0;
    let each = |line: &str| match line.strip_prefix(STATUS) {
        Some(code) => {
            status = code.parse().unwrap_or(0);
            false
        }
        None => true,
    };
    let result = program::watch(curl, each, meanwhile);
    result.map_err(|error| Failure::classify(error, status))
}

/// The length of a file in bytes; 0 where there is none.
pub(crate) fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |m| m.len())
}

/// The length of the whole file by the last of the answers that were received; those before
/// are redirections and a proxy's (RFC 9110, sections 8.6 and 14.4).
fn announced(headers: &str) -> Option<u64> {
    let headers = headers.replace('\r', "");
    // An answer that is not yet complete does not end with an empty line.
    let (answers, _) = headers.rsplit_once("\n\n")?;
    let last = answers.rsplit("\n\n").next()?.to_ascii_lowercase();
    let status = last.lines().next()?.split(' ').nth(1)?;
    let value = |name: &str| {
        let mut fields = last.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(field, _)| *field == name)?;
        Some(value.trim().to_owned())
    };
    match status {
        "200" => value("content-length")?.parse().ok(),
        "206" => value("content-range")?.rsplit_once('/')?.1.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_last_answer() {
        let redirection = "HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\n";
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n";
        let rest = "HTTP/2 206 \r\ncontent-length: 300\r\nContent-Range: bytes 400-699/700\r\n\r\n";
        assert_eq!(announced(redirection), None);
        assert_eq!(announced(&[redirection, whole].concat()), Some(700));
        assert_eq!(announced(&[redirection, rest].concat()), Some(700));
        assert_eq!(announced(&[redirection, &whole[..30]].concat()), None);
        assert_eq!(announced("HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(announced(""), None);
    }
}

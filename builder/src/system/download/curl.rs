//! One transfer by curl.

use crate::system::program;
use crate::system::ui::Stage;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A list of digests has some kilobytes.
const MOST_OF_A_LIST: u64 = 1 << 20;

/// Why a transfer failed.
#[derive(Debug)]
pub enum Failure {
    /// The server answers that there is no such file.
    NotThere,
    /// The server does not send the rest of a file, or there is no rest.
    NoRest,
    /// The file cannot be written.
    NoPlace(anyhow::Error),
    /// Anything else, an interruption among it.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let words = error.to_string();
        let says = |some: &str| words.contains(some);
        // 410: it was there once.
        if says("returned error: 404") || says("returned error: 410") {
            Failure::NotThere
        } else if says("curl: (33)") || says("returned error: 416") {
            Failure::NoRest
        } else if says("curl: (23)") {
            Failure::NoPlace(error)
        } else {
            Failure::Other(error)
        }
    }
}

/// What every transfer has: no settings of the user's that change what is written, an error
/// for an error page, and an end when nothing comes any more.
fn curl(url: &str, to: &Path, proxy: Option<&str>) -> Result<Command> {
    let mut curl = program::ending_with_this("curl")?;
    curl.args([
        "--disable",
        "--fail",
        "--location",
        "--silent",
        "--show-error",
    ])
    .args(["--proto", "=http,https", "--proto-redir", "=http,https"])
    .args(["--connect-timeout", "30"])
    .args(["--speed-limit", "100", "--speed-time", "60"]);
    if let Some(proxy) = proxy {
        curl.args(["--proxy", proxy]);
    }
    curl.arg("--output").arg(to).arg(url);
    Ok(curl)
}

/// A small file, whole or not at all.
pub fn small(url: &str, to: &Path, proxy: Option<&str>) -> Result<(), Failure> {
    let mut curl = curl(url, to, proxy)?;
    curl.args(["--max-filesize", &MOST_OF_A_LIST.to_string()]);
    program::stream(&mut curl, |_| {})?;
    // A server may not say how long it is before it sends it.
    if size(to) > MOST_OF_A_LIST {
        let error = anyhow::anyhow!("{url} has more than {MOST_OF_A_LIST} bytes");
        return Err(Failure::Other(error));
    }
    Ok(())
}

/// A large file, from where `part` ends.
pub fn rest(url: &str, part: &Path, proxy: Option<&str>, stage: &Stage) -> Result<(), Failure> {
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
    let result = program::watch(&mut curl, |_| {}, show);
    let _ = fs::remove_file(&headers);
    Ok(result?)
}

/// The length of a file in bytes; 0 where there is none.
pub fn size(file: &Path) -> u64 {
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

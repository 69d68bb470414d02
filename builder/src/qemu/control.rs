//! QEMU's control socket (QMP): one JSON object per line.

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long QEMU may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Control {
    reader: BufReader<UnixStream>,
}

impl Control {
    /// Connects to `qmp.sock` in a machine's folder and greets.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let folder = &sockets(folder);
        let place = folder.join("qmp.sock");
        let connect = || -> std::io::Result<UnixStream> {
            // A socket's path may have 108 bytes; this way the folder's length does not matter.
            let opened = File::open(folder)?;
            let short = format!("/proc/self/fd/{}/qmp.sock", opened.as_raw_fd());
            let address = SocketAddrUnix::new(short)?;
            let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
            let stream = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            let stream = UnixStream::from(stream);
            // QEMU listens to one at a time; where too many wait already, even connecting takes for ever.
            stream.set_write_timeout(Some(ANSWER))?;
            stream.set_read_timeout(Some(ANSWER))?;
            match rustix::net::connect(&stream, &address) {
                Err(Errno::AGAIN) => Err(std::io::Error::other("others speak with QEMU already")),
                connected => Ok(connected.map(|()| stream)?),
            }
        };
        let stream = connect()
            .with_context(|| format!("cannot reach QEMU's control socket {}", place.display()))?;
        let mut control = Control {
            reader: BufReader::new(stream),
        };
        control.line().context("QEMU did not greet")?;
        control.execute("qmp_capabilities")?;
        Ok(control)
    }

    /// Gives an order without arguments and returns its answer.
    pub(crate) fn execute(&mut self, name: &str) -> Result<Value> {
        let order = json!({ "execute": name });
        writeln!(self.reader.get_mut(), "{order}")
            .with_context(|| format!("cannot tell QEMU: {name}"))?;
        loop {
            let answer = self
                .line()
                .with_context(|| format!("no answer from QEMU to: {name}"))?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {name}: {error}");
            }
            // Events come in between.
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            bail!("the connection was closed");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// Where a machine's sockets are: run.sh says it where its folder's file system has none.
fn sockets(folder: &Path) -> PathBuf {
    let elsewhere = fs::read_to_string(folder.join("sockets")).unwrap_or_default();
    match elsewhere.trim_end() {
        "" => folder.to_owned(),
        elsewhere => elsewhere.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU does while it speaks with somebody.
    #[test]
    fn a_socket_that_nobody_answers_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("qmp.sock");
        let listener = std::os::unix::net::UnixListener::bind(&place).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let waiting: Vec<_> = (0..2).map(|_| UnixStream::connect(&place)).collect();
        let error = format!("{:#}", Control::open(folder.path()).unwrap_err());
        assert!(
            error.ends_with("qmp.sock: others speak with QEMU already"),
            "{error}"
        );
        assert!(waiting.iter().all(|one| one.is_ok()));
    }

    #[test]
    fn speaks_with_the_control_socket() {
        // Longer than a socket's path may be.
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let opened = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/qmp.sock", opened.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(short).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut heard = Vec::new();
            writeln!(reader.get_mut(), r#"{{"QMP": {{}}}}"#).unwrap();
            for answer in [
                r#"{"return": {}}"#,
                "{\"event\": \"POWERDOWN\"}\n{\"return\": {}}",
                r#"{"error": {"class": "x"}}"#,
            ] {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                heard.push(line.trim().to_owned());
                writeln!(reader.get_mut(), "{answer}").unwrap();
            }
            heard
        });
        let mut control = Control::open(&deep).unwrap();
        control.execute("system_powerdown").unwrap();
        assert_eq!(
            control.execute("quit").unwrap_err().to_string(),
            r#"QEMU refuses quit: {"class":"x"}"#
        );
        assert_eq!(
            server.join().unwrap(),
            [
                r#"{"execute":"qmp_capabilities"}"#,
                r#"{"execute":"system_powerdown"}"#,
                r#"{"execute":"quit"}"#
            ]
        );
    }
}

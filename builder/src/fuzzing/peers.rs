//! What listens on a cluster member's port.

use super::is_plain;
use crate::peer::{Certificate, Login, api, http, login};
use std::io::{self, Read, Write};

/// A connection whose other end has said everything already.
struct Said<'a>(&'a [u8]);

impl Read for Said<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Said<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer of HTTP, the API's in it, and a login's in that.
pub(super) fn peer_answer(data: &[u8]) {
    let host = "10.120.0.1";
    let answer = http::exchange(&mut Said(data), host, "/", &http::Request::Get);
    let data_of = answer.and_then(|answer| api::data(&answer, "login"));
    match data_of.and_then(|data| login::classify(&data)) {
        Ok(Login::Ticket { cluster, .. }) => {
            assert!(cluster.is_none_or(|cluster| is_plain(&cluster)));
        }
        Ok(Login::Half { .. }) => {}
        Err(failure) => {
            let words = failure.to_string();
            assert!(is_plain(&words), "{words:?}");
            assert!(words.len() < data.len() + 4096);
        }
    }
}

/// What it shows at the beginning of TLS.
pub(super) fn certificate(data: &[u8]) {
    let certificate = Certificate::new(data.to_vec());
    assert_eq!(certificate.fingerprint().len(), 95);
    let Some(details) = certificate.details() else {
        return;
    };
    let words = details.dates_are_wrong(1_800_000_000);
    let all = [details.subject, details.issuer].into_iter();
    for words in all.chain(details.names).chain(words) {
        assert!(is_plain(&words), "{words:?}");
    }
}

//! One call of Proxmox VE's API: what of an answer is its data, and what is no Proxmox VE.

use super::failure::Failure;
use super::http::{self, Answer, Request};
use super::tls::{Connection, PORT};
use crate::system::text;
use serde_json::Value;

/// Asks, and gives what is in `data` of the answer. `what` of Proxmox VE is asked for, in words.
pub(super) fn call(
    connection: &mut Connection,
    host: &str,
    path: &str,
    request: &Request<'_>,
    what: &str,
) -> Result<Value, Failure> {
    let path = format!("/api2/json{path}");
    data(&http::exchange(connection, host, &path, request)?, what)
}

pub(crate) fn data(answer: &Answer, what: &str) -> Result<Value, Failure> {
    let other = |words: String| Err(Failure::Other(words));
    match answer.status {
        200 => {}
        401 => return Err(Failure::Denied),
        501 => {
            return other(format!(
                "it answers 501 ({}): whatever listens on port {PORT} there has no {what} of \
                 Proxmox VE",
                display_safe(&answer.reason)
            ));
        }
        status => return other(format!("it answers {status}: {}", reason(answer))),
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        // Indexing alone would panic where it is no object.
        Ok(mut json) => Ok(json.get_mut("data").map(Value::take).unwrap_or_default()),
        Err(_) if looks_like_a_page(answer) => other(format!(
            "it answers with a web page: whatever listens on port {PORT} there is not the API of \
             Proxmox VE"
        )),
        Err(_) => other("its answer is no JSON, so it is not the API of Proxmox VE".to_owned()),
    }
}

/// Perl writes a flag as 1, "1" or true.
pub(super) fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || number(value) == Some(1)
}

/// Perl writes a number as 1 or "1".
pub(super) fn number(value: &Value) -> Option<u64> {
    let text = || value.as_str()?.parse().ok();
    value.as_u64().or_else(text)
}

fn looks_like_a_page(answer: &Answer) -> bool {
    let kind = answer.header("content-type").unwrap_or_default();
    let start: Vec<u8> = answer.body.iter().take(200).copied().collect();
    let start = String::from_utf8_lossy(&start).trim_start().to_lowercase();
    kind.contains("html") || start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// The peer's own words for an error.
fn reason(answer: &Answer) -> String {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = json["message"].as_str().map(str::trim).unwrap_or_default();
    match message.is_empty() {
        true => display_safe(&answer.reason),
        false => display_safe(message),
    }
}

fn display_safe(text: &str) -> String {
    text::plain(&text.replace('\n', " "))
        .chars()
        .take(200)
        .collect()
}

//! What the status says of a step that is tried again and again.

use crate::system::backoff;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A step that did not succeed yet, and that time may mend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The step.
    pub step: String,
    /// How many attempts there were since the boot, one that is under way included.
    pub attempt: u32,
    /// When the next one begins, in seconds since the boot; absent while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
    /// Why the one before did not succeed.
    pub reason: String,
}

impl Waiting {
    /// It in words, `uptime` seconds after the boot: `joining, attempt 4, next in 3 min, because …`.
    pub fn words(&self, uptime: f64) -> String {
        let what = match self.step.as_str() {
            "join" => "joining",
            step => step,
        };
        let when = match self.next {
            Some(next) => {
                let rest = Duration::from_secs_f64((next - uptime).max(0.0));
                format!("next in {}", backoff::words(rest))
            }
            None => "under way".to_owned(),
        };
        format!(
            "{what}, attempt {}, {when}, because {}",
            self.attempt, self.reason
        )
    }
}

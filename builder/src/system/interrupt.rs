//! Ctrl-C, Ctrl-\ (SIGQUIT), SIGTERM and SIGHUP: noted here, acted on by whoever waits.
//!
//! Nothing is done inside a signal handler but setting a flag. Every wait of the builder
//! goes through [`check`], so that guards run and remove what is half made.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

fn flag() -> &'static Arc<AtomicBool> {
    FLAG.get_or_init(|| Arc::new(AtomicBool::new(false)))
}

/// The error of work that was cut short by the user.
#[derive(Debug, Default)]
pub struct Interrupted {
    left: Option<String>,
}

impl Interrupted {
    /// One that says what is left behind; the default says that nothing is.
    pub(crate) fn leaving(what: String) -> Self {
        Interrupted { left: Some(what) }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.left.as_deref();
        let left = left.unwrap_or("nothing half made was left behind");
        write!(f, "interrupted; {left}")
    }
}

impl std::error::Error for Interrupted {}

/// Takes over the four signals. A second Ctrl-C changes nothing: cleaning up is short.
pub fn install() {
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGQUIT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        // Registering fails only for signals that cannot be caught; these can.
        let _ = signal_hook::flag::register(signal, Arc::clone(flag()));
    }
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}

/// Fails with [`Interrupted`] once the user asked to stop.
pub(crate) fn check() -> Result<(), Interrupted> {
    if requested() {
        Err(Interrupted::default())
    } else {
        Ok(())
    }
}

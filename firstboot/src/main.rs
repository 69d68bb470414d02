//! The guest binary; see the library.

use firstboot::args::{self, Args, Command};
use firstboot::contract::seed::CONTRACT;
use firstboot::contract::volumes::Source;
use firstboot::stage::{boot, member, report, retry, rsa_key};
use firstboot::system::core_dumps;
use firstboot::system::root::Root;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The place only: the message may quote what was being read, and so a secret.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_else(|| "an unknown place".to_owned());
        let _ = writeln!(std::io::stderr(), "firstboot: panic at {place}");
    }));
    // A kernel that refuses is no reason to leave the machine unconfigured.
    if let Err(error) = core_dumps::forbid_core_dumps() {
        let _ = writeln!(
            std::io::stderr(),
            "firstboot: cannot forbid core dumps: {error}"
        );
    }
    // Whatever this was started from: a folder has its mode from the moment in which it is made, and
    // so has what other programs write for this one.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => ExitCode::from(execute(args)),
        Err(message) => {
            let _ = write!(std::io::stderr(), "firstboot: {message}\n\n{}", args::HELP);
            ExitCode::from(2)
        }
    }
}

fn execute(args: Args) -> u8 {
    let root = Root::new(args.root);
    let source = match args.seed_folder {
        Some(folder) => Source::Folder(folder),
        None => Source::Disk,
    };
    match args.command {
        Command::Local => u8::from(!boot::local(&root, &source)),
        Command::Join => u8::from(!boot::join(&root, &source)),
        Command::Guard => u8::from(!member::guard(&root)),
        Command::RsaKey => match rsa_key::rsa_key(&root) {
            Ok(()) => 0,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "firstboot: {why}");
                1
            }
        },
        Command::Watch => {
            member::watch(&root);
            0
        }
        Command::Retry => match retry::retry(&root, &source) {
            Ok(line) => {
                print(&format!("{line}\n"));
                0
            }
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "firstboot: {why}");
                1
            }
        },
        Command::Status { wait, json } => {
            let state = report::admin::state(&root, wait);
            let text = match json {
                true => report::admin::json(state.as_ref()).unwrap_or_default() + "\n",
                false => report::admin::text(state.as_ref()),
            };
            print(&text);
            report::admin::exit_code(state.as_ref())
        }
        Command::Version => {
            // `imgbuild base` reads this line for the manifest.
            print(&format!(
                "firstboot {} (contract {CONTRACT})\n",
                report::VERSION
            ));
            0
        }
        Command::Help => {
            print(args::HELP);
            0
        }
    }
}

/// A reader that went away is no error of ours.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

//! Parse the command line, one match, exit code.

use clap::Parser;
use imgbuild::cli::{Cli, Command, LabCommand};
use imgbuild::commands::lab::{clean, inventory, publish, quorum, report, retire};
use imgbuild::commands::{
    audit, base, check, console, fetch, init, list, logs, peer, rm, run, seed, stop,
};
use imgbuild::system::interrupt::{self, Interrupted};
use imgbuild::system::ui::Ui;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What this program and those that it starts make has the same modes for every user; what is
    // private says so itself.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // The process that reads an image has nothing to clean up, and ends by any signal.
    if !matches!(cli.command, Command::Look(_)) {
        interrupt::install();
    }
    let ui = Ui::new(cli.json);
    let result = match cli.command {
        Command::Init(args) => init::init(&args.folder, &ui),
        Command::Check(args) => check::check(args.definition.as_deref(), &args.lab, &ui),
        Command::Base(args) => base::base(&args.into(), &ui),
        Command::Fetch(args) => fetch::fetch(&args.url, &args.output, &ui),
        Command::Audit(args) => audit::audit(&args.image, args.limits.into(), &ui),
        Command::Look(args) => audit::look(args.what, args.limits.into(), &args.image),
        Command::Compress(args) => audit::compress(&args.raw, &args.image, &ui),
        Command::Seed(args) => seed::seed(&args.into(), &ui),
        Command::Run(args) => run::run(&args.into(), &ui),
        Command::List(args) => list::list(&args.lab, &ui),
        Command::Stop(args) => stop::stop(&args.into(), &ui),
        Command::Console(args) => console::console(&args.name, &args.lab),
        Command::Logs(args) => logs::logs(&args.into(), &ui),
        Command::Rm(args) => rm::rm(&args.name, &args.lab, args.yes, &ui),
        Command::Peer(args) => peer::peer(&args.address, &ui),
        Command::Lab(LabCommand::Clean(args)) => clean::clean(&args.lab, args.yes, &ui),
        Command::Lab(LabCommand::Inventory(args)) => {
            inventory::inventory(&args.lab, args.host.as_deref(), &ui)
        }
        Command::Lab(LabCommand::Publish(args)) => publish::publish(&args.into(), &ui),
        Command::Lab(LabCommand::Quorum(args)) => quorum::quorum(&args.into(), &ui),
        Command::Lab(LabCommand::Retire(args)) => retire::retire(&args.name, &args.lab, &ui),
        Command::Lab(LabCommand::Report(args)) => report::report(&args.into(), &ui),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(interrupted) => {
                ui.error(&interrupted.to_string());
                ExitCode::from(130)
            }
            None => {
                ui.error(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

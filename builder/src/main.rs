//! Parse the command line, one match, exit code.

use clap::Parser;
use imgbuild::base;
use imgbuild::cli::{Cli, Command, LabCommand};
use imgbuild::commands::check;
use imgbuild::commands::init;
use imgbuild::commands::lab::retire;
use imgbuild::commands::peer;
use imgbuild::commands::run;
use imgbuild::commands::seed;
use imgbuild::system::interrupt;
use imgbuild::system::interrupt::Interrupted;
use imgbuild::system::ui::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What this program and those that it starts make has the same modes for every user; what is
    // private says so itself.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    interrupt::install();
    let report = Report::new(cli.json);
    let result = match &cli.command {
        Command::Init(args) => init::init(args, &report),
        Command::Check(args) => check::check(args, &report),
        Command::Base(args) => base::build(args, &report),
        Command::Audit(args) => base::audit_command(args, &report),
        Command::Seed(args) => seed::seed(args, &report),
        Command::Run(args) => run::run(args, &report),
        Command::Peer(args) => peer::show(args, &report),
        Command::Lab(LabCommand::Retire(args)) => retire::retire(args, &report),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Interrupted>() {
            Some(interrupted) => {
                report.error(&interrupted.to_string());
                ExitCode::from(130)
            }
            None => {
                report.error(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

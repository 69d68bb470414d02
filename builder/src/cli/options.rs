//! The command line, turned into what each command takes.

use super::{
    BaseArgs, LimitArgs, LogsArgs, PublishArgs, QuorumArgs, ReportArgs, RunArgs, SeedArgs, StopArgs,
};
use crate::base;
use crate::commands::lab::{publish, quorum, report};
use crate::commands::members::Credentials;
use crate::commands::{self, logs, run, seed, stop};
use crate::qemu::Limits;
use seed::TicketSource;
use std::time::Duration;

fn limits(total: u64, silence: u64, firmware: u64) -> Limits {
    Limits {
        total: Duration::from_secs(total),
        silence: Duration::from_secs(silence),
        firmware: Duration::from_secs(firmware),
    }
}

impl From<BaseArgs> for commands::base::Options {
    fn from(args: BaseArgs) -> Self {
        commands::base::Options {
            base: base::Options {
                source: args.source,
                iso: args.iso,
                definition: args.definition,
                mirror: args.mirror,
                output: args.output,
                cache_limit: args.cache_size,
                accelerator: args.accel,
                kvm_device: args.kvm_device,
                limits: limits(args.timeout, args.silence, args.firmware),
                standstill: Duration::from_secs(args.standstill),
                without: args.without,
            },
            force: args.force,
            keep_work: args.keep_work,
            timings: args.timings,
        }
    }
}

impl From<SeedArgs> for seed::Options {
    fn from(args: SeedArgs) -> Self {
        let tickets = match args.keep_ticket {
            true => TicketSource::Kept,
            false => TicketSource::Member(Credentials::of_options(
                args.ticket_file,
                args.password_stdin,
            )),
        };
        seed::Options {
            names: (!args.all).then_some(args.names),
            lab: args.lab,
            tickets,
        }
    }
}

impl From<RunArgs> for run::Options {
    fn from(args: RunArgs) -> Self {
        run::Options {
            name: args.name,
            lab: args.lab,
            user_net: args.user_net,
            forward: args.forward,
            host_loopback: args.host_loopback,
            accelerator: args.accel,
            shutdown: args.shutdown,
            limits: limits(args.timeout, args.silence, args.firmware),
        }
    }
}

impl From<ReportArgs> for report::Options {
    fn from(args: ReportArgs) -> Self {
        report::Options {
            folder: args.folder,
            lab: args.lab,
            now: args.now,
        }
    }
}

impl From<PublishArgs> for publish::Options {
    fn from(args: PublishArgs) -> Self {
        publish::Options {
            folder: args.folder,
            lab: args.lab,
            urls: args.urls,
            tracker: args.tracker,
            keep: args.keep,
        }
    }
}

impl From<QuorumArgs> for quorum::Options {
    fn from(args: QuorumArgs) -> Self {
        quorum::Options {
            names: args.names,
            lab: args.lab,
            credentials: Credentials::of_options(args.ticket_file, args.password_stdin),
        }
    }
}

impl From<LogsArgs> for logs::Options {
    fn from(args: LogsArgs) -> Self {
        logs::Options {
            name: args.name,
            lab: args.lab,
            follow: args.follow,
            status: args.status,
        }
    }
}

impl From<StopArgs> for stop::Options {
    fn from(args: StopArgs) -> Self {
        stop::Options {
            names: (!args.all).then_some(args.names),
            lab: args.lab,
            limit: args.limit,
        }
    }
}

impl From<LimitArgs> for commands::audit::Limits {
    fn from(args: LimitArgs) -> Self {
        commands::audit::Limits {
            memory: args.memory,
            seconds: args.seconds,
        }
    }
}

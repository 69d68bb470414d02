//! The command line, as clap types only.

mod options;

use crate::base::{Measure, Source};
use crate::commands::audit::{Limits, Look};
use crate::qemu::Accelerator;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Makes one golden base.qcow2 and a small seed disk per virtual machine.
///
/// Exit code: 0 done; 1 an error, said on standard error; 2 a wrong command line; 130
/// interrupted. The manual is in docs/.
#[derive(Debug, Parser)]
#[command(name = "imgbuild", version, max_term_width = 100)]
pub struct Cli {
    /// Print one JSON object per line on standard output, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented lab.yaml, an image definition and a secrets/ folder to start from.
    Init(InitArgs),
    /// Find every mistake in the image definition and the lab; change nothing.
    Check(CheckArgs),
    /// Make base.qcow2, base.manifest.json and base.qcow2.sha256; takes minutes, needs no root.
    Base(BaseArgs),
    /// Download a base that `imgbuild lab publish` has published; resumed, verified, put into place.
    Fetch(FetchArgs),
    /// Prove from outside that an image is sealed: no keys, no machine-id, no logs.
    Audit(AuditArgs),
    /// Read an image in a process of its own, for the others.
    #[command(hide = true)]
    Look(LookArgs),
    /// One stage of a build alone, for tests and benchmarks.
    #[command(hide = true)]
    Compress(CompressArgs),
    /// Make a virtual machine's seed disk and run script: vm42/seed.img and vm42/run.sh.
    Seed(SeedArgs),
    /// Boot a virtual machine, show its progress, and end with its own verdict.
    Run(RunArgs),
    /// Show the lab's virtual machines on this PC: what runs, since when, and their last words.
    List(ListArgs),
    /// Shut virtual machines down: the power button; after a limit their power is taken away.
    Stop(StopArgs),
    /// Attach this terminal to the serial console of a running virtual machine; Ctrl-] leaves it.
    Console(ConsoleArgs),
    /// Show what a virtual machine has said on its console, or by firstboot.
    Logs(LogsArgs),
    /// Remove a virtual machine's disk and logs; its seed stays. Asks first.
    Rm(RmArgs),
    /// Show the certificate of a member of the cluster, and the lines for lab.yaml. Sends no secret.
    Peer(PeerArgs),
    /// What concerns the lab as a whole, or a virtual machine as a member of its cluster.
    #[command(subcommand)]
    Lab(LabCommand),
}

/// `imgbuild lab`
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Show the base images that are kept for the disks of virtual machines, and remove those that
    /// no disk stands on any more.
    Clean(CleanArgs),
    /// Print the lab's PCs, with their virtual machines, as an inventory of Ansible. Reads no secret
    /// and needs no base.
    Inventory(InventoryArgs),
    /// Put the lab's base into a folder for any static web server, named by its digest: with
    /// manifest, digest file, metalink and torrent, and current.json, which names the newest.
    Publish(PublishArgs),
    /// Ask a member whether its cluster has quorum, and keeps it without these virtual machines: exit
    /// code 0 when they can go off. For those that join no cluster, nobody is asked.
    Quorum(QuorumArgs),
    /// Print the commands that remove a node from its cluster, and keep the machine from ever
    /// joining again with its old disk. Asks neither the cluster
    /// nor for the lab's secrets.
    Retire(RetireArgs),
    /// Show how every virtual machine of the lab is, of what imgbuild.lab.status has collected: a
    /// table here, and DIR/lab.html to look at.
    Report(ReportArgs),
}

/// `imgbuild lab report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The folder with one PC.json per PC, into which imgbuild.lab.status collects.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// The moment that ages are counted to, in seconds since 1970; for tests.
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub now: Option<u64>,
}

/// `imgbuild lab clean`
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The lab file; bases/ is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// Remove without a question.
    #[arg(long)]
    pub yes: bool,
}

/// `imgbuild lab inventory`
#[derive(Debug, Args)]
pub struct InventoryArgs {
    /// All PCs, with their groups and variables: what Ansible asks an inventory script for.
    #[arg(long, required_unless_present = "host", conflicts_with = "host")]
    pub list: bool,
    /// The variables of one PC, by its full name.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild lab publish`
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The folder that the web server hands out; it is made where it is not there.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// Where the folder is served, for the metalink and the torrent, which need an address; may be
    /// repeated, the best one first.
    #[arg(long = "url", value_name = "URL")]
    pub urls: Vec<String>,
    /// A tracker for the torrent. Without one, downloaders find each other in their own network.
    #[arg(long, value_name = "URL")]
    pub tracker: Option<String>,
    /// How many images of before stay, beside the newest.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub keep: usize,
}

/// `imgbuild lab quorum`
#[derive(Debug, Args)]
pub struct QuorumArgs {
    /// The virtual machines that are to go off at the same time, by their names in the lab file.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// A ticket of root@pam that was made on a member, in a file with mode 0600. Nothing is asked
    /// then.
    #[arg(long, value_name = "FILE")]
    pub ticket_file: Option<PathBuf>,
    /// Read the cluster's root password from the first line of standard input, and the second
    /// factor, where one is wanted, from the second.
    #[arg(long, conflicts_with = "ticket_file")]
    pub password_stdin: bool,
}

/// `imgbuild lab retire`
#[derive(Debug, Args)]
pub struct RetireArgs {
    /// The virtual machine, by its name in the lab file.
    pub name: String,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to write into; no file that is there is overwritten.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// `imgbuild check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// The image definition; without it images/base.yaml, or the built-in one where there is none.
    #[arg(long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
}

/// `imgbuild base`
#[derive(Debug, Args)]
pub struct BaseArgs {
    /// Where the base system comes from.
    #[arg(long, value_enum, default_value = "netinst")]
    pub(crate) source: Source,
    /// The netinst disc, a file; without it the one that `netinst:` in the definition names.
    #[arg(long, value_name = "FILE")]
    pub iso: Option<PathBuf>,
    /// The image definition; without it images/base.yaml, or the built-in one where there is none.
    #[arg(long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
    /// The Debian mirror; it wins over `mirror:` in the definition and over this host's own.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// The folder that the three results are moved into; it needs 4 GiB of free space, 12 GiB for a
    /// base with Proxmox VE.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// How large the cache of installed systems may become (`--source mirror`); 0: none is used.
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = cache_size)]
    pub cache_size: u64,
    /// Build even when nothing changed here: takes in the mirror's newer packages.
    #[arg(long)]
    pub force: bool,
    /// Keep the temporary folder, also after a failure, and say where it is.
    #[arg(long)]
    pub keep_work: bool,
    /// Print at the end how long each part took.
    #[arg(long)]
    pub timings: bool,
    /// What runs the installer's processor.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) accel: Accelerator,
    /// Give up when the installation is not done after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10800)]
    pub timeout: u64,
    /// As for `run`.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 20)]
    pub firmware: u64,
    /// Give up after this many seconds without a byte from the machine. The installer's hook logs
    /// a sign of life every ten; before it does, the longest honest silence is the kernel's
    /// unpacking of the initrd: 20 s in emulation.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 55)]
    pub silence: u64,
    /// Give up after this many seconds in which the installer lives, says nothing, computes
    /// nothing and receives nothing.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 50)]
    pub standstill: u64,
    /// Where KVM is; for tests.
    #[arg(long, hide = true, value_name = "FILE", default_value = "/dev/kvm")]
    pub kvm_device: PathBuf,
    /// Leave out what makes the installation faster, to measure it.
    #[arg(long, hide = true, value_enum, value_delimiter = ',')]
    pub without: Vec<Measure>,
}

/// `imgbuild fetch`
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The folder that is served, its current.json, or one image with its digest in its name.
    pub url: String,
    /// The folder that base.qcow2, base.manifest.json and base.qcow2.sha256 are put into.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
}

/// `imgbuild audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The image, a qcow2 file.
    pub image: PathBuf,
    /// Limits of the process that reads the image; for tests.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `imgbuild look`
#[derive(Debug, Args)]
pub struct LookArgs {
    /// What for.
    #[arg(value_enum)]
    pub what: Look,
    /// The image, a qcow2 file.
    pub image: PathBuf,
    /// What it may take.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `imgbuild compress`
#[derive(Debug, Args)]
pub struct CompressArgs {
    /// The disk.
    pub raw: PathBuf,
    /// The image that is made, a qcow2 file.
    pub image: PathBuf,
}

/// What the process that reads an image may take.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Memory.
    #[arg(long, hide = true, value_name = "MIB", default_value_t = Limits::default().memory)]
    pub memory: u64,
    /// Processor time.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = Limits::default().seconds)]
    pub seconds: u64,
}

/// `imgbuild seed`
#[derive(Debug, Args)]
pub struct SeedArgs {
    /// The virtual machines, by their names in the lab file.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,
    /// Every virtual machine of the lab file.
    #[arg(long)]
    pub all: bool,
    /// The lab file.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// For `join: ticket`: a ticket of root@pam that was made on a member, in a file with mode
    /// 0600. Nothing is asked then.
    #[arg(long, value_name = "FILE")]
    pub ticket_file: Option<PathBuf>,
    /// For `join: ticket`: read the cluster's root password from the first line of standard
    /// input, and the second factor, where one is wanted, from the second.
    #[arg(long, conflicts_with = "ticket_file")]
    pub password_stdin: bool,
    /// For `join: ticket`: ask nothing, and keep the ticket that each seed has, used or not; for
    /// machines that have joined already.
    #[arg(long, conflicts_with_all = ["ticket_file", "password_stdin"])]
    pub keep_ticket: bool,
}

/// `imgbuild peer`
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// The member, by its IP address or name; port 8006 is asked.
    pub address: String,
}

/// `imgbuild list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The lab file; the machines' folders are beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild stop`
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The virtual machines, by their names in the lab file.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,
    /// Every one of the lab file that runs here.
    #[arg(long)]
    pub all: bool,
    /// Take the power away from one that has not shut down after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(0..100_000))]
    pub limit: u32,
    /// The lab file; the machine's folder is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild console`
#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// The virtual machine, by its name.
    pub name: String,
    /// The lab file; the machine's folder is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The virtual machine, by its name.
    pub name: String,
    /// Go on with what it says next, over its restarts too, until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
    /// firstboot's steps and verdict instead of the console.
    #[arg(long)]
    pub status: bool,
    /// The lab file; the machine's folder is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The virtual machine, by its name.
    pub name: String,
    /// Remove without a question.
    #[arg(long)]
    pub yes: bool,
    /// The lab file; the machine's folder is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
}

/// `imgbuild run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The virtual machine, by its name; `imgbuild seed` has made its folder.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub name: Option<String>,
    /// Every one of the lab file that is this PC's, one after the other, as far as its memory goes.
    #[arg(long, conflicts_with = "forward")]
    pub all: bool,
    /// The lab file; the machine's folder is beside it.
    #[arg(long, value_name = "FILE", default_value = "lab.yaml")]
    pub lab: PathBuf,
    /// Use QEMU's user-mode network instead of the bridge (no helper, no libvirt).
    #[arg(long)]
    pub user_net: bool,
    /// With --user-net: forward a port of this host, as tcp:2222-:22; may be repeated. Open to
    /// this host alone, unless the rule has an address: tcp:192.0.2.7:2222-:22.
    #[arg(long, value_name = "RULE", requires = "user_net")]
    pub forward: Vec<String>,
    /// With --user-net: the machine may reach what listens on this host's 127.0.0.1. Without it
    /// passt keeps it from there, where a new enough one is installed.
    #[arg(long, requires = "user_net")]
    pub host_loopback: bool,
    /// What runs the guest's processor.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) accel: Accelerator,
    /// Shut the machine down cleanly after its verdict; else it goes on running.
    #[arg(long)]
    pub shutdown: bool,
    /// Give up after this many seconds without a verdict.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub timeout: u64,
    /// Give up after this many seconds without a byte on the console or the status port. The
    /// longest honest silence is the kernel's unpacking of its initramfs: 20 s in emulation.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 55)]
    pub silence: u64,
    /// Under KVM, go on with software emulation after this many seconds without a word from
    /// the kernel. Firmware and boot loader, menu included, need fewer than ten.
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 20)]
    pub firmware: u64,
}

/// A size such as `4G`; 0 needs no unit.
fn cache_size(text: &str) -> Result<u64, String> {
    crate::config::yaml::validators::size(text, 0, 1 << 50)
}

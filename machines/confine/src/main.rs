//! Runs a command as containers run it: with the system calls refused that container engines refuse.
//!
//! `roving-confine --docker -- COMMAND` refuses what Docker's default profile does, with the same errors. `--refuse` takes
//! away single features that older kernels lack, so that whatever takes the place of each is used on any kernel.
//!
//! | file       | what it is                                     |
//! |------------|------------------------------------------------|
//! | `refusals` | what each profile refuses, and with which error |
//! | `filter`   | makes that a seccomp filter and installs it     |
//!
//! A filter is inherited and cannot be taken back, so all that the command starts is confined too. It needs no privilege:
//! the command gains none from then on (`no_new_privs`).

#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod refusals;

use std::ffi::OsString;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(
    name = "roving-confine",
    version,
    about = "Runs a command with system calls refused, as containers do"
)]
// Elsewhere nothing reads them.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
struct Cli {
    /// Refuses what Docker's default profile refuses
    #[arg(long)]
    docker: bool,
    /// Refuses one more feature; may be given again
    #[arg(long, value_enum)]
    refuse: Vec<Feature>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// What an older kernel lacks, or another profile refuses.
#[derive(Clone, Copy, ValueEnum)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
enum Feature {
    /// `MADV_GUARD_INSTALL`, as before Linux 6.13
    GuardInstall,
    /// `UFFDIO_POISON`, as before Linux 6.6
    Poison,
    /// `userfaultfd`, as in containers
    Userfaultfd,
    /// `memfd_create`
    Memfd,
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use anyhow::Context;

    let cli = Cli::parse();
    let mut refusals = Vec::new();
    if cli.docker {
        refusals.extend(refusals::docker());
    }
    refusals.extend(cli.refuse.iter().flat_map(|&one| refusals::of(one)));
    filter::install(&refusals)?;
    let (program, arguments) = cli.command.split_first().expect("clap demands it");
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    Cli::parse();
    anyhow::bail!("system calls are refused by seccomp, which Linux alone has")
}

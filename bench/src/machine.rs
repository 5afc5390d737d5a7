//! On what a benchmark ran, and how it was built.

use crate::system;
use serde::{Deserialize, Serialize};
use std::fs;

/// The machine and the versions, as they stand in the file of results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) architecture: String,
    pub(crate) kernel: String,
    /// The C library and its version. This and the next two are empty in files of results from before they
    /// were noted.
    #[serde(default)]
    pub(crate) c_library: String,
    /// Whose thread-locals green threads use, and why not their own.
    #[serde(default)]
    pub(crate) thread_locals: String,
    /// What guards stacks, and how many there can be.
    #[serde(default)]
    pub(crate) guards: String,
    pub(crate) roving: String,
    pub(crate) rustc: String,
    /// Empty in files of results from before it was noted.
    #[serde(default)]
    pub(crate) build: String,
    pub(crate) descriptors_per_process: u64,
    pub(crate) pid_max: Option<u64>,
    pub(crate) threads_max: Option<u64>,
    pub(crate) max_map_count: Option<u64>,
    pub(crate) kernel_stack_bytes: u64,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look(descriptors_per_process: u64) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned());
        let (thread_locals, guards) = ground();
        Machine {
            c_library: c_library(),
            thread_locals,
            guards,
            cpu,
            cores: cores(),
            memory_bytes: system::meminfo("MemTotal").unwrap_or(0),
            architecture: std::env::consts::ARCH.into(),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            roving: env!("CARGO_PKG_VERSION").into(),
            rustc: env!("ROVING_BENCH_RUSTC").into(),
            build: build(),
            descriptors_per_process,
            pid_max: system::number("/proc/sys/kernel/pid_max"),
            threads_max: system::number("/proc/sys/kernel/threads-max"),
            max_map_count: system::number("/proc/sys/vm/max_map_count"),
            kernel_stack_bytes: crate::proc_stats::kernel_stack_size(),
        }
    }
}

impl Machine {
    /// In one line, what green threads stand on here.
    pub(crate) fn ground(&self) -> String {
        format!(
            "{}, Linux {}, thread-locals: {}, guards: {}",
            self.c_library, self.kernel, self.thread_locals, self.guards
        )
    }
}

#[cfg(target_env = "gnu")]
fn c_library() -> String {
    // SAFETY: it takes nothing, and gives a string that is there as long as the program.
    let version = unsafe { std::ffi::CStr::from_ptr(nix::libc::gnu_get_libc_version()) };
    format!("glibc {}", version.to_string_lossy())
}

#[cfg(not(target_env = "gnu"))]
fn c_library() -> String {
    if cfg!(target_env = "musl") {
        "musl".into()
    } else {
        "an unknown C library".into()
    }
}

/// Whose thread-locals green threads use here, and what guards their stacks.
fn ground() -> (String, String) {
    let runtime = match roving::Builder::new().workers(1).build() {
        Ok(runtime) => runtime,
        Err(error) => return (format!("no runtime ({error})"), "none".into()),
    };
    let mut thread_locals = format!("{:?}", runtime.thread_locals()).to_lowercase();
    if let Some(why) = runtime.no_own_thread_locals() {
        thread_locals += &format!(" ({why})");
    }
    let stacks = runtime.run(roving::stacks);
    let mut guards = stacks
        .guards
        .map_or("none".to_owned(), |guards| guards.to_string());
    if let Some(limit) = stacks.limit {
        guards += &format!(" (at most {limit} stacks)");
    }
    (thread_locals, guards)
}

/// How this program was built.
fn build() -> String {
    let checks = if cfg!(debug_assertions) {
        ", with debug assertions"
    } else {
        ""
    };
    format!("opt-level {}{checks}", env!("ROVING_BENCH_OPT_LEVEL"))
}

/// Says so if what is about to be measured was not built to be fast.
pub(crate) fn warn_of_debug_build() {
    if cfg!(debug_assertions) || env!("ROVING_BENCH_OPT_LEVEL") == "0" {
        eprintln!(
            "warning: this is a debug build ({}), whose figures say nothing: build with --release",
            build()
        );
    }
}

/// The cores that this process may use.
pub(crate) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

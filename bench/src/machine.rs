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
        Machine {
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

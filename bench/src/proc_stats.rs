//! What `/proc` tells of a process: its memory and its threads.

use crate::system::{kibibytes, meminfo, number, tasks};
use serde::{Deserialize, Serialize};
use std::fs;

/// The memory of some processes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Resident anonymous pages. (Those of the program's file do not grow with connections, and count
    /// less the more processes of it there are.)
    pub(crate) resident: u64,
    /// Page tables.
    pub(crate) page_tables: u64,
    /// Stacks that the kernel keeps for their threads.
    pub(crate) kernel_stacks: u64,
    /// What the kernel keeps beside that for their threads and mappings; 0 where it does not tell
    /// the sizes.
    pub(crate) kernel_objects: u64,
}

impl Memory {
    /// All of it.
    pub(crate) fn total(self) -> u64 {
        self.resident + self.page_tables + self.kernel_stacks + self.kernel_objects
    }

    /// What was added since `before`, for each of `connections`.
    pub(crate) fn grown_for_each(self, before: Memory, connections: u64) -> Memory {
        let each = |now: u64, then: u64| {
            now.saturating_sub(then)
                .checked_div(connections)
                .unwrap_or(0)
        };
        Memory {
            resident: each(self.resident, before.resident),
            page_tables: each(self.page_tables, before.page_tables),
            kernel_stacks: each(self.kernel_stacks, before.kernel_stacks),
            kernel_objects: each(self.kernel_objects, before.kernel_objects),
        }
    }
}

impl std::iter::Sum for Memory {
    fn sum<I: Iterator<Item = Memory>>(parts: I) -> Memory {
        parts.fold(Memory::default(), |sum, part| Memory {
            resident: sum.resident + part.resident,
            page_tables: sum.page_tables + part.page_tables,
            kernel_stacks: sum.kernel_stacks + part.kernel_stacks,
            kernel_objects: sum.kernel_objects + part.kernel_objects,
        })
    }
}

/// The memory of one process; `None` when it is gone.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .ok()
        .and_then(|rollup| kibibytes(&rollup, "Pss_Anon"))
        .or_else(|| kibibytes(&status, "VmRSS"))?;
    let threads = threads(pid)?;
    let mappings = fs::read_to_string(format!("/proc/{pid}/maps"))
        .map_or(0, |maps| maps.lines().count() as u64);
    Some(Memory {
        resident,
        page_tables: kibibytes(&status, "VmPTE").unwrap_or(0),
        kernel_stacks: threads * kernel_stack_size(),
        kernel_objects: threads * (slab_size("task_struct") + slab_size("pid"))
            + mappings * slab_size("vm_area_struct"),
    })
}

/// The number of OS threads of a process; `None` when it is gone.
pub(crate) fn threads(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))?
        .trim()
        .parse()
        .ok()
}

/// Bytes of kernel stack that a thread has: what the system counts for all threads, divided by
/// their number, and rounded to a power of two, since it keeps a few more than it has threads.
pub(crate) fn kernel_stack_size() -> u64 {
    let all = meminfo("KernelStack").unwrap_or(0);
    match tasks() {
        Some(tasks) if tasks > 0 && all > 0 => {
            nearest_power_of_two(all / tasks).clamp(4 << 10, 64 << 10)
        }
        _ => 16 << 10,
    }
}

/// Bytes that the kernel allots for one of its objects of this kind; 0 where it does not tell (it
/// tells root alone).
fn slab_size(objects: &str) -> u64 {
    number(format!("/sys/kernel/slab/{objects}/slab_size")).unwrap_or(0)
}

fn nearest_power_of_two(value: u64) -> u64 {
    let above = value.max(1).next_power_of_two();
    let below = (above / 2).max(1);
    if above - value < value - below {
        above
    } else {
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_power_of_two() {
        for (value, rounded) in [
            (1, 1),
            (16_384, 16_384),
            (17_000, 16_384),
            (13_000, 16_384),
            (20_000, 16_384),
        ] {
            assert_eq!(nearest_power_of_two(value), rounded, "of {value}");
        }
    }

    #[test]
    fn growth_is_divided_and_never_negative() {
        let before = Memory {
            resident: 1_000,
            page_tables: 500,
            ..Memory::default()
        };
        let after = Memory {
            resident: 5_000,
            page_tables: 400,
            kernel_stacks: 800,
            kernel_objects: 40,
        };
        let each = after.grown_for_each(before, 4);
        assert_eq!(
            each,
            Memory {
                resident: 1_000,
                page_tables: 0,
                kernel_stacks: 200,
                kernel_objects: 10
            }
        );
        assert_eq!(each.total(), 1_210);
        assert_eq!(after.grown_for_each(before, 0), Memory::default());
    }

    #[test]
    fn reads_this_process() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.resident > 0 && memory.page_tables > 0 && memory.kernel_stacks > 0);
        assert!(threads(own).unwrap() >= 1);
        assert!(kernel_stack_size().is_power_of_two());
    }
}

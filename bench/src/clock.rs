//! The one clock that all processes of a benchmark share, and the clocks of the CPU time they used.

use nix::time::ClockId;
use nix::unistd::Pid;
use std::time::Duration;

/// Nanoseconds of the system's monotonic clock, comparable between processes.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPU time that all programs of the machine used so far, in steps of 10 ms; work for
/// interrupts is not counted.
pub(crate) fn machine_cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // User, nice and system time, in hundredths of a second on every Linux.
    let hundredths: u64 = all
        .split_whitespace()
        .take(3)
        .map_while(|field| field.parse::<u64>().ok())
        .sum();
    Some(Duration::from_millis(hundredths * 10))
}

/// The CPU time that all threads of a process used so far; `None` when there is no such process.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).ok()?;
    Some(Duration::from(clock.now().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let mut sum = 0u64;
        for i in 0..1_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(i));
        }
        assert!(cpu_time(own).unwrap() > before);
    }

    #[test]
    fn the_machine_used_as_much_as_this_process() {
        // Each is rounded on its own.
        let own = cpu_time(std::process::id()).unwrap();
        assert!(machine_cpu_time().unwrap() + Duration::from_millis(50) > own);
    }

    #[test]
    fn no_process_has_no_cpu_time() {
        // Process identifiers are at most 2^22 on Linux.
        assert_eq!(cpu_time(1 << 23), None);
    }

    #[test]
    fn time_does_not_go_backwards() {
        let first = now_ns();
        assert!(now_ns() >= first);
    }
}

//! What `/proc` tells of this process.

use crate::run::signal_handler;

/// Those that a thread causes itself, and those that the C library keeps for itself.
const WAKES_NOBODY: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, 32, 33];

/// Whether the process has so many OS threads, and no handler of a signal that might wake anybody.
pub(super) fn nothing_wakes(os_threads: usize) -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| says_so(&status, os_threads).unwrap_or(false))
}

fn says_so(status: &str, os_threads: usize) -> Option<bool> {
    let value = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
    };
    let threads: usize = value("Threads:")?.parse().ok()?;
    let caught = u64::from_str_radix(value("SigCgt:")?, 16).ok()?;
    let mut signals = (1..=64).filter(|signal| caught >> (signal - 1) & 1 != 0);
    let wakes = |signal| !WAKES_NOBODY.contains(&signal) && !signal_handler::is_sole(signal);
    Some(threads == os_threads && !signals.any(wakes))
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::says_so;

    fn status(threads: usize, caught: u64) -> String {
        format!(
            "Name:\ta\nThreads:\t{threads}\nSigIgn:\t0000000000001000\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn what_is_not_known_wakes() {
        let segv_and_bus = 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1);
        let of_the_c_library = 0b11 << 31;
        let hangup = 1 << (libc::SIGHUP - 1);
        assert_eq!(says_so(&status(3, segv_and_bus), 3), Some(true));
        assert_eq!(says_so(&status(3, of_the_c_library), 3), Some(true));
        assert_eq!(says_so(&status(4, segv_and_bus), 3), Some(false));
        assert_eq!(says_so(&status(3, hangup), 3), Some(false));
        assert_eq!(says_so("Name:\ta\n", 3), None);
    }
}

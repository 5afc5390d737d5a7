//! The numbers that the system tells in files of `/proc` and `/sys`.

use std::fs;
use std::path::Path;

/// The number that a file of one number holds; `None` for `max` or no such file.
pub(crate) fn number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Threads of the whole system.
pub(crate) fn tasks() -> Option<u64> {
    let loadavg = fs::read_to_string("/proc/loadavg").ok()?;
    let (_, tasks) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    tasks.parse().ok()
}

/// A field of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(field: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

/// The field of a file of `Name:   123 kB` lines, in bytes.
pub(crate) fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|line| line.split_once(':').is_some_and(|(name, _)| name == field))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Pss_Dirty:   7 kB\nPss:   12 kB\nThreads: 3\n";
        assert_eq!(kibibytes(text, "Pss"), Some(12 * 1024));
        assert_eq!(kibibytes(text, "Rss"), None);
    }
}

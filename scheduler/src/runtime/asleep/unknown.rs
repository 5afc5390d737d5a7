//! Where the system does not tell, something may wake somebody.

pub(super) fn nothing_wakes(_os_threads: usize) -> bool {
    false
}

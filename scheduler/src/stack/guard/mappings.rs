//! The memory mappings that guards may take of those which the process may have.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::protocol::lock::Inside;

/// This part of them, and at least so many, are left to the rest of the process.
const RESERVED_SHARE: usize = 32;
const RESERVED: usize = 1024;

/// How many guards have taken. A forked child has those of its parent.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// How many mappings the system allows; `None` where it has no such limit.
pub(super) fn limit() -> Option<usize> {
    /// That of Linux where nobody has changed it.
    const DEFAULT: usize = 65_530;
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let _inside = Inside::enter();
            // It cannot be read while no descriptor is free.
            let text = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
            let known = text.and_then(|text| text.trim().parse().ok());
            KNOWN.store(known.unwrap_or(0), Ordering::Relaxed);
            Some(known.unwrap_or(DEFAULT))
        }
        known => Some(known),
    }
}

/// How many guards may take.
fn most() -> usize {
    match limit() {
        Some(limit) => limit.saturating_sub((limit / RESERVED_SHARE).max(RESERVED)),
        None => usize::MAX,
    }
}

/// How many are left.
pub(super) fn left() -> usize {
    most().saturating_sub(TAKEN.load(Ordering::Relaxed))
}

/// Takes up to `count`, and returns how many.
pub(super) fn take(count: usize) -> usize {
    let most = most();
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let count = count.min(most.saturating_sub(taken));
        match TAKEN.compare_exchange_weak(
            taken,
            taken + count,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return count,
            Err(now) => taken = now,
        }
    }
}

/// Gives back `count` that were taken and not needed.
pub(super) fn give_back(count: usize) {
    TAKEN.fetch_sub(count, Ordering::Relaxed);
}

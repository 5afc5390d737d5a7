//! Where no program is adopted: a green thread has no mask of its own, and none is marked.

/// There is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals;

pub(crate) fn blocked() -> Signals {
    Signals
}

pub(crate) fn hold_back() {}

pub(crate) fn begin_worker(_: Signals) {}

#[cfg(feature = "adopt")]
pub(crate) fn differ(_: Signals, _: u64) -> bool {
    false
}

pub(crate) fn while_suspended(_: Signals, suspend: impl FnOnce()) {
    suspend();
}

pub(crate) struct HeldBack;

impl HeldBack {
    pub(crate) fn begin() -> Self {
        Self
    }
}

pub(crate) fn end() {}

//! There are no signals, so no stack for their handlers.

pub(crate) struct SignalStack;

impl SignalStack {
    pub(crate) fn of_this_thread() -> Option<Self> {
        None
    }
}

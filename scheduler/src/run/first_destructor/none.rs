//! Where it is not known who registers a destructor, nothing is sure to run before those of all thread-locals.

/// Whether [`guard`] does anything.
pub(crate) fn is_there() -> bool {
    false
}

pub(crate) fn prepare() {}

pub(crate) fn guard() {}

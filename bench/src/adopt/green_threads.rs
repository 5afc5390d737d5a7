//! The work by green threads, as a program does it that was written for them.

super::work::work!(
    roving::thread,
    roving::sync,
    roving::net,
    roving::os::unix::net,
    roving::io::pipe,
    roving::channel::unbounded
);

/// What does one row.
pub(crate) fn find(what: &str) -> Option<fn(usize) -> f64> {
    common(what)
}

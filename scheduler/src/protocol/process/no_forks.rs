//! Where no process forks.

pub(crate) fn watch_forks(_in_child: extern "C" fn()) {}

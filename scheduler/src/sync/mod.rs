//! Locks and signals, as `std::sync` has them, for green threads and OS threads alike.

pub(crate) mod list;

//! Descriptors that the runtime has opened, which the program knows nothing of.
//!
//! A program that becomes a daemon, or is about to execute another one, closes whatever it has not opened itself. The driver would not
//! live on without its own. So these stay open: to the program they are descriptors that are not there. All of them are closed where
//! another program is executed.

use std::ffi::{c_int, c_uint};

use roving_io::adopt::kept;

use crate::is_adopted;

/// Whether it is to stay open.
pub(crate) fn is_kept(descriptor: c_int) -> bool {
    is_adopted() && kept().any(|kept| kept == descriptor)
}

/// Calls `close` for each part of a range of descriptors that has none of these in it, until one fails, which gives -1.
pub(crate) fn around(
    first: c_uint,
    last: c_uint,
    mut close: impl FnMut(c_uint, c_uint) -> c_int,
) -> c_int {
    let is_in_range = |kept: &c_uint| (first..=last).contains(kept);
    let mut next = first;
    // The smallest, one after another: a handler of a signal, which may be here, has no memory to sort them in.
    let smallest = |from: c_uint| {
        let numbers = kept().filter_map(|kept| c_uint::try_from(kept).ok());
        numbers
            .filter(is_in_range)
            .filter(|&kept| kept >= from && is_adopted())
            .min()
    };
    while let Some(kept) = smallest(next) {
        if next < kept && close(next, kept - 1) != 0 {
            return -1;
        }
        next = kept + 1;
    }
    // Nothing is left if the last of all is one of these. An empty range is the caller's mistake, for the system to tell.
    if next > last && next > first {
        return 0;
    }
    close(next, last)
}

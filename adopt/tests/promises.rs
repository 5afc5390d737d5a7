//! What functions promise beside what they are for, in a program that is adopted.

mod common;

use std::ffi::CStr;

use common::is_the_same;
use common::library::load;

/// Checks that a function of `promises.c` tells the same. It is all that the test of its name does.
fn tells_the_same(function: &'static CStr) {
    is_the_same(function.to_str().unwrap(), move || {
        // SAFETY: it has this type.
        Some(unsafe { load("promises.c", "cc")?.told(function) })
    });
}

macro_rules! tell_the_same {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let name = concat!(stringify!($name), "\0");
            tells_the_same(CStr::from_bytes_with_nul(name.as_bytes()).unwrap());
        }
    )*};
}

tell_the_same! {
    who_has_moved_a_part
    who_reads_from_a_terminal
    who_reads_from_a_fifo
    who_shares_a_descriptor
    who_wants_so_much
    who_waits_keeps_an_error
    who_is_told_of_a_time
    who_is_cancelled_at_a_point
    who_is_cancelled_in_a_command
    who_comes_after_an_owner
}

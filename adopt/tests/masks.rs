//! Masks of signals, in a program that is adopted.

mod common;

use std::ffi::{CStr, c_int};

use common::is_the_same;
use common::library::load;

/// Those that `masks.c` tells to be blocked, as bits.
const USR1: c_int = 1;
const USR2: c_int = 2;
const TERM: c_int = 4;
const HUP: c_int = 8;

/// Checks that a function of `masks.c` tells the same everywhere, and on an OS thread what is expected.
fn tells_the_same(name: &'static str, function: &'static CStr, expected: &'static [c_int]) {
    is_the_same(name, move || {
        let library = load("masks.c", "cc")?;
        // SAFETY: it has this type.
        let run: extern "C" fn(*mut c_int) -> c_int = unsafe { library.function(function) };
        let mut told = [0; 64];
        let count = run(told.as_mut_ptr());
        let told = told[..count as usize].to_vec();
        assert_eq!(told, expected);
        Some(told)
    });
}

#[test]
fn a_mask_is_its_threads_own() {
    tells_the_same("a_mask_is_its_threads_own", c"who_has_a_mask", &[0, 0]);
}

#[test]
fn a_mask_is_inherited() {
    tells_the_same(
        "a_mask_is_inherited",
        c"who_inherits_a_mask",
        &[USR1 | USR2, USR1, TERM, USR1 | HUP, 0],
    );
}

#[test]
fn what_is_blocked_is_pending_for_its_thread() {
    tells_the_same(
        "what_is_blocked_is_pending_for_its_thread",
        c"what_is_blocked_is_pending",
        &[
            0,
            0,
            0,
            7,
            0,
            1,
            0,
            3,
            0,
            libc::SIGUSR2,
            0,
            0,
            0,
            0,
            -1,
            libc::EAGAIN,
            0,
            10,
            11,
            12,
        ],
    );
}

#[test]
fn who_waits_for_signals_finds_what_is_pending() {
    // The C library tells of it as if it came from another process.
    let (signal, told) = (libc::SIGUSR1, libc::SI_USER);
    let ends = |handled| [-1, libc::EINTR, handled, USR1];
    let takes = [signal, told, 0, 4, USR1];
    let expected = [
        &ends(1)[..],
        &ends(2),
        &ends(3),
        &ends(4),
        &takes,
        &takes,
        &[0],
    ]
    .concat();
    tells_the_same(
        "who_waits_for_signals_finds_what_is_pending",
        c"who_waits_finds_what_is_pending",
        expected.leak(),
    );
}

#[test]
fn what_a_thread_causes_is_its_own() {
    tells_the_same(
        "what_a_thread_causes_is_its_own",
        c"who_raises_waits_and_handles",
        &[0, 1, 1, -1, libc::EPIPE, 1, 0, libc::SIGPIPE, 0, 0, 0],
    );
}

#[test]
fn jumps_restore_masks() {
    tells_the_same(
        "jumps_restore_masks",
        c"who_jumps_has_the_mask_of_the_place",
        &[TERM, 0, USR1, 0, HUP, USR2, 0],
    );
}

#[test]
fn masks_are_changed_in_many_ways() {
    tells_the_same(
        "masks_are_changed_in_many_ways",
        c"who_changes_it_otherwise",
        &[
            USR1,
            0,
            0,
            USR1,
            0,
            USR2,
            0,
            -1,
            libc::EINVAL,
            libc::EINVAL,
            USR2,
            0,
            USR2,
            0,
        ],
    );
}

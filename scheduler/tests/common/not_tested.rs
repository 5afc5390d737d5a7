//! Tests of what not every machine has.

// Not all that include this file use all of it.
#![allow(dead_code)]

use std::env;
use std::fmt::Display;

/// Set where green threads must have their own thread-locals.
const EXPECTED: &str = "ROVING_EXPECT_OWN";

/// Says that a test, or a part of it, has tested nothing because green threads cannot have their own thread-locals here.
/// Fails if they must have them.
pub(crate) fn without_own_thread_locals(why: impl Display) {
    fail_if_expected(&why);
    println!("not tested: {why}");
}

/// Fails if green threads must have their own thread-locals here, and cannot.
pub(crate) fn fail_if_expected(why: impl Display) {
    let is_expected =
        env::var(EXPECTED).is_ok_and(|expected| !["", "0"].contains(&expected.trim()));
    assert!(!is_expected, "{EXPECTED} is set, but {why}");
}

//! A plugin with a Roving of its own: it shares nothing with that of the program which loads it, nor with that of a second copy.

use std::ffi::c_int;
use std::panic;

use roving_builds::{everything, roving};

/// Uses each part once, and leaves a runtime with threads that wait. 0 if all is as it should be.
#[unsafe(no_mangle)]
pub extern "C" fn roving_plugin_works() -> c_int {
    succeeds(|| {
        everything();
        roving::go!(|| roving::thread::sleep(std::time::Duration::MAX));
    })
}

/// Uses a runtime that ends, and none that stays. 0 if all is as it should be.
#[unsafe(no_mangle)]
pub extern "C" fn roving_plugin_comes_and_goes() -> c_int {
    succeeds(roving_builds::own_runtime)
}

fn succeeds(what: fn()) -> c_int {
    panic::catch_unwind(what).is_err().into()
}

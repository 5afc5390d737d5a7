//! A library that adopts the program which loads it, or tells why that cannot be.

use std::ffi::{CString, c_char};

/// What the attempt gives, for programs in C.
#[unsafe(no_mangle)]
extern "C" fn adopts() -> *const c_char {
    let told = match roving_adopt::adopt() {
        Ok(()) => "adopted".to_owned(),
        Err(error) => error.to_string(),
    };
    CString::new(told).unwrap_or_default().into_raw()
}

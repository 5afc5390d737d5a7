//! Whether the program's calls come here.
//!
//! The loader has whoever calls a function call that of the first file that has it: the program itself, what was loaded before it, its
//! libraries in their order. The C library is one of these. A library that the program loads later comes after it, if anybody but itself
//! looks there at all; and if the program has these functions too, they are the program's.

use std::ffi::{CStr, c_void};
use std::path::Path;

use crate::report::file_of;

/// Some of those that are defined here.
const DEFINED: [&CStr; 3] = [c"pthread_create", c"syscall", c"read"];

/// A function of the C library that is defined here, and the file whose definition the program calls instead.
pub(crate) fn calls_elsewhere() -> Option<(&'static str, String)> {
    let own = file_of(calls_elsewhere as *const () as usize)?.dli_fbase;
    DEFINED.iter().find_map(|name| {
        // SAFETY: a string.
        let found: *mut c_void = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        let file = file_of(found.addr())?;
        if file.dli_fbase == own {
            return None;
        }
        // SAFETY: it stays as long as the file is loaded.
        let path = unsafe { CStr::from_ptr(file.dli_fname) }.to_string_lossy();
        let file = Path::new(&*path).file_name().unwrap_or_default();
        Some((name.to_str().ok()?, file.to_string_lossy().into_owned()))
    })
}

//! Stacks that are executed.
//!
//! The system gives a program, and the C library its threads, stacks whose memory may be executed where a file of the program's says that
//! it is in need of that, as those do that C compilers have made of functions within functions. Stacks of green threads are
//! never executed. So a program with such a file is not adopted.

use std::ffi::{CStr, c_int, c_void};

/// The first file of those that are loaded which has its stacks executed.
pub(crate) fn executed_by() -> Option<String> {
    unsafe extern "C" fn visit(
        file: *mut libc::dl_phdr_info,
        _size: usize,
        found: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr passes a file, and what it was given.
        let (file, found) = unsafe { (&*file, &mut *found.cast::<Option<String>>()) };
        let mut headers = (0..file.dlpi_phnum).map(|index| {
            // SAFETY: the file has so many headers.
            unsafe { &*file.dlpi_phdr.add(index.into()) }
        });
        let executes = headers
            .any(|header| header.p_type == libc::PT_GNU_STACK && header.p_flags & libc::PF_X != 0);
        if executes {
            // SAFETY: a string.
            let name = unsafe { CStr::from_ptr(file.dlpi_name) }.to_string_lossy();
            // The program's own has none.
            *found = Some(if name.is_empty() {
                "the program".into()
            } else {
                name.into()
            });
        }
        executes.into()
    }
    let mut found = None;
    // SAFETY: `visit` takes what it is given here.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    found
}

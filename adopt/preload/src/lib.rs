//! `libroving_preload.so`, to be loaded before a finished program, which `roving-run` sees to.
//!
//! The loader calls [`begin`] when the C library is ready, before `main` and after the constructors of most other libraries. Threads
//! that those have made are OS threads. Then it [asks for adoption](adopt::adopt_at_first_thread), and that is all.
//!
//! # The environment
//!
//! | variable              | what it says                                                                          |
//! |-----------------------|---------------------------------------------------------------------------------------|
//! | `ROVING_ADOPT_ONLY`   | the number of the process that is adopted, also as what it executes; others are not   |
//! | `ROVING_ADOPT_REPORT` | a file: when the program exits, a report is added to it; `-` is the standard error    |

#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod report;

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::{env, process};

// What is in this section the loader calls once. It hands arguments over, which are not taken.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    if !is_asked() {
        return;
    }
    if let Some(other) = defined_before() {
        eprintln!(
            "roving: cannot adopt the program: {other} has a pthread_create of its own; its threads are OS threads"
        );
        return;
    }
    report::begin();
    adopt::adopt_at_first_thread();
}

/// Whether this process is to be adopted.
fn is_asked() -> bool {
    env::var("ROVING_ADOPT_ONLY").map_or(true, |only| only.parse() == Ok(process::id()))
}

/// The program or the library whose definitions come before those of this one: a program that adopts itself, for one.
fn defined_before() -> Option<String> {
    // SAFETY: dlsym with a valid name.
    let first = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"pthread_create".as_ptr()) };
    let first = object_of(first)?;
    let this = object_of(begin as *const c_void)?;
    // SAFETY: the loader has given the name, and nothing is unloaded before `main`.
    let name = || unsafe { CStr::from_ptr(first.dli_fname) };
    (first.dli_fbase != this.dli_fbase).then(|| name().to_string_lossy().into_owned())
}

/// What the loader knows of what is there.
fn object_of(address: *const c_void) -> Option<libc::Dl_info> {
    let mut info = MaybeUninit::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    unsafe { (libc::dladdr(address, info.as_mut_ptr()) != 0).then(|| info.assume_init()) }
}

//! Tests that lie within the standard library, as far as they use it as every program may. To them this is the library:
//! they find it as `crate`, and what their own module has as `super`.

#![cfg(test)]
#![allow(warnings)]
#![feature(
    internal_output_capture,
    io_const_error,
    core_io_borrowed_buf,
    read_buf,
    peer_credentials_unix_socket,
    unix_socket_ancillary_data,
    unix_socket_peek,
    tcp_linger,
    tcp_deferaccept,
    thread_id_value,
    thread_sleep_until,
    can_vector,
    write_all_vectored,
    buf_read_has_data_left,
    anonymous_pipe,
    linux_pidfd,
    exit_status_error,
    never_type,
    io_error_uncategorized,
    fs_set_times,
    assert_matches,
    dirfd,
    test
)]

extern crate test;

pub use std::fs::Dir;
pub use std::io::{IsTerminal, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout};
pub use std::os::unix::net::*;
pub use std::process::*;
pub use std::sync::{Arc, Mutex};
pub use std::thread::*;
pub use std::{
    any, assert_matches, borrow, cell, cmp, collections, convert, env, error, ffi, fmt, fs, hash, io, iter, mem, num, ops, os, panic,
    path, process, ptr, result, str, string, sync, time, vec,
};

#[path = "../std/net/test.rs"]
mod net_test;

mod net {
    pub(crate) use crate::net_test as test;
    pub use std::net::*;
}

mod thread {
    pub use std::thread::*;

    /// By the same function as the library's.
    pub(crate) fn current_os_id() -> u64 {
        unsafe extern "C" {
            safe fn gettid() -> i32;
        }
        gettid() as u64
    }
}

#[path = "../std/test_helpers.rs"]
mod test_helpers;

#[path = "../std/io/pipe/tests.rs"]
mod io_pipe;
#[path = "../std/net/tcp/tests.rs"]
mod net_tcp;
#[path = "../std/os/fd/tests.rs"]
mod os_fd;
#[path = "../std/os/unix/net/tests.rs"]
mod os_unix_net;
#[path = "../std/process/tests.rs"]
mod process_tests;
#[path = "../std/thread/tests.rs"]
mod thread_tests;
#[path = "../std/io/stdio/tests.rs"]
mod io_stdio;

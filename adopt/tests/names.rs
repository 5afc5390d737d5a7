//! Looking up names, in a program that is adopted: the same answers and errors.

mod common;

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::{self, MaybeUninit};
use std::net::ToSocketAddrs;
use std::ptr;
use std::thread;

use common::{in_programs, is_the_same, on_a_green_thread};

unsafe extern "C" {
    fn gethostbyname_r(
        name: *const c_char,
        host: *mut libc::hostent,
        buffer: *mut c_char,
        length: usize,
        found: *mut *mut libc::hostent,
        error: *mut c_int,
    ) -> c_int;
    fn gethostbyname(name: *const c_char) -> *mut libc::hostent;
    fn res_query(
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int;
    fn __h_errno_location() -> *mut c_int;
}

/// The names that are looked up: of this host, addresses, and what is none.
const NAMES: [&str; 6] = ["localhost", "127.0.0.1", "::1", "", "no such name", "a..b"];

fn addresses(name: &str, flags: c_int) -> (c_int, Vec<(c_int, c_int)>) {
    let name = CString::new(name).unwrap();
    let mut found = ptr::null_mut();
    // SAFETY: strings, hints that are valid as zeroes, room for the answer, and a list that the C library has made.
    unsafe {
        let mut hints: libc::addrinfo = mem::zeroed();
        hints.ai_flags = flags;
        let error = libc::getaddrinfo(
            name.as_ptr(),
            c"80".as_ptr(),
            &raw const hints,
            &raw mut found,
        );
        let mut all = Vec::new();
        if error == 0 {
            let mut next = found;
            while let Some(address) = next.as_ref() {
                all.push((address.ai_family, address.ai_socktype));
                next = address.ai_next;
            }
            libc::freeaddrinfo(found);
        }
        (error, all)
    }
}

#[test]
fn hosts_are_found_and_not_found() {
    is_the_same("hosts_are_found_and_not_found", || {
        NAMES.map(|name| {
            let of_std = (name, 80).to_socket_addrs();
            (
                addresses(name, 0),
                addresses(name, libc::AI_NUMERICHOST),
                addresses(name, !0),
                of_std
                    .map(|found| found.collect::<Vec<_>>())
                    .map_err(|error| error.kind()),
            )
        })
    });
}

#[test]
fn the_old_ways_tell_their_errors() {
    is_the_same("the_old_ways_tell_their_errors", || {
        NAMES.map(|name| {
            let name = CString::new(name).unwrap();
            let lengths = [0, 4096].map(|length| {
                let mut buffer = vec![0; length];
                let mut host = MaybeUninit::uninit();
                let (mut found, mut error) = (ptr::null_mut(), 0);
                // SAFETY: there is room for the answers.
                let result = unsafe {
                    gethostbyname_r(
                        name.as_ptr(),
                        host.as_mut_ptr(),
                        buffer.as_mut_ptr(),
                        length,
                        &raw mut found,
                        &raw mut error,
                    )
                };
                (result, found.is_null(), error)
            });
            // SAFETY: a string; what was found is not looked at; the error is the current thread's.
            let plain = unsafe {
                *__h_errno_location() = 0;
                (
                    gethostbyname(name.as_ptr()).is_null(),
                    *__h_errno_location(),
                )
            };
            // SAFETY: a string, and room for the answer.
            let asked = unsafe {
                let mut answer = [0; 64];
                *__h_errno_location() = 0;
                // That a name is too long is found without a server.
                let name = CString::new("x".repeat(300)).unwrap();
                (
                    res_query(name.as_ptr(), 1, 1, answer.as_mut_ptr(), 64),
                    *__h_errno_location(),
                )
            };
            (lengths, plain, asked)
        })
    });
}

#[test]
fn addresses_have_names() {
    is_the_same("addresses_have_names", || {
        [0, libc::NI_NUMERICHOST, libc::NI_NAMEREQD, !0].map(|flags| {
            let mut host = [0; 256];
            // SAFETY: an address, and room for the answer.
            let result = unsafe {
                let mut address: libc::sockaddr_in = mem::zeroed();
                address.sin_family = libc::AF_INET as u16;
                address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
                libc::getnameinfo(
                    (&raw const address).cast(),
                    size_of::<libc::sockaddr_in>() as u32,
                    host.as_mut_ptr(),
                    256,
                    ptr::null_mut(),
                    0,
                    flags,
                )
            };
            (result, host)
        })
    });
}

#[test]
fn users_and_groups_are_found() {
    is_the_same("users_and_groups_are_found", || {
        ["root", "nobody at all"].map(|name| {
            let name = CString::new(name).unwrap();
            // SAFETY: a string; what was found is the C library's, and nobody looks anything up meanwhile.
            unsafe {
                let user = libc::getpwnam(name.as_ptr()).as_ref();
                let home = user.map(|user| CStr::from_ptr(user.pw_dir).to_owned());
                let group = libc::getgrnam(name.as_ptr()).as_ref();
                let mut groups = [0; 64];
                let mut count = 64;
                libc::getgrouplist(name.as_ptr(), 0, groups.as_mut_ptr(), &raw mut count);
                (home, group.map(|group| group.gr_gid), count)
            }
        })
    });
}

#[test]
fn many_look_up_at_once() {
    in_programs("many_look_up_at_once", || {
        on_a_green_thread(|| {
            let looks_up = || ("localhost", 80).to_socket_addrs().unwrap().count();
            let threads: Vec<_> = (0..100).map(|_| thread::spawn(looks_up)).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap() > 0));
        });
    });
}

//! Children that have the memory of their parent, in a program that is adopted.

mod common;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::library::load;
use common::{in_adopted_programs, in_programs, on_a_green_thread};

/// What is done by somebody: a child of his waits, and takes what others wait for.
fn vforks() {
    let Some(library) = load("vforks.c", "cc") else {
        return;
    };
    type VForks = extern "C" fn(c_int, c_int, c_int, c_int) -> c_int;
    // SAFETY: they are these functions.
    let (vforks, executes): (VForks, extern "C" fn() -> c_int) = unsafe {
        (
            library.function(c"vforks"),
            library.function(c"vforks_and_executes"),
        )
    };
    // SAFETY: of this signal the child has the handler, and this process has none.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let (waited_for, mut other) = UnixStream::pair().unwrap();
    let fd = waited_for.as_raw_fd();
    let waited_for = Arc::new(waited_for);
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let waited_for = waited_for.clone();
            thread::spawn(move || (&*waited_for).read_exact(&mut [0]).unwrap())
        })
        .collect();
    thread::sleep(Duration::from_millis(10));
    for by_old_name in [0, 1] {
        let (ready, mut feeds) = UnixStream::pair().unwrap();
        let (into, mut tells) = UnixStream::pair().unwrap();
        feeds.write_all(&[7, 8]).unwrap();
        let status = vforks(fd, ready.as_raw_fd(), into.as_raw_fd(), by_old_name);
        assert_eq!(status, 0);
        let mut byte = [0];
        tells.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
        // Nothing of that is closed here.
        feeds.write_all(&[9]).unwrap();
        (&ready).read_exact(&mut byte).unwrap();
        assert_eq!(byte, [9]);
        (&into).write_all(&[1]).unwrap();
    }
    assert_eq!(executes(), 0);
    // The handler is the child's, and who waits goes on waiting.
    // SAFETY: it is ignored.
    assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
    other.write_all(&[1; 6]).unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
    // And who has made it waits as ever: others run meanwhile.
    let threads: Vec<_> = (0..common::MANY)
        .map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(20))))
        .collect();
    thread::sleep(Duration::from_millis(5));
    assert!(common::os_threads() < common::MANY / 2);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn the_child_of_a_green_thread_parks_nobody() {
    in_adopted_programs("the_child_of_a_green_thread_parks_nobody", vforks);
}

#[test]
fn so_does_that_of_an_os_thread() {
    in_programs("so_does_that_of_an_os_thread", || {
        on_a_green_thread(|| ());
        vforks();
    });
}

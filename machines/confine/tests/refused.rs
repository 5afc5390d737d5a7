//! What a confined process is refused, asked by the process itself: each test runs again in one that is confined.

#![cfg(target_os = "linux")]

use std::env;
use std::io;
use std::process::Command;
use std::ptr;

use libc::{c_int, c_long};

const CONFINED: &str = "ROVING_CONFINE_TEST";

/// Runs the test `name` again, confined by `options`. In that process this is `false`, and the test asks.
fn confines(name: &str, options: &[&str]) -> bool {
    if env::var_os(CONFINED).is_some() {
        return false;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_roving-confine"))
        .args(options)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CONFINED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
    true
}

/// What the system says to a call; the arguments make it fail, or do nothing, where it is allowed.
fn errno(call: c_long, arguments: [usize; 3]) -> c_int {
    let [first, second, third] = arguments;
    // SAFETY: the callers below pass no address but null, and no descriptor but -1.
    let result = unsafe { libc::syscall(call, first, second, third, 0, 0, 0) };
    if result >= 0 {
        0
    } else {
        io::Error::last_os_error().raw_os_error().unwrap()
    }
}

fn flags(flags: c_int) -> usize {
    flags.cast_unsigned() as usize
}

#[test]
fn docker_refuses_what_its_profile_does() {
    if confines("docker_refuses_what_its_profile_does", &["--docker"]) {
        return;
    }
    let user_mode_only = flags(libc::O_CLOEXEC | 1);
    assert_eq!(
        errno(libc::SYS_userfaultfd, [user_mode_only, 0, 0]),
        libc::EPERM
    );
    assert_eq!(errno(libc::SYS_io_uring_setup, [0, 0, 0]), libc::EPERM);
    assert_eq!(errno(libc::SYS_unshare, [0, 0, 0]), libc::EPERM);
    assert_eq!(errno(libc::SYS_clone3, [0, 0, 0]), libc::ENOSYS);
    let new_user = flags(libc::CLONE_NEWUSER | libc::CLONE_FS);
    assert_eq!(errno(libc::SYS_clone, [new_user, 0, 0]), libc::EPERM);
    for family in [libc::AF_ALG, libc::AF_VSOCK] {
        let stream = flags(libc::SOCK_SEQPACKET);
        assert_eq!(
            errno(libc::SYS_socket, [flags(family), stream, 0]),
            libc::EPERM
        );
    }
    assert_eq!(errno(libc::SYS_personality, [0x4_0000, 0, 0]), libc::EPERM);

    assert_eq!(errno(libc::SYS_personality, [0xFFFF_FFFF, 0, 0]), 0);
    assert_eq!(errno(libc::SYS_memfd_create, [0, 0, 0]), libc::EFAULT);
    std::thread::spawn(|| ()).join().unwrap();
    assert!(Command::new("true").status().unwrap().success());
    std::net::TcpListener::bind("127.0.0.1:0").unwrap();
}

#[test]
fn a_feature_is_refused_alone() {
    let options = [
        "--refuse",
        "guard-install",
        "--refuse",
        "userfaultfd",
        "--refuse",
        "memfd",
        "--refuse",
        "poison",
    ];
    if confines("a_feature_is_refused_alone", &options) {
        return;
    }
    // Of no pages, as is allowed for any advice that the kernel knows.
    let advise = |advice| errno(libc::SYS_madvise, [ptr::null::<u8>() as usize, 0, advice]);
    assert_eq!(advise(102), libc::EINVAL);
    assert_eq!(advise(flags(libc::MADV_DONTNEED)), 0);
    assert_eq!(errno(libc::SYS_userfaultfd, [0, 0, 0]), libc::EPERM);
    assert_eq!(errno(libc::SYS_memfd_create, [0, 0, 0]), libc::EPERM);
    let no_descriptor = usize::MAX;
    let ioctl = |request| errno(libc::SYS_ioctl, [no_descriptor, request, 0]);
    assert_eq!(ioctl(0xC020_AA08), libc::EINVAL);
    assert_eq!(ioctl(0xC020_AA07), libc::EBADF);
}

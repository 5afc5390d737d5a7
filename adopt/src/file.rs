//! Files, where a call waits for others or for a disk: locks on them, FIFOs that are opened, and what is to be written out.
//!
//! A lock that is free, and a file that others do not keep from being opened, cost no more than the call. One that is not is
//! waited for with the worker handed over: the system wakes nobody who waits for it in another way. A green thread that waits for
//! a lock of `flock` or of an open file description therefore waits like the OS thread that it is not; a lock of `fcntl` or `lockf`
//! belongs to the process, so that its threads, green or not, never wait for each other.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;

use libc::{iovec, mode_t, off_t, off64_t, ssize_t, timespec};

use crate::hand_over::{hand_over, hand_over_at_point, handed_over};
use crate::next::next;
use crate::thread::Point;
use crate::{errno, parks};

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn flock(file: c_int, operation: c_int) -> c_int {
    type Next = unsafe extern "C-unwind" fn(c_int, c_int) -> c_int;
    // SAFETY: the caller's promise.
    let next = |operation| unsafe { next!(flock: Next)(file, operation) };
    if operation & libc::LOCK_NB != 0 || !parks() {
        return next(operation);
    }
    let attempt = || next(operation | libc::LOCK_NB);
    let wait = || hand_over(|| next(operation));
    errno::or_wait(&[libc::EWOULDBLOCK], attempt, wait)
}

/// The errors of a lock of a process that is another one's.
const IS_TAKEN: [c_int; 2] = [libc::EAGAIN, libc::EACCES];

/// Defines `lockf` for offsets of one of the two types.
macro_rules! lockf {
    ($name:ident, $offset:ty) => {
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(file: c_int, command: c_int, length: $offset) -> c_int {
            type Next = unsafe extern "C-unwind" fn(c_int, c_int, $offset) -> c_int;
            // SAFETY: the caller's promise.
            let next = |command| unsafe { next!($name: Next)(file, command, length) };
            if command != libc::F_LOCK {
                return next(command);
            }
            let _point = Point::begin();
            if !parks() {
                return next(command);
            }
            let wait = || hand_over_at_point(|| next(command));
            errno::or_wait(&IS_TAKEN, || next(libc::F_TLOCK), wait)
        }
    };
}

lockf!(lockf, off_t);
lockf!(lockf64, off64_t);

/// What `fcntl` does for a command that takes a lock and waits for it. `next` is the C library's, for any command on the same
/// file and lock.
pub(crate) fn lock(command: c_int, next: impl Fn(c_int) -> c_int) -> c_int {
    let attempt = match command {
        libc::F_OFD_SETLKW => libc::F_OFD_SETLK,
        _ => libc::F_SETLK,
    };
    let _point = Point::begin();
    if !parks() {
        return next(command);
    }
    let wait = || hand_over_at_point(|| next(command));
    errno::or_wait(&IS_TAKEN, || next(attempt), wait)
}

/// Whether to open it waits until somebody else has opened it too.
///
/// # Safety
///
/// Null, or a path.
#[inline(never)]
pub(crate) unsafe fn waits_to_open(directory: c_int, path: *const c_char, flags: c_int) -> bool {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the caller's promise, to the system, which checks it; there is room for the answer, which is there if it succeeds.
    flags & (libc::O_NONBLOCK | libc::O_PATH) == 0
        && flags & libc::O_ACCMODE != libc::O_RDWR
        && unsafe {
            libc::fstatat(directory, path, found.as_mut_ptr(), 0) == 0
                && found.assume_init().st_mode & libc::S_IFMT == libc::S_IFIFO
        }
}

/// Opens by `open`, in a way that parks nobody else if it waits.
///
/// # Safety
///
/// Null, or a path.
unsafe fn open_by(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    open: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    if parks() && unsafe { waits_to_open(directory, path, flags) } {
        hand_over_at_point(open)
    } else {
        open()
    }
}

/// Defines functions that open a path: as `open` does, or in a directory, with a mode or without. The mode is there if the
/// flags ask for it, in a register.
macro_rules! opens {
    ($(fn $name:ident [$($directory:ident)?] (path, flags $(, $mode:ident)?);)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(
            $($directory: c_int,)?
            path: *const c_char,
            flags: c_int
            $(, $mode: mode_t)?
        ) -> c_int {
            let _point = Point::begin();
            type Next = unsafe extern "C-unwind" fn(
                $(opens!(@ $directory c_int),)? *const c_char, c_int $(, opens!(@ $mode mode_t))?
            ) -> c_int;
            let _directory = libc::AT_FDCWD;
            $(let _directory = $directory;)?
            // SAFETY: the caller's promise.
            unsafe {
                open_by(_directory, path, flags, || {
                    next!($name: Next)($($directory,)? path, flags $(, $mode)?)
                })
            }
        }
    )*};
    (@ $name:ident $type:ty) => { $type };
}

opens! {
    fn open[](path, flags, mode);
    fn open64[](path, flags, mode);
    fn __open[](path, flags, mode);
    fn __open64[](path, flags, mode);
    fn __open_2[](path, flags);
    fn __open64_2[](path, flags);
    fn openat[directory](path, flags, mode);
    fn openat64[directory](path, flags, mode);
    fn __openat_2[directory](path, flags);
    fn __openat64_2[directory](path, flags);
}

/// Defines `creat` by its two names.
macro_rules! creates {
    ($($name:ident)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(path: *const c_char, mode: mode_t) -> c_int {
            let _point = Point::begin();
            type Next = unsafe extern "C-unwind" fn(*const c_char, mode_t) -> c_int;
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            // SAFETY: the caller's promise.
            unsafe {
                open_by(libc::AT_FDCWD, path, flags, || next!($name: Next)(path, mode))
            }
        }
    )*};
}

creates!(creat creat64);

/// Defines functions that read from a place in a file, or write there. They are points of cancellation, and a file has no other waits than those that
/// it takes to be there.
macro_rules! at_a_place {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(file: c_int, $($argument: $type),*) -> ssize_t {
            let _point = Point::begin();
            type Next = unsafe extern "C-unwind" fn(c_int, $($type),*) -> ssize_t;
            // SAFETY: the caller's promise.
            unsafe { next!($name: Next)(file, $($argument),*) }
        }
    )*};
}

at_a_place! {
    pread(to: *mut c_void, length: usize, at: off_t);
    pread64(to: *mut c_void, length: usize, at: off64_t);
    __pread64(to: *mut c_void, length: usize, at: off64_t);
    __pread_chk(to: *mut c_void, length: usize, at: off_t, size: usize);
    __pread64_chk(to: *mut c_void, length: usize, at: off64_t, size: usize);
    pwrite(from: *const c_void, length: usize, at: off_t);
    pwrite64(from: *const c_void, length: usize, at: off64_t);
    __pwrite64(from: *const c_void, length: usize, at: off64_t);
    preadv(to: *const iovec, count: c_int, at: off_t);
    preadv64(to: *const iovec, count: c_int, at: off64_t);
    pwritev(from: *const iovec, count: c_int, at: off_t);
    pwritev64(from: *const iovec, count: c_int, at: off64_t);
}

// What has been written reaches the disk, the terminal or the other side of a mapping.
handed_over! {
    can be interrupted:
    fn fsync(file: c_int) -> c_int;
    fn fdatasync(file: c_int) -> c_int;
    fn msync(start: *mut c_void, length: usize, flags: c_int) -> c_int;
    fn sync_file_range(file: c_int, start: off64_t, length: off64_t, flags: c_uint) -> c_int;
    fn tcdrain(terminal: c_int) -> c_int;
}

handed_over! {
    at no point of cancellation:
    fn sync();
    fn syncfs(file: c_int) -> c_int;
    fn tcsendbreak(terminal: c_int, duration: c_int) -> c_int;
    fn tcflow(terminal: c_int, action: c_int) -> c_int;
}

// Operations that the C library does on threads of its own.
handed_over! {
    can be interrupted:
    fn aio_suspend(list: *const *const c_void, count: c_int, timeout: *const timespec) -> c_int;
    fn aio_suspend64(list: *const *const c_void, count: c_int, timeout: *const timespec) -> c_int;
}

handed_over! {
    at no point of cancellation:
    fn lio_listio(mode: c_int, list: *const *mut c_void, count: c_int, event: *mut c_void) -> c_int;
    fn lio_listio64(mode: c_int, list: *const *mut c_void, count: c_int, event: *mut c_void) -> c_int;
}

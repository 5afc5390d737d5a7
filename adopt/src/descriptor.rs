//! How a number comes to stand for another descriptor, and how the mode of one changes.
//!
//! The C library promises nothing to who waits on a descriptor while it is closed; here he finds it gone, with `EBADF`. Whoever gets
//! its number next has nothing to do with him.

use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::MaybeUninit;

use libc::{FILE, socklen_t};
use roving_scheduler::adopt;

use crate::hand_over::{hand_over, in_system};
use crate::kept;
use crate::next::next;
use crate::slot::{self, Nature, Slot, replacing};
use crate::thread::{Point, look_up};
use crate::waiting::is_timeout;
use crate::{command, errno, file};
use crate::{is_adopted, parks};

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    unsafe { close_at_no_point(fd) }
}

/// Closes a descriptor, at no point of cancellation.
///
/// # Safety
///
/// That of `close`.
pub(crate) unsafe fn close_at_no_point(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let close = || unsafe { next!(close: unsafe extern "C-unwind" fn(c_int) -> c_int)(fd) };
    if kept::is_kept(fd) {
        return errno::fail(libc::EBADF);
    }
    // Asked while the number stands for it.
    let waits = parks() && lingers(fd);
    replacing(fd, || if waits { hand_over(close) } else { close() })
}

/// Whether a close may wait for the peer.
fn lingers(fd: c_int) -> bool {
    let is_socket = |slot: &Slot| slot.nature(fd).is_some_and(Nature::is_socket);
    if !Slot::seen(fd).is_some_and(is_socket) {
        return false;
    }
    let mut linger = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    let mut len = size_of::<libc::linger>() as socklen_t;
    // SAFETY: there is room for the answer.
    unsafe {
        let place = (&raw mut linger).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, place, &raw mut len);
    }
    linger.l_onoff != 0 && linger.l_linger != 0
}

/// Whether a duplicate of `from` takes the number `to` from whatever has it.
fn takes(from: c_int, to: c_int) -> bool {
    // SAFETY: it changes nothing.
    is_adopted() && from != to && unsafe { next!(fcntl: Control)(from, libc::F_GETFD, 0) } >= 0
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let dup = || unsafe { next!(dup2: unsafe extern "C" fn(c_int, c_int) -> c_int)(from, to) };
    if takes(from, to) {
        take(to, dup)
    } else {
        dup()
    }
}

/// Has the number stand for another descriptor by `dup`, unless it is that of one which stays open: to the program, that is a
/// number beyond all that it can have.
fn take<T: From<i8>>(to: c_int, dup: impl FnOnce() -> T) -> T {
    if kept::is_kept(to) {
        errno::fail(libc::EBADF)
    } else {
        replacing(to, dup)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    type Next = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
    // SAFETY: the caller's promise.
    let dup = || unsafe { next!(dup3: Next)(from, to, flags) };
    if takes(from, to) && flags & !libc::O_CLOEXEC == 0 {
        take(to, dup)
    } else {
        dup()
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    type Next = unsafe extern "C" fn(c_uint, c_uint, c_int) -> c_int;
    // SAFETY: the caller's promise.
    let close = |first, last| unsafe { next!(close_range: Next)(first, last, flags) };
    const CLOSE_RANGE_UNSHARE: c_int = 2;
    const CLOSE_RANGE_CLOEXEC: c_int = 4;
    if flags & CLOSE_RANGE_UNSHARE != 0 && is_adopted() && has_threads() {
        // What an OS thread has from then on is nobody else's, but a green one has what its worker has.
        return if adopt::thread_number().is_none() {
            close(first, last)
        } else {
            errno::fail(libc::EINVAL)
        };
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        return close(first, last);
    }
    slot::replacing_all(first, last, || kept::around(first, last, close))
}

/// Whether there are other OS threads in this process. Also if that cannot be found out.
#[cold]
fn has_threads() -> bool {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds.
    let links = unsafe {
        (libc::stat(c"/proc/self/task".as_ptr(), stat.as_mut_ptr()) == 0)
            .then(|| stat.assume_init().st_nlink)
    };
    // A folder has two, and one for each folder in it.
    links != Some(3)
}

/// As of what all threads of a process have in common, it gives `EINVAL` for descriptors where others run on the same OS thread.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unshare(what: c_int) -> c_int {
    let of_green = is_adopted() && adopt::thread_number().is_some();
    if what & libc::CLONE_FILES != 0 && of_green && has_threads() {
        return errno::fail(libc::EINVAL);
    }
    // SAFETY: the caller's promise.
    unsafe { next!(unshare: unsafe extern "C" fn(c_int) -> c_int)(what) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn closefrom(first: c_int) {
    let close = |first: c_uint, last: c_uint| {
        if last == c_uint::MAX {
            // SAFETY: the caller's promise, of those that are left.
            unsafe { next!(closefrom: unsafe extern "C" fn(c_int))(first as c_int) };
        } else {
            for fd in first..=last {
                // SAFETY: the same.
                unsafe { next!(close: unsafe extern "C" fn(c_int) -> c_int)(fd as c_int) };
            }
        }
        0
    };
    let first = first.max(0) as c_uint;
    slot::replacing_all(first, c_uint::MAX, || {
        kept::around(first, c_uint::MAX, close)
    });
}

/// The descriptor of a stream.
///
/// # Safety
///
/// Null, or a stream.
unsafe fn number(stream: *mut FILE) -> c_int {
    if stream.is_null() || !is_adopted() {
        return -1;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::fileno(stream) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn fclose(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's promise.
    let close = || unsafe {
        replacing(number(stream), || {
            next!(fclose: unsafe extern "C-unwind" fn(*mut FILE) -> c_int)(stream)
        })
    };
    command::close(stream, close).unwrap_or_else(close)
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pclose(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's promise.
    if let Some(status) = command::close(stream, || unsafe { fclose(stream) }) {
        return status;
    }
    // SAFETY: the caller's promise.
    let close =
        || unsafe { next!(pclose: unsafe extern "C-unwind" fn(*mut FILE) -> c_int)(stream) };
    // SAFETY: the caller's promise.
    replacing(unsafe { number(stream) }, || {
        // It waits for the child.
        in_system(close)
    })
}

type Reopen =
    unsafe extern "C-unwind" fn(*const libc::c_char, *const libc::c_char, *mut FILE) -> *mut FILE;

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn freopen(
    path: *const libc::c_char,
    mode: *const libc::c_char,
    stream: *mut FILE,
) -> *mut FILE {
    // SAFETY: the caller's promise.
    unsafe {
        replacing(number(stream), || {
            next!(freopen: Reopen)(path, mode, stream)
        })
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn freopen64(
    path: *const libc::c_char,
    mode: *const libc::c_char,
    stream: *mut FILE,
) -> *mut FILE {
    // SAFETY: the caller's promise.
    unsafe {
        replacing(number(stream), || {
            next!(freopen64: Reopen)(path, mode, stream)
        })
    }
}

type Control = unsafe extern "C-unwind" fn(c_int, c_int, usize) -> c_int;

/// All commands have at most one argument, in a register, so if the caller has not given one it is there too.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { control(next!(fcntl: Control), fd, command, argument) }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { control(next!(fcntl64: Control), fd, command, argument) }
}

/// # Safety
///
/// That of `fcntl`, which `next` is.
unsafe fn control(next: Control, fd: c_int, command: c_int, argument: usize) -> c_int {
    look_up();
    // SAFETY: the caller's promise.
    let call = || unsafe { next(fd, command, argument) };
    match command {
        libc::F_SETFL if is_adopted() => {
            let result = call();
            slot::settings_changed();
            result
        }
        libc::F_SETLKW | libc::F_OFD_SETLKW => file::lock(command, |command| {
            // SAFETY: the caller's promise; whatever takes a lock has the same argument.
            unsafe { next(fd, command, argument) }
        }),
        _ => call(),
    }
}

/// All requests have at most one argument, as commands of [`fcntl`] do.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    look_up();
    type Next = unsafe extern "C-unwind" fn(c_int, c_ulong, usize) -> c_int;
    // SAFETY: the caller's promise.
    let result = unsafe { next!(ioctl: Next)(fd, request, argument) };
    if request == libc::FIONBIO && is_adopted() {
        slot::settings_changed();
    }
    result
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    look_up();
    type Next = unsafe extern "C-unwind" fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int;
    // SAFETY: the caller's promise.
    let result = unsafe { next!(setsockopt: Next)(fd, level, name, value, len) };
    if is_timeout(level, name) && is_adopted() {
        slot::settings_changed();
    }
    if is_low_water_mark(level, name) {
        slot::note_low_water_mark();
    }
    result
}

fn is_low_water_mark(level: c_int, name: c_int) -> bool {
    level == libc::SOL_SOCKET && name == libc::SO_RCVLOWAT
}

/// What is to be done with a system call that its caller makes by its number, if it takes a number from a descriptor, or changes how one is
/// used.
///
/// # Safety
///
/// That of the system call, which `call` makes.
pub(crate) unsafe fn by_number(
    number: c_long,
    [a, b, c]: [usize; 3],
    call: impl FnOnce() -> c_long,
) -> c_long {
    let has_settings = || match number {
        libc::SYS_fcntl => b as c_int == libc::F_SETFL,
        libc::SYS_ioctl => b as c_ulong == libc::FIONBIO,
        libc::SYS_setsockopt => is_timeout(b as c_int, c as c_int),
        _ => false,
    };
    match number {
        libc::SYS_close if kept::is_kept(a as c_int) => errno::fail::<i8>(libc::EBADF).into(),
        libc::SYS_close => replacing(a as c_int, call),
        libc::SYS_dup3 if takes(a as c_int, b as c_int) => take(b as c_int, call),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 if takes(a as c_int, b as c_int) => take(b as c_int, call),
        libc::SYS_fcntl | libc::SYS_ioctl | libc::SYS_setsockopt if is_adopted() => {
            let result = call();
            if has_settings() {
                slot::settings_changed();
            }
            if number == libc::SYS_setsockopt && is_low_water_mark(b as c_int, c as c_int) {
                slot::note_low_water_mark();
            }
            result
        }
        _ => call(),
    }
}

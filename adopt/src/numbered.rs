//! System calls that the program makes by their numbers, which libraries do that are older than the function of the C library, or
//! newer.
//!
//! What has to do with what is known here of threads, signals and descriptors does what the function of its name does. What waits is handed over:
//! such a call is no point of cancellation, and as little as it says of what it waits for is looked at. Where a descriptor tells by a poll that the call
//! does not wait, it is made at once. A futex is [waited for](crate::futex) as ever.

use std::ffi::{c_int, c_long, c_short, c_uint};
use std::ptr;

use libc::pid_t;

use crate::hand_over::hand_over;
use crate::next::next;
use crate::waiting::{blocks, is_ready};
use crate::{
    descriptor, errno, file, futex, handler, is_adopted, mask, memory, parks, process,
    signal_stack, thread, time,
};

/// Any system call, with what it takes.
pub(crate) type Syscall =
    unsafe extern "C-unwind" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// The system calls. All of them have up to six arguments, in registers, so those that the caller has not given are there too. The handler of
/// a signal that one lets come may end the thread.
///
/// # Safety
///
/// That of the system call.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if number == libc::SYS_futex && is_adopted() {
        // SAFETY: the caller's promise.
        unsafe { futex::futex(a, b as c_int, c as u32, d, e, f as u32) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { other(number, a, b, c, d, e, f) }
    }
}

/// Any other system call.
///
/// # Safety
///
/// That of the system call.
// Not inlined, nor is what else has a frame: whoever waits for a futex keeps that for as long.
#[inline(never)]
unsafe fn other(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    thread::look_up();
    // SAFETY: the caller's promise.
    let with = |a, b| unsafe { next!(syscall: Syscall)(number, a, b, c, d, e, f) };
    match number {
        libc::SYS_gettid => thread::gettid().into(),
        libc::SYS_exit => thread::exit_at_once(a as c_int, || with(a, b)),
        libc::SYS_tkill => with(thread::sent_to(a as pid_t) as usize, b),
        libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => {
            with(a, thread::sent_to(b as pid_t) as usize)
        }
        // SAFETY: the caller's promise.
        libc::SYS_close_range if is_adopted() => unsafe {
            descriptor::close_range(a as c_uint, b as c_uint, c as c_int).into()
        },
        // SAFETY: the caller's promise.
        libc::SYS_rt_sigaction => unsafe {
            handler::by_number(a as c_int, b, c, d, |b, c| {
                next!(syscall: Syscall)(number, a, b, c, d, e, f)
            })
        },
        // SAFETY: the caller's promise.
        libc::SYS_rt_sigprocmask => unsafe { mask::by_number(b, || with(a, b)) },
        libc::SYS_rt_sigpending => mask::telling_pending(|| with(a, b)),
        // SAFETY: the caller's promise.
        libc::SYS_sigaltstack if is_adopted() => unsafe {
            signal_stack::sigaltstack(place(a), ptr::with_exposed_provenance_mut(b)).into()
        },
        // SAFETY: the caller's promise.
        libc::SYS_prctl if is_adopted() => unsafe { thread::prctl(a as c_int, b, c, d, e).into() },
        // SAFETY: the caller's promise.
        libc::SYS_sched_setaffinity => unsafe {
            thread::sched_setaffinity(a as pid_t, b, place(c)).into()
        },
        // SAFETY: the caller's promise.
        libc::SYS_sched_setscheduler => unsafe {
            thread::sched_setscheduler(a as pid_t, b as c_int, place(c)).into()
        },
        // SAFETY: the caller's promise.
        libc::SYS_sched_setparam => unsafe { thread::sched_setparam(a as pid_t, place(b)).into() },
        // SAFETY: it has no preconditions.
        libc::SYS_unshare => unsafe { descriptor::unshare(a as c_int).into() },
        libc::SYS_sched_yield => time::sched_yield().into(),
        SYS_FUTEX_WAKE if is_adopted() && d & FUTEX2_SIZE_MASK == FUTEX2_SIZE_U32 => {
            // SAFETY: the caller's promise.
            let system =
                |c: u32| unsafe { next!(syscall: Syscall)(number, a, b, c as usize, d, e, f) };
            futex::wake(a, b as u32, (c as c_int).max(0) as usize, system)
        }
        _ if parks() && errno::kept(|| waits(number, [a, b, c, d, e])) => hand_over(|| with(a, b)),
        // SAFETY: the caller's promise.
        _ => unsafe {
            process::by_number(number, a, || {
                descriptor::by_number(number, [a, b, c], || with(a, b))
            })
        },
    }
}

/// What is there, of whichever type.
fn place<T>(address: usize) -> *const T {
    ptr::with_exposed_provenance(address)
}

/// Whether a call may wait in the system for others.
fn waits(number: c_long, [a, b, c, d, e]: [usize; 5]) -> bool {
    let fd = a as c_int;
    // SAFETY: the system checks it.
    let is_fifo = |directory: c_int, path: usize, flags: c_int| unsafe {
        file::waits_to_open(directory, ptr::with_exposed_provenance(path), flags)
    };
    let unless_ready = |events: c_short| blocks(fd) && !is_ready(fd, events);
    let may_receive =
        |flags| flags as c_int & libc::MSG_DONTWAIT == 0 && unless_ready(libc::POLLIN);
    let may_send = |flags| flags as c_int & libc::MSG_DONTWAIT == 0 && unless_ready(libc::POLLOUT);
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_poll => return c as c_int != 0,
        libc::SYS_epoll_wait => return d as c_int != 0,
        libc::SYS_select | libc::SYS_pause => return true,
        libc::SYS_open => return is_fifo(libc::AT_FDCWD, a, b as c_int),
        libc::SYS_creat => return is_fifo(libc::AT_FDCWD, a, libc::O_WRONLY),
        _ => {}
    }
    match number {
        libc::SYS_read | libc::SYS_readv | libc::SYS_preadv2 => unless_ready(libc::POLLIN),
        libc::SYS_accept | libc::SYS_accept4 => unless_ready(libc::POLLIN),
        libc::SYS_recvfrom | libc::SYS_recvmmsg => may_receive(d),
        libc::SYS_recvmsg => may_receive(c),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwritev2 => unless_ready(libc::POLLOUT),
        libc::SYS_sendto | libc::SYS_sendmmsg => may_send(d),
        libc::SYS_sendmsg => may_send(c),
        libc::SYS_sendfile | libc::SYS_vmsplice => unless_ready(libc::POLLOUT),
        libc::SYS_splice | libc::SYS_tee => true,
        libc::SYS_connect => blocks(fd),
        libc::SYS_epoll_pwait => d as c_int != 0,
        libc::SYS_ppoll | libc::SYS_pselect6 | libc::SYS_epoll_pwait2 => true,
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => true,
        libc::SYS_openat => is_fifo(fd, b, c as c_int),
        // Its flags come first.
        libc::SYS_openat2 => {
            let flags = ptr::with_exposed_provenance::<u64>(c);
            // SAFETY: the caller's promise, if they are there.
            memory::is_there(flags.cast(), size_of::<u64>())
                && is_fifo(fd, b, unsafe { flags.read_unaligned() } as c_int)
        }
        libc::SYS_flock => b as c_int & libc::LOCK_NB == 0,
        libc::SYS_fcntl => matches!(b as c_int, libc::F_SETLKW | libc::F_OFD_SETLKW),
        libc::SYS_wait4 => c as c_int & libc::WNOHANG == 0,
        libc::SYS_waitid => d as c_int & libc::WNOHANG == 0,
        libc::SYS_msgsnd => d as c_int & libc::IPC_NOWAIT == 0,
        libc::SYS_msgrcv => e as c_int & libc::IPC_NOWAIT == 0,
        libc::SYS_io_uring_enter => c > 0 && d & IORING_ENTER_GETEVENTS != 0,
        libc::SYS_io_getevents => b > 0,
        _ => ALWAYS.contains(&number),
    }
}

const IORING_ENTER_GETEVENTS: usize = 1;

/// Those of one number for all architectures, which the C library knows in its newest versions.
const SYS_FUTEX_WAKE: c_long = 454;
const SYS_FUTEX_WAIT: c_long = 455;

/// How wide a futex is, in their flags.
const FUTEX2_SIZE_MASK: usize = 3;
const FUTEX2_SIZE_U32: usize = 2;

/// What waits whatever it takes.
const ALWAYS: [c_long; 14] = [
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_timedreceive,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_futex_waitv,
    SYS_FUTEX_WAIT,
];

//! A thread that never ran: what [`pattern`](super::pattern) compares two of.
//!
//! It is an OS thread on a stack of ours that ends at once by the bare system call, so that the C library does not notice and
//! takes nothing apart. What it leaves behind is a block, in the C library's list of threads, that nobody removes from there
//! and whose memory is never given back.
//!
//! # Its end
//!
//! When a thread has ended, the kernel zeroes a word that the thread has named, and wakes who waits for that. The C library
//! names one in `struct pthread`: `tid` up to glibc 2.42, `joinstate` from 2.43 on. A model names [`ENDING`] instead. So all in its
//! block is as the C library has made it for a thread that is there and may be joined, and stays so; but for `tid`, which
//! is made 0, because the kernel may give that number to another thread.
//!
//! What is made after a model is the same to the C library on every version, with a `tid` that is none of the kernel's: a thread
//! that has not ended, on which `pthread_join` waits for ever. (In itself it is EDEADLK. Neither it nor `pthread_detach` is for
//! green threads; what the latter leaves, the next thread in the block does not find.)
//!
//! # The signal to all threads
//!
//! `setuid` and its like mark all threads, send each a signal, and wait until as many have handled it. One that is on its
//! way to the end would take it along, and the caller wait for ever. The C library's own threads look for the mark; a model
//! makes its `tid` 0, so that none is sent to it, and then waits until it is not marked. Whoever marks it later finds the
//! 0.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::libc_layout::{Layout, Refusal};
use super::pattern::{half, set_half};
use super::pointer;
use super::unsignalled;

/// The size of a model's stack, larger than the least that the C library takes on any processor. No other
/// word of a `struct pthread` is likely to have this value.
pub(super) const STACK: usize = 67 * 4096;

/// The word that the kernel zeroes when a model has ended. It is there for ever, since one whose end nobody has waited for
/// may still come to it.
static ENDING: AtomicU32 = AtomicU32::new(0);
/// A model is there.
const RUNS: u32 = 1;
/// It has not named the word, and ends as any other thread does.
const REFUSED: u32 = 2;

/// So many pauses are made while something is waited for. Counted are pauses and not time, since a process may be stopped
/// meanwhile: in all ten seconds.
const PAUSES: u32 = 10_000;
const PAUSE: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// Where a model finds its `tid` and `cancelhandling`.
static FIELDS: OnceLock<[isize; 2]> = OnceLock::new();

/// Makes a model and gives its thread pointer. One at a time.
pub(super) fn make(layout: &Layout) -> Result<usize, Refusal> {
    FIELDS.get_or_init(|| [layout.tid, layout.cancelhandling]);
    ENDING.store(RUNS, Ordering::SeqCst);
    let (stack, pthread) = start()?;
    if !(stack..=stack + STACK - layout.pthread.len()).contains(&pthread) {
        return Err("the C library does not put a thread's block on its stack".into());
    }
    wait_for_end()?;
    Ok(pthread.wrapping_add_signed(-layout.pthread.start))
}

/// Starts one, and gives where its stack begins, which stays, and the C library's name for it.
fn start() -> Result<(usize, usize), Refusal> {
    let refused = |what, error| Err(format!("{what} failed: {error}").into());
    // SAFETY: a new mapping.
    let stack = unsafe {
        libc::mmap(
            ptr::null_mut(),
            STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if stack == libc::MAP_FAILED {
        return refused("mapping a stack", io::Error::last_os_error());
    }
    let mut thread: libc::pthread_t = 0;
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the stack is a mapping of its own, of the size that is told, and stays; the attributes are initialised before they
    // are used.
    let created = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, STACK);
        // No handler of the program's shall run on it.
        let created = unsignalled::with_open(unsignalled::OF_C_LIBRARY, || {
            libc::pthread_create(&mut thread, attributes.as_ptr(), vanish, ptr::null_mut())
        });
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        created
    };
    match created {
        0 => Ok((stack.expose_provenance(), thread as usize)),
        error => refused("creating a thread", io::Error::from_raw_os_error(error)),
    }
}

/// What a model does: it ends without the C library's knowledge.
extern "C" fn vanish(_: *mut c_void) -> *mut c_void {
    let this = pointer::current();
    let [tid, cancelhandling] = *FIELDS.get().expect("the maker has set them");
    let number = half(this, tid);
    set_half(this, tid, 0);
    let is_unmarked = (0..PAUSES).any(|_| {
        let marks = half(this, cancelhandling);
        if marks != 0 {
            // SAFETY: reads the pause. The bare call is no point of cancellation, which would write to the block.
            unsafe { libc::syscall(libc::SYS_nanosleep, &PAUSE, ptr::null::<libc::timespec>()) };
        }
        marks == 0
    });
    // SAFETY: names a word that stays, and takes back what an interrupted pause has left; then ends this thread at once,
    // which uses nothing of its stack any more.
    unsafe {
        if is_unmarked && libc::syscall(libc::SYS_set_tid_address, ENDING.as_ptr()) > 0 {
            *libc::__errno_location() = 0;
            libc::syscall(libc::SYS_exit, 0);
        }
    }
    set_half(this, tid, number);
    ENDING.store(REFUSED, Ordering::SeqCst);
    // SAFETY: wakes who waits on the word.
    unsafe { libc::syscall(libc::SYS_futex, ENDING.as_ptr(), libc::FUTEX_WAKE, 1) };
    ptr::null_mut()
}

fn wait_for_end() -> Result<(), Refusal> {
    let mut pauses = 0;
    while pauses < PAUSES {
        match ENDING.load(Ordering::SeqCst) {
            0 => return Ok(()),
            REFUSED => {
                return Err("a thread could not end without the C library's knowledge".into());
            }
            _ => {}
        }
        // SAFETY: waits on a word that stays, and reads the pause.
        let woken = unsafe {
            libc::syscall(
                libc::SYS_futex,
                ENDING.as_ptr(),
                libc::FUTEX_WAIT,
                RUNS,
                &PAUSE,
            )
        };
        // A signal's handler may have run, or the word have changed before.
        let is_pause = woken != 0 && io::Error::last_os_error().kind() == io::ErrorKind::TimedOut;
        pauses += u32::from(is_pause);
    }
    Err("the system has not told of the end of a thread within ten seconds".into())
}

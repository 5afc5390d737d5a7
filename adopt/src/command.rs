//! Commands that a shell runs: `system`, `popen` and `pclose`.
//!
//! Within the C library's own functions nobody could be parked while the command runs. So a green thread's are made of what these are
//! made of: a process that is spawned, and [waited for](crate::child). A stream of `popen` is one of its pipe, and the
//! list of them says of which process: `pclose` closes the stream, and waits for that. A stream that is not in the list is
//! the C library's.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{FILE, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t, sigaction as Action};
use roving_scheduler::PerProcess;
use roving_scheduler::lock::Mutex;

use crate::child::await_child;
use crate::descriptor::close_at_no_point;
use crate::hand_over::hand_over;
use crate::next::next;
use crate::thread::{Point, is_ending};
use crate::{errno, parks};

/// Calls of `system` that are under way, and what was done before with the two signals that are ignored meanwhile.
struct Ignoring {
    calls: usize,
    before: [Action; 2],
}

const IGNORED: [c_int; 2] = [libc::SIGINT, libc::SIGQUIT];

/// The processes by the addresses of their streams, with the streams' descriptors.
type Streams = Mutex<HashMap<usize, (pid_t, c_int)>>;

static IGNORING: PerProcess<Mutex<Ignoring>> = PerProcess::new();
static STREAMS: PerProcess<Streams> = PerProcess::new();

fn streams() -> &'static Streams {
    STREAMS.get_or_make(Mutex::default)
}

/// Ignores what a terminal sends to all who read from it, since it is for the command, until it is dropped.
struct Ignores {
    before: [Action; 2],
}

impl Ignores {
    fn begin() -> Self {
        let ignoring = IGNORING.get_or_make(|| {
            Mutex::new(Ignoring {
                calls: 0,
                // SAFETY: zeroes are an action.
                before: unsafe { mem::zeroed() },
            })
        });
        let mut ignoring = ignoring.lock();
        if ignoring.calls == 0 {
            // SAFETY: zeroes are an action; there is room for those that were before.
            unsafe {
                let mut ignore: Action = mem::zeroed();
                ignore.sa_sigaction = libc::SIG_IGN;
                for (signal, before) in IGNORED.into_iter().zip(&mut ignoring.before) {
                    libc::sigaction(signal, &raw const ignore, before);
                }
            }
        }
        ignoring.calls += 1;
        Self {
            before: ignoring.before,
        }
    }
}

impl Drop for Ignores {
    fn drop(&mut self) {
        let Some(ignoring) = IGNORING.get() else {
            return;
        };
        let mut ignoring = ignoring.lock();
        ignoring.calls = ignoring.calls.saturating_sub(1);
        if ignoring.calls == 0 {
            for (signal, before) in IGNORED.into_iter().zip(&self.before) {
                // SAFETY: it is what was before.
                unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
            }
        }
    }
}

/// Spawns a shell that runs a command, after `prepare`, and gives its number or an error.
///
/// # Safety
///
/// The command is a string.
unsafe fn spawn(
    command: *const c_char,
    prepare: impl FnOnce(*mut posix_spawnattr_t, *mut posix_spawn_file_actions_t),
) -> Result<pid_t, c_int> {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    const SHELL: &CStr = c"/bin/sh";
    let arguments = [
        c"sh".as_ptr(),
        c"-c".as_ptr(),
        c"--".as_ptr(),
        command,
        ptr::null(),
    ];
    let mut attributes = MaybeUninit::<posix_spawnattr_t>::uninit();
    let mut actions = MaybeUninit::<posix_spawn_file_actions_t>::uninit();
    let mut pid = 0;
    // SAFETY: both are made before they are used, and what is made is destroyed. The strings are the caller's and ours, which
    // nobody writes to.
    unsafe {
        libc::posix_spawnattr_init(attributes.as_mut_ptr());
        libc::posix_spawn_file_actions_init(actions.as_mut_ptr());
        prepare(attributes.as_mut_ptr(), actions.as_mut_ptr());
        let error = libc::posix_spawn(
            &raw mut pid,
            SHELL.as_ptr(),
            actions.as_ptr(),
            attributes.as_ptr(),
            arguments.as_ptr().cast::<*mut c_char>(),
            environ,
        );
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
        if error == 0 { Ok(pid) } else { Err(error) }
    }
}

/// Waits until a process has ended, whatever interrupts the caller, and gives its status, or -1. If the caller is to end, the process
/// is ended for that, or not.
fn status_of(pid: pid_t, is_ended: bool) -> c_int {
    let mut status = -1;
    loop {
        if await_child(pid, &mut status) != -1 {
            return status;
        }
        match errno::get() {
            libc::EINTR if is_ended && is_ending() => {
                // SAFETY: it is a child that nobody has waited for.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            libc::EINTR => {}
            // Who has begun it waits for its end.
            libc::ECANCELED => {
                let waited = hand_over(|| {
                    loop {
                        let waited = await_child(pid, &mut status);
                        if waited != -1 || errno::get() != libc::EINTR {
                            return waited;
                        }
                    }
                });
                return if waited == -1 { -1 } else { status };
            }
            _ => return -1,
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn system(command: *const c_char) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(*const c_char) -> c_int;
    if !parks() || command.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { next!(system: Next)(command) };
    }
    let ignores = Ignores::begin();
    // SAFETY: the caller's promise; what is prepared is there.
    let spawned = unsafe {
        spawn(command, |attributes, _| {
            let mut defaults = mem::zeroed();
            libc::sigemptyset(&raw mut defaults);
            for (signal, before) in IGNORED.into_iter().zip(&ignores.before) {
                if before.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut defaults, signal);
                }
            }
            libc::posix_spawnattr_setsigdefault(attributes, &raw const defaults);
            libc::posix_spawnattr_setflags(attributes, libc::POSIX_SPAWN_SETSIGDEF as _);
        })
    };
    match spawned {
        Ok(pid) => status_of(pid, true),
        Err(error) => {
            // As if the shell had said that it cannot be run.
            errno::set(error);
            127 << 8
        }
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE {
    type Next = unsafe extern "C-unwind" fn(*const c_char, *const c_char) -> *mut FILE;
    // SAFETY: the caller's promise.
    let reads = match unsafe { CStr::from_ptr(mode) }.to_bytes() {
        b"r" | b"re" | b"er" if parks() => true,
        b"w" | b"we" | b"ew" if parks() => false,
        // SAFETY: the caller's promise.
        _ => return unsafe { next!(popen: Next)(command, mode) },
    };
    // SAFETY: the caller's promise.
    let opened = unsafe {
        let closes_on_exec = CStr::from_ptr(mode).to_bytes().contains(&b'e');
        open(command, reads, closes_on_exec)
    };
    match opened {
        Ok(stream) => stream,
        Err(error) => {
            errno::set(error);
            ptr::null_mut()
        }
    }
}

/// A stream that a command's output is read from, or its input written to.
///
/// # Safety
///
/// The command is a string.
unsafe fn open(
    command: *const c_char,
    reads: bool,
    closes_on_exec: bool,
) -> Result<*mut FILE, c_int> {
    let mut ends = [-1; 2];
    // SAFETY: there is room for both.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(errno::get());
    }
    let (ours, theirs, place) = if reads {
        (ends[0], ends[1], libc::STDOUT_FILENO)
    } else {
        (ends[1], ends[0], libc::STDIN_FILENO)
    };
    let mode = if reads { c"r" } else { c"w" };
    // While the list is locked nobody closes what the child is to close.
    let mut streams = streams().lock();
    // SAFETY: the descriptors are ours, and closed once; the strings end.
    unsafe {
        let stream = libc::fdopen(ours, mode.as_ptr());
        let opened = if stream.is_null() {
            Err(errno::get())
        } else {
            spawn(command, |_, actions| {
                // The command has no streams of others.
                for &(_, fd) in streams.values().filter(|(_, fd)| *fd != place) {
                    libc::posix_spawn_file_actions_addclose(actions, fd);
                }
                libc::posix_spawn_file_actions_adddup2(actions, theirs, place);
            })
        };
        close_at_no_point(theirs);
        match opened {
            Ok(pid) => {
                if !closes_on_exec {
                    libc::fcntl(ours, libc::F_SETFD, 0);
                }
                streams.insert(stream.addr(), (pid, ours));
                Ok(stream)
            }
            Err(error) => {
                drop(streams);
                if stream.is_null() {
                    close_at_no_point(ours);
                } else {
                    libc::fclose(stream);
                }
                Err(error)
            }
        }
    }
}

/// Closes a stream by `close`, and waits for the command that it is of. `None` if it is of none that is known here: then nothing is done.
pub(crate) fn close(stream: *mut FILE, close: impl FnOnce() -> c_int) -> Option<c_int> {
    let (pid, _) = STREAMS.get()?.lock().remove(&stream.addr())?;
    close();
    Some(status_of(pid, false))
}

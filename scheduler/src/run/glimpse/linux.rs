//! A glimpse of a thread that runs: what it does, and its stack, taken by somebody else and without its doing anything.
//!
//! - One that waits in the system is where the system says, by its stack pointer and the address of its code, and
//!   its stack can be copied from outside. That is what it was at one moment if it has used no time
//!   of a processor meanwhile.
//! - One that computes copies its stack itself, in the handler of a [signal](user_tick) that comes
//!   only while it does, so that no call into the system is interrupted by it.
//!
//! Its worker writes a word with each [run](crate::protocol::pace): if that is the same before and after, it was
//! the thread that the worker has shown meanwhile.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::run::green::Waiter;
use crate::run::processor;
use crate::run::shared::Remote;
use crate::stack::Bounds;
use crate::stack::copied::{self, CODE, Copied, Registers, STACK_POINTER};

#[path = "user_tick.rs"]
mod user_tick;

/// One thread is waited for so long at most: some turns of those who share its processor.
const PATIENCE: Duration = Duration::from_millis(200);
/// And all that one takes a glimpse of, together.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(1);
/// After this it is asked again what it does.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a thread does that keeps its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub(crate) enum Doing {
    Computes,
    /// In the system, or in foreign code that does.
    Waits,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Computes => "computes",
            Self::Waits => "waits in the system",
        })
    }
}

/// Why there is no glimpse of a thread that has given its worker back.
const WENT_ON: &str = "it has gone on meanwhile";

/// Where a thread is.
enum Place {
    /// It runs on a processor, or could.
    Runs,
    Waits {
        stack_pointer: usize,
        code: usize,
    },
}

/// See the [module](self).
pub(crate) struct Glimpse {
    copied: Copied,
    memory: File,
    until: Instant,
}

impl Glimpse {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            copied: Copied::new()?,
            memory: File::open("/proc/thread-self/mem")?,
            until: Instant::now() + PATIENCE_IN_ALL,
        })
    }

    /// Copies the stack of a thread that a worker has shown, which is not the current one.
    ///
    /// # Errors
    ///
    /// The text says why it has not been copied.
    pub(crate) fn take(
        &mut self,
        worker: &Remote,
        thread: &Arc<Waiter>,
    ) -> Result<Doing, &'static str> {
        let os_thread = worker.os_thread();
        let run = worker.pace.run();
        fence(Ordering::SeqCst);
        if run.is_none() || !worker.running.thread.shows(thread) {
            return Err(WENT_ON);
        }
        let has_gone_on = || {
            fence(Ordering::SeqCst);
            worker.pace.run() != run
        };
        let own_stack = thread.own_stack().expect("green threads have stacks");
        // SAFETY: a worker shows what it runs, which has started.
        let own = unsafe { own_stack.started() }.coroutine.stack();
        let until = self.until.min(Instant::now() + PATIENCE);
        loop {
            self.copied.clear();
            let doing = match place(os_thread).ok_or("the system does not tell where it is")? {
                Place::Runs => {
                    let again = until.min(Instant::now() + LOOK_AGAIN);
                    let is_over = || has_gone_on() || Instant::now() >= again;
                    user_tick::copy(os_thread, &mut self.copied, own, &self.memory, is_over)?
                        .then_some(Doing::Computes)
                }
                Place::Waits {
                    stack_pointer,
                    code,
                } => self
                    .copy_of_waiting(os_thread, stack_pointer, code, own)
                    .then_some(Doing::Waits),
            };
            if has_gone_on() {
                return Err(WENT_ON);
            }
            match doing {
                Some(doing) => return Ok(doing),
                None if Instant::now() >= until => {
                    return Err("it is in the kernel, or waits for a processor");
                }
                None => {}
            }
        }
    }

    /// `false` if it does not wait there any more.
    fn copy_of_waiting(
        &mut self,
        os_thread: u32,
        stack_pointer: usize,
        code: usize,
        own: Bounds,
    ) -> bool {
        let used = processor::time_of(os_thread);
        let is_there = || {
            matches!(place(os_thread), Some(Place::Waits { stack_pointer: other, code: at })
                if (other, at) == (stack_pointer, code))
        };
        if !is_there() {
            return false;
        }
        let mut registers: Registers = [0; 17];
        registers[STACK_POINTER] = stack_pointer;
        registers[CODE] = code;
        let memory = self.memory.as_raw_fd();
        self.copied.take(registers, own, |from, to, bytes| {
            // SAFETY: `take` gives room.
            unsafe { read(memory, from, to, bytes) }
        });
        is_there() && processor::time_of(os_thread) == used
    }

    /// Which of the addresses that a walk finds are the thread's own.
    pub(crate) fn frames_of_thread(addresses: &[usize]) -> Range<usize> {
        copied::frames_of_thread(addresses)
    }

    /// Calls `call` with the frames of the thread above its own. It must not unwind. `false` if the thread is in
    /// code that the unwinder does not know.
    pub(crate) fn walk(&mut self, call: &mut dyn FnMut()) -> bool {
        self.copied.walk(call)
    }
}

/// What the system says of an OS thread of this process: `running`, or the number of the call that it is in and what
/// is given to it, and at the end the stack pointer and the address of the code.
fn place(os_thread: u32) -> Option<Place> {
    let text = fs::read_to_string(format!("/proc/self/task/{os_thread}/syscall")).ok()?;
    let text = text.trim_end();
    if text == "running" {
        return Some(Place::Runs);
    }
    let mut words = text.rsplit(' ');
    let mut next = || usize::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (code, stack_pointer) = (next()?, next()?);
    Some(Place::Waits {
        stack_pointer,
        code,
    })
}

/// Copies memory of this process that may be gone, or change meanwhile, through `/proc/self/mem`. Gives how many
/// bytes there were. Safe in a signal handler, but for `errno`.
///
/// # Safety
///
/// There is room for `bytes` at `to`.
unsafe fn read(memory: libc::c_int, from: usize, to: *mut u8, bytes: usize) -> usize {
    let mut done = 0;
    while done < bytes {
        // SAFETY: the caller's promise.
        let read = unsafe {
            let to = to.add(done);
            libc::syscall(libc::SYS_pread64, memory, to, bytes - done, from + done)
        };
        match usize::try_from(read) {
            Ok(read) if read > 0 => done += read,
            _ => break,
        }
    }
    done
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_copied() {
        let memory = File::open("/proc/thread-self/mem").unwrap();
        let (from, mut to) = ([1_u8, 2, 3], [0; 3]);
        // SAFETY: there is room for three.
        let copied = unsafe {
            read(
                memory.as_raw_fd(),
                (&raw const from).addr(),
                to.as_mut_ptr(),
                3,
            )
        };
        assert_eq!((copied, to), (3, from));
        // SAFETY: the same.
        let copied = unsafe { read(memory.as_raw_fd(), 16, to.as_mut_ptr(), 3) };
        assert_eq!(copied, 0);
    }
}

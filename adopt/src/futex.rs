//! The system call `futex`, in which std's locks, condition variables, channels and parked threads wait.
//!
//! The rule is the system's: who waits does so if the word is still as he has seen it, and no one wakes in between; who wakes
//! has changed the word before. Threads of both kinds wait in one [table](roving_scheduler::adopt::wait), first come, first
//! served. Some wait in the system nevertheless: those that are inside of the runtime, those that waited when the program was
//! adopted, and other processes in memory that is shared with them. So who wakes fewer than it was asked to passes the rest on.
//!
//! What is shared with other processes, be it said to be so or not: libstdc++ does not say that its words are private. So the
//! mapping of a word decides, which is looked up before such a wait.

use std::ffi::{c_int, c_long};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use libc::timespec;
use roving_scheduler::adopt::{self, Awaited, Inside};

use crate::hand_over::in_system;
use crate::next::next;
use crate::numbered::Syscall;
use crate::thread::{Heeded, heed, look_up};
use crate::{clock, errno};

const ANY: u32 = !0;

/// What one kind of operation does, with what was asked for: the word, the operation, a value, a time or a count, a second word, bits.
type Operation = unsafe fn(usize, c_int, u32, usize, usize, u32) -> c_long;

/// # Safety
///
/// That of the system call.
#[inline(never)]
pub(crate) unsafe fn futex(
    address: usize,
    operation: c_int,
    value: u32,
    time_or_count: usize,
    second: usize,
    bits: u32,
) -> c_long {
    // Each is a function of its own: what who waits has on the stack is the frame of waiting alone.
    let does: Operation = match operation & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => wait,
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => wake_some,
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE | libc::FUTEX_WAKE_OP => wake_all,
        // The system knows no green thread as an owner.
        command if OF_OWNERS.contains(&command) && adopt::thread_number().is_some() => {
            return errno::fail(libc::ENOSYS);
        }
        _ => system,
    };
    // SAFETY: the caller's promise.
    unsafe { does(address, operation, value, time_or_count, second, bits) }
}

/// What the system does.
///
/// # Safety
///
/// That of the system call.
unsafe fn system(
    address: usize,
    operation: c_int,
    value: u32,
    time_or_count: usize,
    second: usize,
    bits: u32,
) -> c_long {
    // SAFETY: the caller's promise.
    unsafe {
        next!(syscall: Syscall)(
            libc::SYS_futex,
            address,
            operation as usize,
            value as usize,
            time_or_count,
            second,
            bits as usize,
        )
    }
}

/// # Safety
///
/// That of the system call.
unsafe fn wake_some(
    address: usize,
    operation: c_int,
    count: u32,
    time: usize,
    second: usize,
    bits: u32,
) -> c_long {
    let of = match operation & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAKE => ANY,
        _ => bits,
    };
    // The system wakes one where none was asked for.
    let at_most = (count as c_int).max(1) as usize;
    // SAFETY: the caller's promise.
    wake(address, of, at_most, |left| unsafe {
        system(address, operation, left, time, second, bits)
    })
}

/// Nobody is moved in the table: who might have been is woken, as anybody may be for nothing.
///
/// # Safety
///
/// That of the system call.
unsafe fn wake_all(
    address: usize,
    operation: c_int,
    value: u32,
    count: usize,
    second: usize,
    bits: u32,
) -> c_long {
    // SAFETY: the caller's promise.
    let result = unsafe { system(address, operation, value, count, second, bits) };
    if result < 0 {
        return result;
    }
    let woken = [address, second].map(|address| adopt::wake(address, ANY, usize::MAX));
    result + woken.iter().sum::<usize>() as c_long
}

/// Wakes so many who wait in the table, and has the system wake the rest.
pub(crate) fn wake(
    address: usize,
    bits: u32,
    at_most: usize,
    system: impl FnOnce(u32) -> c_long,
) -> c_long {
    look_up();
    let woken = adopt::wake(address, bits, at_most);
    if woken == at_most {
        return woken as c_long;
    }
    let others = system((at_most - woken) as u32);
    if others < 0 {
        others
    } else {
        woken as c_long + others
    }
}

/// Below it there is no memory, as the system tells.
const FIRST: usize = 4096;

/// Operations on words that say who the owner is.
const OF_OWNERS: [c_int; 6] = [
    libc::FUTEX_LOCK_PI,
    libc::FUTEX_LOCK_PI2,
    libc::FUTEX_TRYLOCK_PI,
    libc::FUTEX_UNLOCK_PI,
    libc::FUTEX_WAIT_REQUEUE_PI,
    libc::FUTEX_CMP_REQUEUE_PI,
];

/// Until when to wait.
#[inline(never)]
fn deadline(
    command: c_int,
    operation: c_int,
    time: Option<&timespec>,
) -> Result<Option<Instant>, c_int> {
    let Some(&time) = time else { return Ok(None) };
    let left = if command == libc::FUTEX_WAIT {
        clock::duration(time).ok_or(libc::EINVAL)?
    } else if operation & libc::FUTEX_CLOCK_REALTIME != 0 {
        clock::left(libc::CLOCK_REALTIME, time)?
    } else {
        clock::left(libc::CLOCK_MONOTONIC, time)?
    };
    Ok(clock::after(left))
}

/// # Safety
///
/// That of the system call.
unsafe fn wait(
    address: usize,
    operation: c_int,
    value: u32,
    time: usize,
    second: usize,
    bits: u32,
) -> c_long {
    let command = operation & libc::FUTEX_CMD_MASK;
    let is_private = operation & libc::FUTEX_PRIVATE_FLAG != 0;
    let of = if command == libc::FUTEX_WAIT {
        ANY
    } else {
        bits
    };
    let in_table = address.is_multiple_of(4)
        && address >= FIRST
        && (command != libc::FUTEX_WAIT || operation & libc::FUTEX_CLOCK_REALTIME == 0)
        && of != 0
        && !Inside::is_current()
        && (is_private || !is_shared(address));
    // SAFETY: the caller's promise: null, or a time.
    let at = unsafe { (time as *const timespec).as_ref() };
    match deadline(command, operation, at) {
        Ok(deadline) if in_table => wait_in_table(address, value, of, deadline),
        // SAFETY: the caller's promise.
        _ => unsafe { wait_in_system(address, operation, value, time, second, bits) },
    }
}

/// # Safety
///
/// That of the system call.
#[cold]
#[inline(never)]
unsafe fn wait_in_system(
    address: usize,
    operation: c_int,
    value: u32,
    time: usize,
    second: usize,
    bits: u32,
) -> c_long {
    // SAFETY: the caller's promise.
    in_system(|| unsafe { system(address, operation, value, time, second, bits) })
}

#[inline(never)]
fn wait_in_table(address: usize, value: u32, bits: u32, deadline: Option<Instant>) -> c_long {
    let word = address as *const AtomicU32;
    // SAFETY: the word is the caller's, who has given it to be looked at.
    let is_as_seen = || unsafe { &*word }.load(Ordering::SeqCst) == value;
    // Who has it where there is no memory is told of a fault here, with nothing locked.
    if !is_as_seen() {
        return errno::fail(libc::EAGAIN);
    }
    loop {
        match adopt::wait(address, bits, deadline, &"a futex", is_as_seen, || ()) {
            Awaited::Woken => return 0,
            Awaited::Changed => return errno::fail(libc::EAGAIN),
            Awaited::TimedOut => match heed(false) {
                Heeded::Ends => return errno::fail(libc::EINTR),
                // Nor does the system let one go on that has a timeout.
                Heeded::GoesOn if deadline.is_some() => return errno::fail(libc::EINTR),
                _ if has_come(deadline) => return errno::fail(libc::ETIMEDOUT),
                _ => {}
            },
        }
    }
}

// Not inlined: a time has a place in the frame of who asks.
#[inline(never)]
fn has_come(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Whether other processes may have the memory at `address` too. Also if that cannot be found out.
#[cold]
#[inline(never)]
fn is_shared(address: usize) -> bool {
    // To read a file is a point of cancellation, and the system call is none.
    let _inside = Inside::enter();
    let Ok(maps) = fs::read_to_string("/proc/thread-self/maps") else {
        return true;
    };
    let has = |line: &&str| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        range.is_some_and(|(start, end)| {
            let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            (number(start)..number(end)).contains(&address)
        })
    };
    let mapping = maps.lines().find(has);
    mapping.is_none_or(|line| line.as_bytes().get(line.find(' ').unwrap_or(0) + 4) != Some(&b'p'))
}

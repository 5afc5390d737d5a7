//! `select` and `pselect`: descriptors in sets of bits.

use std::ffi::{c_int, c_long};
use std::ptr;
use std::slice;
use std::time::Duration;

use libc::{fd_set, sigset_t, time_t, timespec, timeval};

use super::{Awaited, Time, ask_and_wait};
use crate::hand_over::hand_over_at_point;
use crate::next::next;
use crate::thread::Point;
use crate::{memory, parks};

/// The sets of a `select`: which of the first so many descriptors are asked for, and then, which are ready.
struct Sets {
    places: [*mut fd_set; 3],
    asked: Vec<u8>,
    /// Of one set, in bytes.
    size: usize,
}

impl Sets {
    /// Copies them.
    ///
    /// # Safety
    ///
    /// Each is null, or a set of so many descriptors, at least.
    unsafe fn of(places: [*mut fd_set; 3], count: c_int) -> Self {
        let size = (count.max(0) as usize).div_ceil(c_long::BITS as usize) * size_of::<c_long>();
        let mut asked = vec![0; 3 * size];
        for (place, asked) in places.iter().zip(asked.chunks_mut(size.max(1))) {
            if !place.is_null() {
                // SAFETY: the caller's promise: sets are made of words.
                let set = unsafe { slice::from_raw_parts(place.cast::<u8>().cast_const(), size) };
                asked.copy_from_slice(set);
            }
        }
        Self {
            places,
            asked,
            size,
        }
    }

    /// Puts back what was asked for. Where nothing else is, nothing is written: it may be that it can only be read.
    ///
    /// # Safety
    ///
    /// As it was when they were copied.
    unsafe fn restore(&self) {
        for (place, asked) in self.places.iter().zip(self.asked.chunks(self.size.max(1))) {
            if !place.is_null() {
                // SAFETY: the caller's promise.
                unsafe {
                    let now = slice::from_raw_parts(place.cast::<u8>().cast_const(), self.size);
                    if now != &asked[..self.size] {
                        ptr::copy_nonoverlapping(asked.as_ptr(), place.cast(), self.size);
                    }
                }
            }
        }
    }

    fn asks_for(&self, set: usize, fd: usize) -> bool {
        // Sets are words, of which the lowest byte is the first on all systems that this is for.
        self.asked[set * self.size + fd / 8] & (1 << (fd % 8)) != 0
    }

    fn awaited(&self, count: c_int) -> Option<Vec<Awaited>> {
        (0..count.max(0) as usize)
            .filter_map(|fd| {
                let [reads, writes, excepts] = [0, 1, 2].map(|set| self.asks_for(set, fd));
                let is_asked = reads || writes || excepts;
                is_asked.then(|| Awaited::new(fd as c_int, reads || excepts, writes))
            })
            .collect()
    }
}

type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;

/// # Safety
///
/// That of `select`.
#[inline(never)]
unsafe fn select_green(
    count: c_int,
    places: [*mut fd_set; 3],
    time: Time,
    call: impl FnOnce() -> c_int,
) -> c_int {
    // The system looks at no more than there can be descriptors, so whoever asks for all may have smaller sets than he says.
    if count > libc::FD_SETSIZE as c_int {
        return hand_over_at_point(call);
    }
    let are_there = |set: &*mut fd_set| set.is_null() || memory::is_there(set.cast(), 1);
    if count > 0 && !places.iter().all(are_there) {
        return call();
    }
    // SAFETY: the caller's promise.
    let sets = unsafe { Sets::of(places, count) };
    let [reads, writes, excepts] = places;
    let ask = || {
        let mut none = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: the caller's promise.
        unsafe {
            // The last answer has cleared them.
            sets.restore();
            next!(select: Select)(count, reads, writes, excepts, &raw mut none)
        }
    };
    let restore_and_call = || {
        // SAFETY: the caller's promise.
        unsafe { sets.restore() };
        call()
    };
    let result = ask_and_wait(|| sets.awaited(count), time, ask, restore_and_call);
    if result < 0 {
        // They are as they were where it fails.
        // SAFETY: the caller's promise.
        unsafe { sets.restore() };
    }
    result
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn select(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let _point = Point::begin();
    // SAFETY: the caller's promise.
    let select = || unsafe { next!(select: Select)(count, reads, writes, excepts, timeout) };
    if !parks() {
        return select();
    }
    // SAFETY: the caller's promise.
    let time = match unsafe { timeout.as_ref() } {
        None => Some(Time::Forever),
        Some(time) => u64::try_from(time.tv_sec)
            .ok()
            .zip(u64::try_from(time.tv_usec).ok())
            .map(|(s, us)| {
                Time::of(Duration::from_secs(s).saturating_add(Duration::from_micros(us)))
            }),
    };
    let Some(time) = time.filter(|_| count >= 0) else {
        return select();
    };
    // SAFETY: the caller's promise.
    unsafe {
        let result = select_green(count, [reads, writes, excepts], time, select);
        if let Some(timeout) = timeout.as_mut().filter(|_| time != Time::Forever) {
            // It tells what is left, of what is too far away as much.
            let left = time.left();
            timeout.tv_sec = left.as_secs() as time_t;
            timeout.tv_usec = left.subsec_micros().into();
        }
        result
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pselect(
    count: c_int,
    reads: *mut fd_set,
    writes: *mut fd_set,
    excepts: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    let _point = Point::begin();
    type Next = unsafe extern "C-unwind" fn(
        c_int,
        *mut fd_set,
        *mut fd_set,
        *mut fd_set,
        *const timespec,
        *const sigset_t,
    ) -> c_int;
    // SAFETY: the caller's promise.
    let pselect = || unsafe { next!(pselect: Next)(count, reads, writes, excepts, timeout, mask) };
    if !parks() {
        return pselect();
    }
    // SAFETY: the caller's promise.
    match unsafe { Time::of_timespec(timeout) } {
        Some(time) if mask.is_null() && count >= 0 => {
            // SAFETY: the caller's promise.
            unsafe { select_green(count, [reads, writes, excepts], time, pselect) }
        }
        _ => hand_over_at_point(pselect),
    }
}

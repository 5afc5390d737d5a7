//! What a thread is to be, and whether a green one can be that.
//!
//! An OS thread is what asks for something of the kernel's: a stack of the caller's, a scheduling policy or an affinity. So is what
//! begins in one of the files that `ROVING_ADOPT` excludes: `ROVING_ADOPT=-libcuda,-libjack.so.0` has the threads of these libraries stay
//! OS threads. A file is meant by its name, also without what follows `.so`. The name of a thread is no criterion, since threads are named
//! when they run.

use std::env;
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use libc::{cpu_set_t, pthread_attr_t, sigset_t};

use roving_scheduler::adopt::Signals;

use super::call::Start;
use super::{Known, Whose, current, kernel, whose};
use crate::mask;
use crate::next::next;

unsafe extern "C" {
    fn pthread_attr_getstack(
        attr: *const pthread_attr_t,
        start: *mut *mut c_void,
        size: *mut usize,
    ) -> c_int;
}

type GetAffinity = unsafe extern "C" fn(*const pthread_attr_t, usize, *mut cpu_set_t) -> c_int;

/// The most that the stack of a green thread can have.
const MOST: usize = 1 << 30;

/// What a thread is to be, of what a green one can be.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) stack_size: usize,
    /// There is a guard of another size, and it is told that it has this.
    pub(super) guard_size: usize,
    pub(super) is_detached: bool,
    /// The signals that it has blocked as it begins. `None` if it has those that its worker has.
    pub(super) blocked: Option<Signals>,
}

impl Wanted {
    /// `None` if a green thread cannot be that, or shall not.
    ///
    /// # Safety
    ///
    /// Null, or attributes that are initialised.
    pub(super) unsafe fn of(attributes: *const pthread_attr_t, start: Start) -> Option<Self> {
        unsafe extern "C" {
            fn pthread_getattr_default_np(attributes: *mut pthread_attr_t) -> c_int;
            fn pthread_attr_getdetachstate(attr: *const pthread_attr_t, state: *mut c_int)
            -> c_int;
            fn pthread_attr_getinheritsched(attr: *const pthread_attr_t, how: *mut c_int) -> c_int;
            fn pthread_attr_getguardsize(attr: *const pthread_attr_t, size: *mut usize) -> c_int;
        }
        let mut default = MaybeUninit::uninit();
        let are_default = attributes.is_null();
        let attributes = if are_default {
            // SAFETY: there is room for them.
            if unsafe { pthread_getattr_default_np(default.as_mut_ptr()) } != 0 {
                return None;
            }
            default.as_ptr()
        } else {
            attributes
        };
        let (mut stack, mut bytes) = (ptr::null_mut(), 0);
        // The C library's default, where none is given.
        let (mut stack_size, mut guard_size) = (0, 0);
        let (mut how, mut detached) = (0, 0);
        // SAFETY: they are initialised, and there is room for the answers.
        let failed = unsafe {
            pthread_attr_getstack(attributes, &raw mut stack, &raw mut bytes)
                | libc::pthread_attr_getstacksize(attributes, &raw mut stack_size)
                | pthread_attr_getguardsize(attributes, &raw mut guard_size)
                | pthread_attr_getinheritsched(attributes, &raw mut how)
                | pthread_attr_getdetachstate(attributes, &raw mut detached)
        };
        // Where no stack is given, it ends at zero.
        let has_stack = stack.addr().wrapping_add(bytes) != 0;
        // SAFETY: they are initialised.
        let (has_affinity, blocked) = unsafe { (has_affinity(attributes), blocked(attributes)) };
        if are_default {
            // SAFETY: they are initialised, and not used any more. The affinity is a copy.
            unsafe { libc::pthread_attr_destroy(default.as_mut_ptr()) };
        }
        let can_be_green = failed == 0
            && !has_stack
            && !has_affinity
            && how == libc::PTHREAD_INHERIT_SCHED
            && stack_size <= MOST
            && !kernel::are_inherited()
            && !is_excepted(start);
        can_be_green.then_some(Self {
            stack_size,
            guard_size,
            is_detached: detached == libc::PTHREAD_CREATE_DETACHED,
            blocked,
        })
    }
}

/// # Safety
///
/// They are initialised.
unsafe fn has_affinity(attributes: *const pthread_attr_t) -> bool {
    let mut set = MaybeUninit::<[u64; size_of::<cpu_set_t>() / 8]>::zeroed();
    // SAFETY: there is room for the answer, which is some numbers; here and below it is the function of that name.
    unsafe {
        let found = next!(pthread_attr_getaffinity_np: GetAffinity)(
            attributes,
            size_of::<cpu_set_t>(),
            set.as_mut_ptr().cast(),
        );
        // Where there is none, it is all CPUs that can be named.
        found != 0 || set.assume_init().iter().any(|&cpus| cpus != !0)
    }
}

/// # Safety
///
/// They are initialised.
unsafe fn blocked(attributes: *const pthread_attr_t) -> Option<Signals> {
    type Get = unsafe extern "C" fn(*const pthread_attr_t, *mut sigset_t) -> c_int;
    let mut set = MaybeUninit::zeroed();
    // SAFETY: there is room for the answer, which is a set, as zeroes are one.
    unsafe {
        let found = next!(pthread_attr_getsigmask_np: Get)(attributes, set.as_mut_ptr());
        (found == 0).then(|| mask::to_kernel(set.as_ptr()))
    }
}

/// Completes what `pthread_getattr_np` tells of a green thread: what was asked for, of what it has no less.
///
/// # Safety
///
/// The attributes are initialised.
pub(crate) unsafe fn complete_attributes(id: libc::pthread_t, attributes: *mut pthread_attr_t) {
    unsafe extern "C" {
        fn pthread_attr_setstack(
            attr: *mut pthread_attr_t,
            start: *mut c_void,
            size: usize,
        ) -> c_int;
        fn pthread_attr_setaffinity_np(
            attr: *mut pthread_attr_t,
            size: usize,
            cpus: *const u8,
        ) -> c_int;
    }
    let state = |known: &Known| (known.asked, known.is_detached());
    // Most ask for their own, and need not look for it.
    let is_current = current::id() == Some(id);
    let of_current = is_current.then(|| current::with_known(state)).flatten();
    let (asked, is_detached) = match of_current {
        Some(state) => state,
        None => match whose(id) {
            Whose::Green(known) => state(&known),
            Whose::Nobody | Whose::Real => return,
        },
    };
    let detached = if is_detached {
        libc::PTHREAD_CREATE_DETACHED
    } else {
        libc::PTHREAD_CREATE_JOINABLE
    };
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: they are initialised, there is room for the answers, and it is a part of the stack, its upper end.
    unsafe {
        libc::pthread_attr_setdetachstate(attributes, detached);
        libc::pthread_attr_setguardsize(attributes, asked.guard_size);
        // To have it there takes memory: a thread that asks for its own is told when it asks for that.
        if !is_current {
            let cpus = kernel::affinity();
            pthread_attr_setaffinity_np(attributes, cpus.len(), cpus.as_ptr());
        }
        pthread_attr_getstack(attributes, &raw mut start, &raw mut size);
        if let Some(below) = size.checked_sub(asked.stack_size)
            && asked.stack_size != 0
        {
            pthread_attr_setstack(attributes, start.wrapping_byte_add(below), asked.stack_size);
        }
    }
}

/// The affinity in attributes. Those that a green thread has been told of itself have none, and are known by the stack in them: it
/// is the one that the caller is on.
///
/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getaffinity_np(
    attributes: *const pthread_attr_t,
    size: usize,
    cpus: *mut cpu_set_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        if current::id().is_some() && !has_affinity(attributes) && has_this_stack(attributes) {
            return tell(kernel::affinity(), size, cpus.cast());
        }
        next!(pthread_attr_getaffinity_np: GetAffinity)(attributes, size, cpus)
    }
}

/// Whether the caller is on the stack in attributes.
///
/// # Safety
///
/// They are initialised.
#[inline(never)]
unsafe fn has_this_stack(attributes: *const pthread_attr_t) -> bool {
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the caller's promise, and there is room for the answers.
    let failed = unsafe { pthread_attr_getstack(attributes, &raw mut start, &raw mut size) };
    let here = (&raw const size).addr();
    failed == 0 && here.wrapping_sub(start.addr()) < size
}

/// Tells an affinity as the C library does: it is an error if there is no room for all CPUs.
///
/// # Safety
///
/// There is room for so many bytes.
unsafe fn tell(affinity: kernel::Cpus, room: usize, cpus: *mut u8) -> c_int {
    let (told, left_out) = affinity.split_at(room.min(affinity.len()));
    if left_out.iter().any(|&cpus| cpus != 0) {
        return libc::EINVAL;
    }
    // SAFETY: the caller's promise.
    unsafe {
        cpus.write_bytes(0, room);
        cpus.copy_from_nonoverlapping(told.as_ptr(), told.len());
    }
    0
}

/// The names of files and functions whose threads stay OS threads.
static EXCEPT: OnceLock<Vec<String>> = OnceLock::new();

/// Reads whose threads stay OS threads.
pub(crate) fn except() {
    let Ok(value) = env::var("ROVING_ADOPT") else {
        return;
    };
    let names = value.split(',').map(|name| {
        let name = name
            .trim()
            .strip_prefix('-')
            .filter(|name| !name.is_empty());
        name.map(str::to_owned)
    });
    match names.collect() {
        Some(names) => {
            let _ = EXCEPT.set(names);
        }
        None => eprintln!(
            "roving: ROVING_ADOPT={value}: expected names of files and functions as -libone,-libother,-function; it is as if it were not set"
        ),
    }
}

fn is_excepted(start: Start) -> bool {
    let Some(names) = EXCEPT.get() else {
        return false;
    };
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: there is room for the answer, which is there if it succeeds, with a name that stays as long as the file is loaded.
    let (path, function) = unsafe {
        if libc::dladdr(start.address(), found.as_mut_ptr()) == 0 {
            return false;
        }
        let found = found.assume_init();
        // Else it is somewhere in a function that has no name.
        let is_named =
            !found.dli_sname.is_null() && found.dli_saddr.cast_const() == start.address();
        let function = is_named.then(|| CStr::from_ptr(found.dli_sname));
        (CStr::from_ptr(found.dli_fname), function)
    };
    let function = function.and_then(|function| function.to_str().ok());
    if function.is_some_and(|function| names.iter().any(|name| name == function)) {
        return true;
    }
    let file = path
        .to_str()
        .ok()
        .and_then(|path| Path::new(path).file_name()?.to_str());
    file.is_some_and(|file| {
        let plain = file.find(".so").map_or(file, |end| &file[..end]);
        names.iter().any(|name| name == file || name == plain)
    })
}

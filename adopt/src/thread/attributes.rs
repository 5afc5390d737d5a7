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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
        // SAFETY: the caller's promise.
        let asked = unsafe { Self::remembered(attributes).or_else(|| Self::asked(attributes)) };
        asked.filter(|_| !kernel::are_inherited() && !is_excepted(start))
    }

    /// What the attributes ask for, if they are those that are remembered.
    ///
    /// # Safety
    ///
    /// Null, or attributes that are initialised.
    unsafe fn remembered(attributes: *const pthread_attr_t) -> Option<Self> {
        let (plain, wanted) = PLAIN.get()?;
        // SAFETY: the caller's promise: the C library initialises all of them.
        let given = unsafe { attributes.cast::<Words>().as_ref() }?;
        (given == plain).then_some(*wanted)
    }

    /// What the attributes ask for; `None` if a green thread cannot be that.
    ///
    /// # Safety
    ///
    /// Null, or attributes that are initialised.
    #[inline(never)]
    unsafe fn asked(attributes: *const pthread_attr_t) -> Option<Self> {
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
        let can_be_green = failed == 0
            && !has_stack
            && !has_affinity
            && how == libc::PTHREAD_INHERIT_SCHED
            && stack_size <= MOST;
        let asked = can_be_green.then_some(Self {
            stack_size,
            guard_size,
            is_detached: detached == libc::PTHREAD_CREATE_DETACHED,
            blocked,
        });
        if are_default {
            // SAFETY: they are initialised, and not used any more. The affinity is a copy.
            unsafe { libc::pthread_attr_destroy(default.as_mut_ptr()) };
        } else if let Some(wanted) = asked
            && PLAIN.get().is_none()
        {
            // SAFETY: the caller's promise.
            unsafe { remember(&*attributes.cast(), wanted) };
        }
        asked
    }
}

/// Attributes, as the C library has them.
type Words = [usize; size_of::<pthread_attr_t>() / size_of::<usize>()];

/// The first attributes with the size of a stack and nothing else, as std has them for each of its threads, and what they ask for.
static PLAIN: OnceLock<(Words, Wanted)> = OnceLock::new();

/// Remembers attributes if they are those of the C library with a size of the stack, to the last bit. What has that much in common with them
/// later leads to nothing else, and does not depend on which size is the C library's own.
#[cold]
fn remember(given: &Words, wanted: Wanted) {
    let mut plain = MaybeUninit::<pthread_attr_t>::uninit();
    // SAFETY: there is room for them, and they are initialised first, all of them. Such have nothing to be freed.
    let plain = unsafe {
        if libc::pthread_attr_init(plain.as_mut_ptr()) != 0
            || libc::pthread_attr_setstacksize(plain.as_mut_ptr(), wanted.stack_size) != 0
        {
            return;
        }
        plain.as_ptr().cast::<Words>().read()
    };
    if *given == plain {
        let _ = PLAIN.set((plain, wanted));
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

/// Tells what `pthread_getattr_np` tells of a green thread: what was asked for. It has no less: its stack is this one.
///
/// # Safety
///
/// The attributes are initialised.
pub(crate) unsafe fn tell_attributes(
    id: libc::pthread_t,
    attributes: *mut pthread_attr_t,
    start: *mut c_void,
    size: usize,
) {
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
    let of_other = || match whose(id) {
        Whose::Green(known) => Some(state(&known)),
        Whose::Nobody | Whose::Real => None,
    };
    let known = of_current.or_else(of_other);
    let below = match known {
        Some((asked, _)) if asked.stack_size != 0 => size.saturating_sub(asked.stack_size),
        _ => 0,
    };
    // SAFETY: they are initialised, and it is a part of the stack, its upper end.
    unsafe {
        if let Some((asked, is_detached)) = known {
            libc::pthread_attr_setguardsize(attributes, asked.guard_size);
            // Others are joinable.
            if is_detached {
                libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
            }
        }
        // To have it there takes memory: a thread that asks for its own is told when it asks for that.
        if !is_current && known.is_some() {
            let cpus = kernel::affinity();
            pthread_attr_setaffinity_np(attributes, cpus.len(), cpus.as_ptr());
        }
        pthread_attr_setstack(attributes, start.wrapping_byte_add(below), size - below);
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

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn pthread_attr_setinheritsched(attr: *mut pthread_attr_t, how: c_int) -> c_int;
        fn pthread_attr_setsigmask_np(attr: *mut pthread_attr_t, set: *const sigset_t) -> c_int;
        fn pthread_attr_setaffinity_np(
            attr: *mut pthread_attr_t,
            size: usize,
            cpus: *const u8,
        ) -> c_int;
    }

    const SIZE: usize = 2 << 20;

    /// What is remembered of attributes with a size of the stack, and of what they ask for.
    fn told(set: impl FnOnce(*mut pthread_attr_t) -> c_int) -> [Option<Wanted>; 2] {
        extern "C-unwind" fn nothing(_: *mut c_void) -> *mut c_void {
            ptr::null_mut()
        }
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: there is room for them, and they are initialised first.
        unsafe {
            libc::pthread_attr_init(attributes.as_mut_ptr());
            libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), SIZE);
            assert_eq!(set(attributes.as_mut_ptr()), 0);
            let given = attributes.as_ptr();
            let told = [
                Wanted::remembered(given),
                Wanted::of(given, Start::Posix(nothing)),
            ];
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            told
        }
    }

    #[test]
    fn attributes_that_ask_for_more_are_not_taken_for_those_that_are_remembered() {
        let [_, plain] = told(|_| 0);
        let plain = plain.unwrap();
        assert_eq!((plain.stack_size, plain.is_detached), (SIZE, false));
        assert_eq!(told(|_| 0), [Some(plain); 2]);
        // SAFETY: zeroes are sets, and what is given is attributes.
        let differ = unsafe {
            let mask = std::mem::zeroed();
            let cpus = [0; size_of::<cpu_set_t>()];
            [
                told(|given| libc::pthread_attr_setstacksize(given, 2 * SIZE)),
                told(|given| libc::pthread_attr_setguardsize(given, 0)),
                told(|given| {
                    libc::pthread_attr_setdetachstate(given, libc::PTHREAD_CREATE_DETACHED)
                }),
                told(|given| pthread_attr_setinheritsched(given, libc::PTHREAD_EXPLICIT_SCHED)),
                told(|given| pthread_attr_setsigmask_np(given, &raw const mask)),
                told(|given| pthread_attr_setaffinity_np(given, cpus.len(), cpus.as_ptr())),
            ]
        };
        for (number, [remembered, wanted]) in differ.into_iter().enumerate() {
            assert_eq!(remembered, None, "{number}");
            assert_ne!(wanted, Some(plain), "{number}");
        }
        // SAFETY: they are initialised.
        let default = unsafe {
            let mut default = MaybeUninit::uninit();
            libc::pthread_attr_init(default.as_mut_ptr());
            Wanted::remembered(default.as_ptr())
        };
        assert_eq!(default, None);
        // SAFETY: null is the default.
        assert_eq!(unsafe { Wanted::remembered(ptr::null()) }, None);
    }
}

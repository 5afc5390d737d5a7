//! The definitions that come after those of this crate: the C library's.
//!
//! To ask for one is a load, once it has been found. Where calls are [counted](count) that load finds nothing, so what is
//! counted costs nobody anything who does not count.
//!
//! All of them are [found](find_all) before the program is adopted. The loader has a lock that it holds while constructors of
//! libraries run, and a worker that waited for it, to look for a definition, might be the one whom a constructor waits for. So all
//! are listed, by the linker, in a section of their own.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::{ptr, slice};

use roving_scheduler::adopt;

/// One definition.
pub(crate) struct Next {
    name: &'static CStr,
    /// For whoever does not count.
    found: AtomicPtr<c_void>,
    counted: AtomicPtr<c_void>,
    calls: AtomicU64,
}

static COUNTS: AtomicBool = AtomicBool::new(false);

/// All, in the order of the linker.
fn all() -> &'static [&'static Next] {
    unsafe extern "C" {
        #[link_name = "__start_roving_next"]
        static START: [usize; 0];
        #[link_name = "__stop_roving_next"]
        static STOP: [usize; 0];
    }
    let (start, stop) = (&raw const START, &raw const STOP);
    let count = (stop.addr() - start.addr()) / size_of::<&Next>();
    // SAFETY: the linker has put what is in the section between the two, and only `next` puts anything there: references.
    unsafe { slice::from_raw_parts(start.cast(), count) }
}

/// Finds all that are there.
pub(crate) fn find_all() {
    for next in all() {
        next.find();
    }
}

/// Counts the calls of what has not been found yet.
pub(crate) fn count() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Whether calls are counted.
pub(crate) fn counts() -> bool {
    COUNTS.load(Ordering::Relaxed)
}

thread_local! {
    /// What the current thread has called last with its worker handed over.
    static LAST: Cell<Option<&'static str>> = const { Cell::new(None) };
}

#[inline(never)]
fn set_last(name: Option<&'static str>) {
    LAST.set(name);
}

/// Which function the current thread has called last with its worker handed over, if it is counted and was not asked for before.
#[inline(never)]
pub(crate) fn take_last() -> Option<&'static str> {
    LAST.take()
}

/// How often something was called.
pub(crate) struct Calls {
    pub(crate) name: &'static str,
    pub(crate) all: u64,
}

/// What was counted. A function that is asked for in several places is there as often.
pub(crate) fn counted() -> impl Iterator<Item = Calls> {
    all().iter().map(|next| Calls {
        name: next.name.to_str().unwrap_or_default(),
        all: next.calls.load(Ordering::Relaxed),
    })
}

impl Next {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(ptr::null_mut()),
            counted: AtomicPtr::new(ptr::null_mut()),
            calls: AtomicU64::new(0),
        }
    }

    /// Aborts the process if there is none: who calls it has no error for that.
    pub(crate) fn get(&'static self) -> *mut c_void {
        // Relaxed: it is a constant.
        let found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            self.find_or_count()
        } else {
            found
        }
    }

    #[cold]
    fn find_or_count(&'static self) -> *mut c_void {
        let mut found = self.counted.load(Ordering::Relaxed);
        if found.is_null() {
            found = self.find();
        }
        if found.is_null() {
            lacks(self.name);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if adopt::is_handed_over() {
            set_last(self.name.to_str().ok());
        }
        found
    }

    /// Null if there is none.
    fn find(&self) -> *mut c_void {
        // SAFETY: dlsym with a valid name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        let counts = COUNTS.load(Ordering::Relaxed);
        let is_for = if counts { &self.counted } else { &self.found };
        is_for.store(found, Ordering::Relaxed);
        found
    }
}

/// Says which function the C library lacks, past all that is defined here, and aborts.
#[cold]
fn lacks(name: &CStr) -> ! {
    let name = name.to_string_lossy();
    let text = format!(
        "roving: cannot call {name}, which this C library does not have: a program that calls it cannot be adopted here\n"
    );
    // SAFETY: the system call reads what is there.
    unsafe {
        libc::syscall(
            libc::SYS_write,
            libc::STDERR_FILENO,
            text.as_ptr(),
            text.len(),
        )
    };
    std::process::abort();
}

/// The next definition of a function.
///
/// # Safety
///
/// It is of that type.
macro_rules! next {
    ($name:ident: $type:ty) => {{
        use std::ffi::{CStr, c_void};
        const NAME: &CStr =
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            };
        static NEXT: $crate::next::Next = $crate::next::Next::new(NAME);
        // SAFETY: what is in this section are references to `Next`.
        #[used]
        #[unsafe(link_section = "roving_next")]
        static LISTED: &$crate::next::Next = &NEXT;
        std::mem::transmute::<*mut c_void, $type>(NEXT.get())
    }};
}

pub(crate) use next;

//! The definitions that come after those of this crate: the C library's.
//!
//! To ask for one is a load, once it has been found. Where calls are [counted](count) that load finds nothing, so what is
//! counted costs nobody anything who does not count.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use roving_scheduler::adopt;

/// One definition, found when it is first asked for.
pub(crate) struct Next {
    name: &'static CStr,
    /// For whoever does not count.
    found: AtomicPtr<c_void>,
    counted: AtomicPtr<c_void>,
    calls: AtomicU64,
    /// Those for which a green thread has handed its worker over.
    handed_over: AtomicU64,
    /// The one of those counted that was found before.
    before: AtomicPtr<Next>,
}

static COUNTS: AtomicBool = AtomicBool::new(false);
/// The one of those counted that was found last.
static LAST: AtomicPtr<Next> = AtomicPtr::new(ptr::null_mut());

/// Counts the calls of what has not been found yet.
pub(crate) fn count() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// How often something was called.
pub(crate) struct Calls {
    pub(crate) name: &'static str,
    pub(crate) all: u64,
    pub(crate) handed_over: u64,
}

/// What was counted.
pub(crate) fn counted() -> impl Iterator<Item = Calls> {
    // SAFETY: those listed are constants of the program.
    let read = |next: &AtomicPtr<Next>| unsafe { next.load(Ordering::Acquire).as_ref() };
    std::iter::successors(read(&LAST), move |next| read(&next.before)).map(|next| Calls {
        name: next.name.to_str().unwrap_or_default(),
        all: next.calls.load(Ordering::Relaxed),
        handed_over: next.handed_over.load(Ordering::Relaxed),
    })
}

impl Next {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(ptr::null_mut()),
            counted: AtomicPtr::new(ptr::null_mut()),
            calls: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            before: AtomicPtr::new(ptr::null_mut()),
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
        if !COUNTS.load(Ordering::Relaxed) {
            let found = self.find();
            self.found.store(found, Ordering::Relaxed);
            return found;
        }
        let mut found = self.counted.load(Ordering::Relaxed);
        if found.is_null() {
            found = self.find();
            // Of those who find it at once, one lists it.
            if self.counted.swap(found, Ordering::Relaxed).is_null() {
                self.list();
            }
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        if adopt::is_handed_over() {
            self.handed_over.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn find(&self) -> *mut c_void {
        // SAFETY: dlsym with a valid name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            std::process::abort();
        }
        found
    }

    fn list(&'static self) {
        let this = ptr::from_ref(self).cast_mut();
        let mut last = LAST.load(Ordering::Relaxed);
        loop {
            self.before.store(last, Ordering::Relaxed);
            match LAST.compare_exchange_weak(last, this, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => last = now,
            }
        }
    }
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
        std::mem::transmute::<*mut c_void, $type>(NEXT.get())
    }};
}

pub(crate) use next;

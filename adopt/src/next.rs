//! The definitions that come after those of this crate: the C library's.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One definition, found when it is first asked for.
pub(crate) struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Aborts the process if there is none: who calls it has no error for that.
    pub(crate) fn get(&self) -> *mut c_void {
        // Relaxed: it is a constant.
        let found = self.found.load(Ordering::Relaxed);
        if found.is_null() { self.find() } else { found }
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        // SAFETY: dlsym with a valid name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            std::process::abort();
        }
        self.found.store(found, Ordering::Relaxed);
        found
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

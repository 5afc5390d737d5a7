//! The C code as libraries that are loaded while tests run.

use std::ffi::{CStr, CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use roving_soundness::migrate_from_c;

/// Its thread-locals are allocated when they are used.
pub(crate) const LAZY: &str = env!("LAZY_LIBRARY");
/// It wants them in the static block.
pub(crate) const STATIC: &str = env!("STATIC_LIBRARY");

/// A library of its own each time: the same file under a new name.
pub(crate) struct Library {
    handle: *mut c_void,
    path: PathBuf,
}

// SAFETY: handles of libraries may be used on any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    pub(crate) fn load(file: &str) -> Self {
        Self::try_load(file).unwrap()
    }

    /// An error is the loader's.
    pub(crate) fn try_load(file: &str) -> Result<Self, String> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roving-locals-{}-{number}.so", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::copy(file, &path).unwrap();
        match open(&path) {
            Ok(handle) => Ok(Self { handle, path }),
            Err(why) => {
                std::fs::remove_file(&path).unwrap();
                Err(why)
            }
        }
    }

    /// Counts with the library's counter of the current thread.
    pub(crate) fn next(&self) -> c_int {
        let next = self.function(c"locals_next");
        // SAFETY: the function of `locals.c` has this type.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(next)() }
    }

    pub(crate) fn across(&self) -> c_int {
        let across = self.function(c"locals_across");
        // SAFETY: as above.
        unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn()) -> c_int>(across)(
                migrate_from_c,
            )
        }
    }

    fn function(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the library is open.
        let function = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        assert!(!function.is_null());
        function
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { libc::dlclose(self.handle) };
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn open(path: &Path) -> Result<*mut c_void, String> {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the library has no initialisers; what `dlerror` gives is there until the next call of this thread.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if handle.is_null() {
            let why = CStr::from_ptr(libc::dlerror());
            return Err(why.to_string_lossy().into_owned());
        }
        Ok(handle)
    }
}

//! C code with thread-locals and errno, linked in and in libraries that are loaded before, between
//! and from inside green threads.

use std::ffi::{CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roving::thread;
use roving_soundness::{
    ROUNDS, THREADS, many, many_moving_threads, migrate, migrate_from_c, on_moving_threads,
};

const LAZY: &str = env!("LAZY_LIBRARY");
const STATIC: &str = env!("STATIC_LIBRARY");

unsafe extern "C" {
    fn locals_next() -> c_int;
    fn locals_across(suspend: extern "C" fn()) -> c_int;
    fn locals_errno_across(suspend: extern "C" fn(), value: c_int) -> c_int;
}

#[test]
fn linked_c_code_keeps_the_address_of_a_thread_local() {
    many_moving_threads(|number| {
        // SAFETY: the functions are those of `locals.c`.
        unsafe {
            assert_eq!(locals_next(), 42);
            for round in 0..ROUNDS as i32 {
                assert_eq!(locals_across(migrate_from_c), 45 + 2 * round);
                assert_eq!(
                    locals_errno_across(yield_from_c, 500 + number as i32),
                    500 + number as i32
                );
            }
        }
    });
}

extern "C" fn yield_from_c() {
    thread::yield_now();
}

/// A library of its own each time: the same file under a new name.
struct Library {
    handle: *mut c_void,
    path: PathBuf,
}

// SAFETY: handles of libraries may be used on any thread.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    fn load(file: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roving-locals-{}-{number}.so", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::copy(file, &path).unwrap();
        Self {
            handle: open(&path),
            path,
        }
    }

    /// Counts with the library's counter of the current thread.
    fn next(&self) -> c_int {
        let next = self.function(c"locals_next");
        // SAFETY: the function of `locals.c` has this type.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(next)() }
    }

    fn across(&self) -> c_int {
        let across = self.function(c"locals_across");
        // SAFETY: as above.
        unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn()) -> c_int>(across)(
                migrate_from_c,
            )
        }
    }

    fn function(&self, name: &std::ffi::CStr) -> *mut c_void {
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

fn open(path: &Path) -> *mut c_void {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the library has no initialisers.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{path:?} cannot be loaded");
    handle
}

/// What each thread finds in a library that it has not used before.
fn use_it(library: &Library) {
    assert_eq!(library.next(), 42);
    for round in 0..5 {
        migrate(round);
        assert_eq!(library.next(), 43 + 3 * round as i32);
        assert_eq!(library.across(), 46 + 3 * round as i32);
    }
}

#[test]
fn libraries_are_loaded_before_green_threads_start_and_while_they_are_parked() {
    for file in [LAZY, STATIC] {
        on_moving_threads(|runtime| {
            let before = Arc::new(Library::load(file));
            let between = Arc::new(std::sync::OnceLock::new());
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (before, between) = (before.clone(), between.clone());
                    runtime.spawn(move || {
                        use_it(&before);
                        let between = loop {
                            match between.get() {
                                Some(between) => break between,
                                None => thread::park(),
                            }
                        };
                        use_it(between);
                    })
                })
                .collect();
            between.get_or_init(|| Library::load(file));
            threads.iter().for_each(|thread| thread.thread().unpark());
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }
}

#[test]
fn a_library_is_new_to_each_thread_that_gets_the_memory_of_another() {
    for file in [LAZY, STATIC] {
        on_moving_threads(|runtime| {
            let library = Arc::new(Library::load(file));
            for _ in 0..20 {
                let library = library.clone();
                many(runtime, move |_| use_it(&library));
            }
        });
    }
}

#[test]
fn green_threads_load_libraries_themselves() {
    for file in [LAZY, STATIC] {
        on_moving_threads(|runtime| {
            let loads = move || {
                let library = Library::load(file);
                use_it(&library);
                thread::spawn(move || use_it(&library)).join().unwrap();
            };
            for _ in 0..3 {
                runtime.spawn(loads).join().unwrap();
            }
        });
    }
}

#[test]
fn a_thread_that_runs_on_finds_a_library_that_another_has_loaded_meanwhile() {
    for file in [LAZY, STATIC] {
        on_moving_threads(|runtime| {
            let loaded = Arc::new(std::sync::OnceLock::<Library>::new());
            let seen = loaded.clone();
            let spins = runtime.spawn(move || {
                let library = loop {
                    match seen.get() {
                        Some(library) => break library,
                        None => std::hint::spin_loop(),
                    }
                };
                assert_eq!(library.next(), 42);
                use_again(library);
            });
            loaded.get_or_init(|| Library::load(file));
            spins.join().unwrap();
        });
    }
}

fn use_again(library: &Library) {
    migrate(0);
    assert_eq!(library.next(), 43);
}

#[test]
fn more_libraries_than_a_thread_was_made_for() {
    on_moving_threads(|runtime| {
        let libraries: Arc<Vec<_>> = Arc::new((0..40).map(|_| Library::load(LAZY)).collect());
        many(runtime, move |_| libraries.iter().for_each(use_it));
    });
}

#[test]
fn a_library_that_is_loaded_again_is_new_to_threads_that_knew_it() {
    on_moving_threads(|runtime| {
        many(runtime, |_| {
            for _ in 0..3 {
                use_it(&Library::load(LAZY));
            }
        });
    });
}

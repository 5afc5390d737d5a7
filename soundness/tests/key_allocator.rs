//! An allocator that finds its cache through a pthread key, as many in C do. It is called whenever a
//! green thread allocates or frees, so also by what that does last.

#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::fs;
use std::hint;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use roving_soundness::{many, migrate, on_moving_threads};

struct KeyAllocator;

#[global_allocator]
static ALLOCATOR: KeyAllocator = KeyAllocator;

const NO_KEY: u32 = u32::MAX;
static KEY: AtomicU32 = AtomicU32::new(NO_KEY);
static MADE: AtomicUsize = AtomicUsize::new(0);
static DESTROYED: AtomicUsize = AtomicUsize::new(0);
/// Which caches any thread has found to be its own.
static SEEN: [AtomicBool; 1 << 20] = [const { AtomicBool::new(false) }; 1 << 20];

/// Makes the current thread's cache, which is a number here, if it has none, and gives the one that
/// was there.
fn cache() -> usize {
    let key = KEY.load(Ordering::SeqCst);
    if key == NO_KEY {
        return 0;
    }
    // SAFETY: the key exists; the value is a number, not an address.
    unsafe {
        let found = libc::pthread_getspecific(key).addr();
        if found == 0 {
            let made = MADE.fetch_add(1, Ordering::SeqCst) + 1;
            libc::pthread_setspecific(key, ptr::without_provenance(made));
        }
        found
    }
}

// SAFETY: it is the system's allocator.
unsafe impl GlobalAlloc for KeyAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        cache();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        cache();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

unsafe extern "C" fn destroy(_: *mut c_void) {
    DESTROYED.fetch_add(1, Ordering::SeqCst);
}

/// The OS threads of this process.
fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn each_thread_makes_one_cache_which_is_destroyed_at_its_end() {
    let mut key = 0;
    // SAFETY: creates a key with a destructor that takes its values.
    let created = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
    assert_eq!(created, 0);
    KEY.store(key, Ordering::SeqCst);
    on_moving_threads(|runtime| {
        for _ in 0..20 {
            // So large that it is moved to the heap, and freed by the thread.
            let large = [1_u8; 256];
            many(runtime, move |number| {
                cache();
                let own = cache();
                let is_seen = SEEN[own].swap(true, Ordering::SeqCst);
                assert!(!is_seen, "a cache of another thread");
                hint::black_box(&large);
                let kept = Box::new(number);
                migrate(number);
                drop(kept);
                assert_eq!(cache(), own);
            });
        }
        let may_have_one = os_threads();
        let left = MADE.load(Ordering::SeqCst) - DESTROYED.load(Ordering::SeqCst);
        assert!(
            left <= may_have_one,
            "{left} caches of {may_have_one} OS threads"
        );
    });
}

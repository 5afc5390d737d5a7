//! The end of a green thread's thread-locals: destructors run on it, once, before it can be joined,
//! and may block.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use roving::thread;
use roving_soundness::{THREADS, many, migrate, on_moving_threads};

static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Suspends, spawns and uses another thread-local while it is dropped.
struct BlocksInDrop {
    owner: std::thread::ThreadId,
}

impl Drop for BlocksInDrop {
    fn drop(&mut self) {
        for way in 0..4 {
            migrate(way);
        }
        assert_eq!(std::thread::current().id(), self.owner);
        LATER.set(LATER.get() + 1);
        assert_eq!(thread::spawn(|| LATER.get()).join().unwrap(), 5);
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static BLOCKS: RefCell<Option<BlocksInDrop>> = const { RefCell::new(None) };
    static LATER: Cell<u32> = const { Cell::new(5) };
}

#[test]
fn a_destructor_of_a_thread_local_blocks_and_runs_once_before_the_join_returns() {
    on_moving_threads(|runtime| {
        let before = DROPPED.load(Ordering::SeqCst);
        many(runtime, |number| {
            let owner = std::thread::current().id();
            BLOCKS.replace(Some(BlocksInDrop { owner }));
            migrate(number);
        });
        assert_eq!(DROPPED.load(Ordering::SeqCst), before + THREADS);
    });
}

/// Suspends while it is dropped, and does nothing that a runtime which shuts down refuses.
struct SleepsInDrop;

impl Drop for SleepsInDrop {
    fn drop(&mut self) {
        for _ in 0..3 {
            migrate(0);
            migrate(1);
        }
        SLEPT.fetch_add(1, Ordering::SeqCst);
    }
}

static SLEPT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SLEEPS: SleepsInDrop = const { SleepsInDrop };
}

#[test]
fn destructors_that_block_run_when_the_runtime_shuts_down() {
    let ready = std::sync::Arc::new(AtomicUsize::new(0));
    on_moving_threads(|runtime| {
        for _ in 0..THREADS {
            let ready = ready.clone();
            runtime.spawn(move || {
                SLEEPS.with(|_| ready.fetch_add(1, Ordering::SeqCst));
                thread::park();
            });
        }
    });
    // Both runtimes have ended.
    assert_eq!(SLEPT.load(Ordering::SeqCst), ready.load(Ordering::SeqCst));
}

static VALUES: AtomicUsize = AtomicUsize::new(0);
static KEY: std::sync::OnceLock<libc::pthread_key_t> = std::sync::OnceLock::new();

/// Puts the value back once, so that it is called again.
unsafe extern "C" fn destroy(value: *mut c_void) {
    migrate(0);
    let key = *KEY.get().unwrap();
    // SAFETY: the key exists.
    assert!(unsafe { libc::pthread_getspecific(key) }.is_null());
    let value = value.addr();
    VALUES.fetch_add(value, Ordering::SeqCst);
    if value.is_multiple_of(2) {
        // SAFETY: as above; the value is a number, not an address.
        unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(value + 1)) };
    }
}

#[test]
fn values_of_pthread_keys_are_the_threads_own_and_destroyed_at_its_end() {
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: creates a key with a destructor that takes its values.
        let created = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
        assert_eq!(created, 0);
        key
    });
    on_moving_threads(|runtime| {
        let before = VALUES.load(Ordering::SeqCst);
        many(runtime, move |number| {
            // SAFETY: the key exists; the value is a number, not an address.
            unsafe {
                assert!(libc::pthread_getspecific(key).is_null());
                let value = 2 + 2 * number;
                libc::pthread_setspecific(key, std::ptr::without_provenance(value));
                migrate(number);
                assert_eq!(libc::pthread_getspecific(key).addr(), value);
            }
        });
        let expected: usize = (0..THREADS).map(|number| 2 * (2 + 2 * number) + 1).sum();
        assert_eq!(VALUES.load(Ordering::SeqCst), before + expected);
    });
}

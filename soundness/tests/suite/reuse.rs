//! A green thread gets the memory of one that has ended, and sees nothing of it.

use std::cell::{Cell, RefCell};

use roving_soundness::{many, migrate, on_moving_threads};

thread_local! {
    static PLAIN: Cell<u64> = const { Cell::new(0xfeed) };
    static ZERO: Cell<u64> = const { Cell::new(0) };
    static LAZY: RefCell<Vec<u8>> = RefCell::new(vec![1, 2, 3]);
    static DROPPED: RefCell<String> = const { RefCell::new(String::new()) };
}

#[test]
fn thread_locals_have_their_initial_values_each_time() {
    on_moving_threads(|runtime| {
        for _ in 0..20 {
            many(runtime, |number| {
                assert_eq!((PLAIN.get(), ZERO.get()), (0xfeed, 0));
                LAZY.with_borrow_mut(|list| {
                    assert_eq!(*list, [1, 2, 3]);
                    list.clear();
                });
                DROPPED.with_borrow_mut(|text| {
                    assert!(text.is_empty());
                    *text = number.to_string();
                });
                PLAIN.set(1);
                ZERO.set(2);
                migrate(number);
                assert_eq!((PLAIN.get(), ZERO.get()), (1, 2));
                // The destructor of this one never runs.
                std::mem::forget(LAZY.take());
            });
        }
    });
}

#[test]
fn errno_locale_and_cancellation_are_those_of_a_new_thread() {
    on_moving_threads(|runtime| {
        for _ in 0..20 {
            many(runtime, |number| {
                // SAFETY: a new locale is made and stays; errno is this thread's.
                unsafe {
                    assert_eq!(*libc::__errno_location(), 0);
                    let global = libc::uselocale(std::ptr::null_mut());
                    assert_eq!(global.addr(), usize::MAX, "the global locale");
                    let c = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), std::ptr::null_mut());
                    libc::uselocale(c);
                    migrate(number);
                    assert_eq!(libc::uselocale(std::ptr::null_mut()), c);
                    *libc::__errno_location() = 99;
                }
            });
        }
    });
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

#[test]
fn the_allocators_caches_are_neither_lost_nor_multiplied() {
    on_moving_threads(|runtime| {
        let before = resident();
        for _ in 0..200_000 / roving_soundness::THREADS {
            many(runtime, |number| {
                // One of each size that the allocator caches.
                let kept: Vec<Vec<u8>> = (1..60).map(|n| vec![number as u8; n * 16]).collect();
                migrate(0);
                drop(kept);
            });
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
    });
}

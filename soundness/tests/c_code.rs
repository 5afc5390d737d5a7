//! C code with thread-locals and errno, linked in and in libraries that are loaded before, between
//! and from inside green threads.

mod libraries;

use std::ffi::c_int;
use std::sync::Arc;

use libraries::{LAZY, Library, STATIC};
use roving::thread;
use roving_soundness::{
    ROUNDS, THREADS, many, many_moving_threads, migrate, migrate_from_c, on_moving_threads,
};

/// What can be loaded at any time. Where stacks are compact, `compact` tests what becomes of the other.
fn loadable() -> &'static [&'static str] {
    match std::env::var("ROVING_COMPACT_STACKS") {
        Ok(compact) if compact != "0" => &[LAZY],
        _ => &[LAZY, STATIC],
    }
}

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
    for &file in loadable() {
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
    for &file in loadable() {
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
    for &file in loadable() {
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
    for &file in loadable() {
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

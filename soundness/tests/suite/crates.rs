//! Crates that keep something in thread-locals, used by threads that move.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_epoch as epoch;
use parking_lot::{Mutex, ReentrantMutex, RwLock};
use rand::RngExt;
use roving_soundness::{ROUNDS, THREADS, many_moving_threads, migrate, on_moving_threads};
use tracing::{Level, Span, span};

#[test]
fn a_random_number_generator_of_the_thread_is_kept() {
    many_moving_threads(|number| {
        let mut random = rand::rng();
        for round in 0..ROUNDS {
            assert!((0..10).contains(&random.random_range(0..10)));
            migrate(number + round);
            assert!(rand::rng().random_range(5..6) == 5);
        }
    });
}

#[test]
fn a_span_that_was_entered_is_the_green_threads_own() {
    let subscriber = tracing_subscriber::registry();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    many_moving_threads(|number| {
        for round in 0..ROUNDS / 5 {
            let outer = span!(Level::ERROR, "outer", number);
            let _in_outer = outer.enter();
            migrate(number + round);
            assert_eq!(Span::current().id(), outer.id());
            {
                let inner = span!(Level::ERROR, "inner", round);
                let _in_inner = inner.enter();
                migrate(round);
                assert_eq!(Span::current().id(), inner.id());
            }
            migrate(number);
            assert_eq!(Span::current().id(), outer.id());
        }
        assert_eq!(Span::current().id(), None);
    });
}

#[test]
fn locks_of_parking_lot_are_held_over_migrations() {
    on_moving_threads(|runtime| {
        let (sum, changes) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (sum, changes) = (sum.clone(), changes.clone());
                runtime.spawn(move || {
                    for round in 0..ROUNDS / 5 {
                        // To wait in `lock` would block the worker which the owner may have to move
                        // to.
                        let mut locked = loop {
                            match sum.try_lock() {
                                Some(locked) => break locked,
                                None => migrate(0),
                            }
                        };
                        let before = *locked;
                        migrate(number + round);
                        *locked = before + 1;
                        drop(locked);
                        if let Some(mut changes) = changes.try_write() {
                            migrate(round);
                            *changes += 1;
                        }
                        let reentrant = ReentrantMutex::new(0);
                        let first = reentrant.lock();
                        migrate(round);
                        assert!(reentrant.try_lock().is_some());
                        drop(first);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*sum.lock(), THREADS * (ROUNDS / 5));
        assert!(*changes.read() > 0);
    });
}

#[test]
fn an_epoch_stays_pinned_over_migrations() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    struct Counted(usize);
    impl Drop for Counted {
        fn drop(&mut self) {
            assert!(self.0 < ROUNDS);
            DESTROYED.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_moving_threads(|runtime| {
        DESTROYED.store(0, Ordering::SeqCst);
        let current = Arc::new(epoch::Atomic::new(Counted(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let current = current.clone();
                runtime.spawn(move || {
                    for round in 0..ROUNDS {
                        let guard = epoch::pin();
                        let seen = current.load(Ordering::Acquire, &guard);
                        // SAFETY: pinned, so that nobody destroys it.
                        let before = unsafe { seen.deref() }.0;
                        migrate(number + round);
                        // SAFETY: as above, on another OS thread.
                        assert_eq!(unsafe { seen.deref() }.0, before);
                        let old = current.swap(
                            epoch::Owned::new(Counted(round)),
                            Ordering::AcqRel,
                            &guard,
                        );
                        // SAFETY: nobody finds it any more.
                        unsafe { guard.defer_destroy(old) };
                    }
                    epoch::pin().flush();
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(DESTROYED.load(Ordering::SeqCst) > 0);
    });
}

//! What hardly anybody needs: a place for it, and a box that whoever needs it first makes.
//!
//! If several do at once, each makes one, and the first to be there is everybody's.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See the [module](self).
pub(crate) struct Made<T> {
    /// Null, or from a box; that stays as long as this.
    made: AtomicPtr<T>,
    owns: PhantomData<UnsafeCell<Box<T>>>,
}

// SAFETY: who makes it and who drops it may be two threads, and all may use it.
unsafe impl<T: Send + Sync> Sync for Made<T> {}

impl<T> Made<T> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            made: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// One that is there from the start.
    #[inline]
    pub(crate) fn with(value: T) -> Self {
        let this = Self::new();
        this.made
            .store(Box::into_raw(Box::new(value)), Ordering::Relaxed);
        this
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: null, or what `make` has put there, which stays. Acquire: it is there whole.
        unsafe { self.made.load(Ordering::Acquire).as_ref() }
    }

    #[inline]
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        self.get().unwrap_or_else(|| self.make(make))
    }

    #[cold]
    #[inline(never)]
    fn make(&self, make: impl FnOnce() -> T) -> &T {
        let new = Box::into_raw(Box::new(make()));
        let none = ptr::null_mut();
        match self
            .made
            .compare_exchange(none, new, Ordering::AcqRel, Ordering::Acquire)
        {
            // SAFETY: it stays as long as this.
            Ok(_) => unsafe { &*new },
            Err(others) => {
                // SAFETY: nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: as in `get`.
                unsafe { &*others }
            }
        }
    }
}

impl<T> Drop for Made<T> {
    #[inline]
    fn drop(&mut self) {
        let made = *self.made.get_mut();
        if !made.is_null() {
            // SAFETY: from a box, and nobody has it any more.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Made<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Made").field(&self.get()).finish()
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl Counted {
        fn new() -> Self {
            ALIVE.fetch_add(1, Ordering::Relaxed);
            Self
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_several_make_at_once_is_there_once() {
        for _ in 0..200 {
            let (made, all) = (Made::new(), Barrier::new(3));
            assert!(made.get().is_none());
            thread::scope(|scope| {
                let makers = [(); 3].map(|()| {
                    scope.spawn(|| {
                        all.wait();
                        ptr::from_ref(made.get_or_make(Counted::new)).addr()
                    })
                });
                let found = makers.map(|maker| maker.join().unwrap());
                assert_eq!(found, [found[0]; 3]);
            });
            assert_eq!(ALIVE.load(Ordering::Relaxed), 1);
            drop(made);
            assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
        }
    }
}

//! What one thread uses for a while, and lets others look at.
//!
//! A worker [shows](Shown::show) the green thread that it runs, at the price of a store, and whoever asks
//! [takes a share](Onlookers::look) of it. What is shown is kept by an `Arc` that the worker has, so it
//! must not go while somebody who has seen it is about to take a share:
//!
//! - Who looks says so, *fence*, and then reads what is shown.
//! - Who is about to let go of what nobody else may have must not show it any more, and must have seen to
//!   it that nobody does; then *fence*, and ask whether somebody looks. If so, it waits for that one.
//!
//! Of two sequentially consistent fences one comes first. If it is that of who looks, the other one sees
//! that somebody looks, and waits; else who looks does not find it shown. A look takes a few
//! instructions under a lock, so the wait is a short one.

use std::fmt;
use std::ptr;
use std::sync::Arc;

use super::primitive::{AtomicPtr, AtomicU32, Mutex, Ordering, fence};

/// See the [module](self).
pub(crate) struct Shown<T>(AtomicPtr<T>);

impl<T> Shown<T> {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Shows what is in an `Arc` from now on, or nothing.
    ///
    /// # Safety
    ///
    /// Before the last `Arc` goes, whoever has it shows something else here and nowhere shows this one; what
    /// was done so by others has happened before; and then it calls [`Onlookers::see_off`].
    #[inline]
    pub(crate) unsafe fn show(&self, value: *const T) {
        // Release: whoever sees it sees what it leads to.
        self.0.store(value.cast_mut(), Ordering::Release);
    }

    pub(crate) fn shows_any(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_null()
    }

    /// Whether it is this that is shown.
    pub(crate) fn shows(&self, value: &Arc<T>) -> bool {
        ptr::eq(self.0.load(Ordering::Relaxed), Arc::as_ptr(value))
    }
}

impl<T> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Shown { .. }")
    }
}

/// Those who look. See the [module](self).
#[derive(Debug)]
pub(crate) struct Onlookers {
    looking: AtomicU32,
    one_at_a_time: Mutex<()>,
}

impl Onlookers {
    pub(crate) fn new() -> Self {
        Self {
            looking: AtomicU32::new(0),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// A share of what is shown.
    pub(crate) fn look<T>(&self, shown: &Shown<T>) -> Option<Arc<T>> {
        self.with(shown, |seen| {
            // SAFETY: it came from an `Arc`, and the last one does not go before this returns.
            unsafe {
                Arc::increment_strong_count(seen);
                Arc::from_raw(seen)
            }
        })
    }

    /// Lends what is shown, whose last `Arc` does not go meanwhile: see the module.
    fn with<T, R>(&self, shown: &Shown<T>, lend: impl FnOnce(*const T) -> R) -> Option<R> {
        let _looks = self.one_at_a_time.lock();
        self.looking.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let seen = shown.0.load(Ordering::Acquire).cast_const();
        let result = (!seen.is_null()).then(|| lend(seen));
        // Release: with what was done before.
        self.looking.store(0, Ordering::Release);
        result
    }

    /// Waits for those who may be about to take a share of what the caller has shown, and shows no more.
    #[inline]
    pub(crate) fn see_off(&self) {
        fence(Ordering::SeqCst);
        // Acquire: what somebody has done who looks no more.
        if self.looking.load(Ordering::Acquire) != 0 {
            self.wait();
        }
    }

    #[cold]
    fn wait(&self) {
        drop(self.one_at_a_time.lock());
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_looks_gets_a_share_of_what_is_shown() {
        let (onlookers, shown) = (Onlookers::new(), Shown::new());
        let value = Arc::new(7);
        assert_eq!(onlookers.look(&shown), None);
        // SAFETY: below.
        unsafe { shown.show(Arc::as_ptr(&value)) };
        assert!(shown.shows(&value));
        assert_eq!(onlookers.look(&shown), Some(value.clone()));
        // SAFETY: it shows nothing.
        unsafe { shown.show(ptr::null()) };
        onlookers.see_off();
        assert_eq!(Arc::strong_count(&value), 1);
        assert_eq!(onlookers.look(&shown), None);
    }
}

#[cfg(all(test, roving_loom))]
mod models {
    use super::*;
    use loom::sync::atomic::AtomicBool;

    /// A worker runs a thread and gives it away, and another one runs it to its end, while somebody looks
    /// at what the first one shows.
    #[test]
    fn what_somebody_looks_at_is_not_gone() {
        loom::model(|| {
            let onlookers = loom::sync::Arc::new(Onlookers::new());
            let first = loom::sync::Arc::new(Shown::new());
            // Whether it is gone; the memory stays for the model.
            let gone = Arc::new(AtomicBool::new(false));
            // SAFETY: shown no more, and then seen off, before the last one goes.
            unsafe { first.show(Arc::as_ptr(&gone)) };

            let (looks, looked_at) = (onlookers.clone(), first.clone());
            let onlooker = loom::thread::spawn(move || {
                looks.with(&looked_at, |seen| {
                    // SAFETY: the model keeps the memory.
                    let gone = unsafe { &*seen };
                    assert!(!gone.load(Ordering::Relaxed), "it is gone");
                    assert!(!gone.load(Ordering::Relaxed), "it goes");
                });
            });
            let queue = loom::sync::Arc::new(loom::sync::Mutex::new(None));
            let (queued, thread) = (queue.clone(), gone.clone());
            let second = loom::thread::spawn(move || {
                if queued.lock().unwrap().take() == Some(()) {
                    onlookers.see_off();
                    thread.store(true, Ordering::Relaxed);
                }
            });
            // SAFETY: it shows nothing.
            unsafe { first.show(ptr::null()) };
            *queue.lock().unwrap() = Some(());
            onlooker.join().unwrap();
            second.join().unwrap();
        });
    }
}

//! Whose stack an address is on, for those who know nothing else: a signal handler, what an OS thread calls.
//!
//! A stack that a coroutine uses has a *plate* from then on, with its bounds and, while the coroutine has
//! it, the place in the source where that was made. Switches do nothing for it. Plates stay for ever, in a
//! list that only grows, and whoever reads them takes no lock.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Bounds;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Plate {
    stack: Bounds,
    /// Null while no coroutine has the stack.
    site: AtomicPtr<Location<'static>>,
    next: Option<&'static Plate>,
}

/// The newest.
static FIRST: AtomicPtr<Plate> = AtomicPtr::new(ptr::null_mut());

fn first() -> Option<&'static Plate> {
    // SAFETY: null, or one that `put_on` has leaked. Acquire: it is there whole.
    unsafe { FIRST.load(Ordering::Acquire).as_ref() }
}

impl Plate {
    /// Puts a plate on a stack that has none.
    pub(super) fn put_on(stack: Bounds) -> &'static Self {
        let plate = Box::leak(Box::new(Self {
            stack,
            site: AtomicPtr::new(ptr::null_mut()),
            next: first(),
        }));
        loop {
            let next = plate
                .next
                .map_or(ptr::null_mut(), |next| ptr::from_ref(next).cast_mut());
            // Release: whoever finds it finds it whole.
            match FIRST.compare_exchange(next, plate, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return plate,
                Err(_) => plate.next = first(),
            }
        }
    }

    /// Says that a coroutine has the stack which was made at `site`, or none.
    pub(super) fn set_site(&self, site: Option<&'static Location<'static>>) {
        let site = site.map_or(ptr::null(), ptr::from_ref);
        self.site.store(site.cast_mut(), Ordering::Relaxed);
    }
}

/// If a fault at `address`, `stack_pointer` being that of whoever faulted, is an overflow of a coroutine's
/// stack: where the coroutine was made, and the size of its stack. Safe in a signal handler.
pub(crate) fn overflown(
    address: usize,
    stack_pointer: usize,
) -> Option<(&'static Location<'static>, usize)> {
    let plate = plates().find(|plate| plate.stack.is_overflow(address, stack_pointer))?;
    // SAFETY: null, or a location. Relaxed: it was set by the thread that runs on the stack, which is this.
    let site = unsafe { plate.site.load(Ordering::Relaxed).as_ref() }?;
    Some((site, plate.stack.size()))
}

fn plates() -> impl Iterator<Item = &'static Plate> {
    std::iter::successors(first(), |plate| plate.next)
}

/// Whether `address` is on the stack of a coroutine.
pub(crate) fn is_on_a_coroutines(address: usize) -> bool {
    plates().any(|plate| {
        // Relaxed: it was set by the thread that runs on the stack, which is this, if there is one.
        plate.stack.holds(address) && !plate.site.load(Ordering::Relaxed).is_null()
    })
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use crate::stack::{Class, Promise};

    #[test]
    fn a_stack_is_found_by_an_address_while_a_coroutine_has_it() {
        let class = Class::of(64 << 10).unwrap();
        let here = Location::caller();
        for _ in 0..10 {
            let mut stack = Promise::new(class).unwrap().redeem();
            let bounds = stack.bounds();
            let found = || overflown(bounds.lowest - 1, bounds.lowest);
            assert_eq!(found(), None);
            stack.lend(here);
            assert_eq!(found(), Some((here, 64 << 10)));
            assert_eq!(overflown(bounds.lowest, bounds.lowest), None);
            assert!(is_on_a_coroutines(bounds.lowest) && !is_on_a_coroutines(bounds.lowest - 1));
            drop(stack);
            assert_eq!(found(), None);
            assert!(!is_on_a_coroutines(bounds.lowest));
        }
    }
}

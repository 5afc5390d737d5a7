//! The name of a thread: given when it is made, or once later.
//!
//! A debugger reads it, as an address and a length.

use std::ptr;
use std::slice;
use std::str;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A name, or none. One that is there stays.
#[repr(C)]
pub(crate) struct GivenName {
    /// Null, or what a `Box<str>` was made of that has this length.
    start: AtomicPtr<u8>,
    /// Set by one alone, before the address.
    length: AtomicUsize,
}

impl GivenName {
    pub(crate) fn new(name: Option<Box<str>>) -> Self {
        let (start, length) = name.map_or((ptr::null_mut(), 0), into_parts);
        Self {
            start: AtomicPtr::new(start),
            length: AtomicUsize::new(length),
        }
    }

    pub(crate) fn get(&self) -> Option<&str> {
        let start = self.start.load(Ordering::Acquire);
        let length = self.length.load(Ordering::Relaxed);
        // SAFETY: not null, it is of a string of this length, which was set before and stays.
        (!start.is_null())
            .then(|| unsafe { str::from_utf8_unchecked(slice::from_raw_parts(start, length)) })
    }

    /// Gives a name to a thread that has none and is being given none.
    #[cfg(feature = "adopt")]
    pub(crate) fn give(&self, name: &str) {
        let (nobody, is_given) = (0, !self.start.load(Ordering::Relaxed).is_null());
        // Whoever sets the length sets the address.
        let claim = |length| {
            self.length
                .compare_exchange(nobody, length, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if !is_given && !name.is_empty() && claim(name.len()) {
            let (start, _) = into_parts(name.into());
            self.start.store(start, Ordering::Release);
        }
    }
}

fn into_parts(name: Box<str>) -> (*mut u8, usize) {
    let length = name.len();
    (Box::into_raw(name).cast(), length)
}

impl Drop for GivenName {
    fn drop(&mut self) {
        let (start, length) = (*self.start.get_mut(), *self.length.get_mut());
        if !start.is_null() {
            // SAFETY: it was made of a box of this length, and nobody has it any more.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(start, length)) });
        }
    }
}

#[cfg(all(test, feature = "adopt"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let given = GivenName::new(None);
        assert_eq!(given.get(), None);
        given.give("");
        assert_eq!(given.get(), None);
        given.give("first");
        given.give("second");
        assert_eq!(given.get(), Some("first"));
        let named = GivenName::new(Some("".into()));
        named.give("later");
        assert_eq!(named.get(), Some(""));
    }
}

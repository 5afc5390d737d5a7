//! A call on a stack that is borrowed for it: what needs more than the caller's may have left.
//!
//! It is the system's and not the pool's, which may have to make many before it can give one, and needs a stack
//! for that.

use std::io;

use corosensei::stack::DefaultStack;

/// Calls `f` on a stack of so many bytes, as a part of the current thread. It must not suspend.
///
/// # Errors
///
/// The system has none.
pub(crate) fn call<T>(bytes: usize, f: impl FnOnce() -> T) -> io::Result<T> {
    Ok(corosensei::on_stack(DefaultStack::new(bytes)?, f))
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::{panic, thread};

    #[test]
    fn what_is_called_has_room_on_a_thread_that_has_none() {
        let deep = || {
            let frame = [1_u8; 256 << 10];
            black_box(&frame)[7]
        };
        let small = thread::Builder::new().stack_size(64 << 10);
        let called = small.spawn(move || call(1 << 20, deep)).unwrap();
        assert_eq!(called.join().unwrap().unwrap(), 1);
        assert!(call(1 << 60, || ()).is_err());
    }

    #[test]
    fn a_panic_goes_on_in_the_caller() {
        let panics = || call(64 << 10, || panic::resume_unwind(Box::new(7)));
        let payload = panic::catch_unwind(|| drop(panics())).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&7));
    }
}

//! The waiter of an OS thread, in a thread-local with a destructor. Who blocks in the destructor of another thread-local when this
//! one is gone gets a new one.

use std::cell::Cell;
use std::sync::Arc;

use super::os_waiter;
use crate::protocol::primitive;
use crate::run::green::Waiter;

primitive::thread_local! {
    static OS_THREAD: Arc<Waiter> = os_waiter();
}

thread_local! {
    /// The one of a thread that blocks so late. It needs no destructor, so it is there as long as the OS thread; what it refers to
    /// stays for ever.
    static LATE_OS_THREAD: Cell<Option<&'static Arc<Waiter>>> = const { Cell::new(None) };
}

/// The one of this OS thread.
#[inline(never)]
pub(super) fn current() -> Arc<Waiter> {
    OS_THREAD.try_with(Arc::clone).unwrap_or_else(|_| {
        let waiter = LATE_OS_THREAD.get().unwrap_or_else(|| {
            let waiter = Box::leak(Box::new(os_waiter()));
            LATE_OS_THREAD.set(Some(waiter));
            waiter
        });
        waiter.clone()
    })
}

//! Functions that block in the system, with the worker of a green thread handed over.
//!
//! For what they wait for there is nothing that would wake a parked thread. So the C library's own is called, where the caller is,
//! and another OS thread runs the other green threads meanwhile. The caller stays on its OS thread until the function is done, and
//! is inside of the runtime: what the C library calls in turn, the modules by which it looks up names for example, parks nowhere,
//! since it may hold locks of the C library's that others wait for in the system.

use roving_scheduler::adopt::Inside;
use roving_scheduler::blocking;

use crate::thread::OnOsThread;
use crate::{errno, report};

/// Calls `call` so, for a caller that may be parked. It must not unwind.
#[inline(never)]
pub(crate) fn hand_over<T>(call: impl FnOnce() -> T) -> T {
    let (result, error) = blocking::run(|| {
        let _inside = Inside::enter();
        let _on_os_thread = OnOsThread::begin();
        let result = report::timed(call);
        (result, errno::get())
    });
    // To take a worker back may have changed it.
    errno::set(error);
    result
}

/// Defines functions that do nothing else.
///
/// # Safety
///
/// Those of these names in the C library have these types.
macro_rules! handed_over {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {$(
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            let _point = $crate::thread::Point::begin();
            type Next = unsafe extern "C-unwind" fn($($type),*) $(-> $result)?;
            // SAFETY: the caller's promise.
            let next = || unsafe { $crate::next::next!($name: Next)($($argument),*) };
            if $crate::parks() {
                $crate::hand_over::hand_over(next)
            } else {
                next()
            }
        }
    )*};
}

pub(crate) use handed_over;

//! Functions that block in the system, with the worker of a green thread handed over.
//!
//! For what they wait for there is nothing that would wake a parked thread. So the C library's own is called, where the caller is,
//! and another OS thread runs the other green threads meanwhile. The caller stays on its OS thread until the function is done, and
//! is inside of the runtime: what the C library calls in turn, the modules by which it looks up names for example, parks nowhere,
//! since it may hold locks of the C library's that others wait for in the system.
//!
//! The handler of a signal may jump out of such a call, and then nothing drops what is in the frame. So the thread [leaves](leave) the
//! call as it jumps, but for the place of its worker: to take that back is not for a handler. It does so before the next such call, or
//! at its end. If the jump stayed within the handler, the call goes on, and there is less to do at its end.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;

use roving_scheduler::adopt::{self, Inside};
use roving_scheduler::blocking;

use crate::thread::{Interruptible, OnOsThread, is_ending};
use crate::{errno, report};

/// What the current thread is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Outside,
    Call,
    /// It has jumped out of a call, and has not taken its worker back.
    LeftCall,
}

thread_local! {
    static WHERE: Cell<Where> = const { Cell::new(Where::Outside) };
}

// Not inlined: a compiler may keep the address of a thread-local for as long as a function runs.
#[inline(never)]
fn go(to: Where) -> Where {
    WHERE.replace(to)
}

/// A call of the current thread. No other is begun while there is one: in it, nobody may be parked.
struct Call(ManuallyDrop<Inside>);

impl Call {
    fn begin() -> Self {
        let inside = Inside::enter();
        go(Where::Call);
        Self(ManuallyDrop::new(inside))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        match go(Where::Outside) {
            // SAFETY: it is dropped once.
            Where::Call => unsafe { ManuallyDrop::drop(&mut self.0) },
            // The jump stayed within the handler.
            Where::LeftCall => {}
            // And there it has made another call.
            Where::Outside => adopt::begin_call_again(),
        }
    }
}

/// Who jumps out of a handler leaves the call that this has interrupted.
pub(crate) fn leave() {
    match go(Where::LeftCall) {
        Where::Call => {
            OnOsThread::leave();
            Interruptible::leave();
            // As deep as whoever begins one. The handler may have come as something else was just entered or left.
            Inside::return_to(0);
        }
        other => {
            go(other);
        }
    }
}

/// Takes back the worker of a call that was left.
#[inline(never)]
pub(crate) fn end_left() {
    match go(Where::Outside) {
        Where::LeftCall => adopt::end_abandoned_call(),
        other => {
            go(other);
        }
    }
}

/// Calls `call` so, for a caller that may be parked. It unwinds where the handler of a signal exits in it.
#[inline(never)]
pub(crate) fn hand_over<T>(call: impl FnOnce() -> T) -> T {
    run(|| {
        let _on_os_thread = OnOsThread::begin();
        with_error(call)
    })
}

/// The same for a call at a point of cancellation, which ends with `EINTR` if it is interrupted. Who is cancelled is interrupted in it, and ends where the
/// point does, or is told by `ECANCELED` if it is Roving that has cancelled it.
#[inline(never)]
pub(crate) fn hand_over_at_point<T: PartialOrd + From<i8>>(call: impl FnOnce() -> T) -> T {
    let result = run(|| {
        let interruptible = Interruptible::begin();
        let _on_os_thread = OnOsThread::begin();
        if interruptible.is_interrupted() {
            (T::from(-1), libc::EINTR)
        } else {
            with_error(call)
        }
    });
    if result < T::from(0) && errno::get() == libc::EINTR && !is_ending() && adopt::is_cancelled() {
        errno::set(libc::ECANCELED);
    }
    result
}

/// The same for a function that gives its error as its result, or 0.
pub(crate) fn number_at_point(call: impl FnOnce() -> c_int) -> c_int {
    errno::kept(|| {
        let call = || match call() {
            0 => 0,
            error => errno::fail(error),
        };
        match hand_over_at_point(call) {
            0 => 0,
            _ => errno::get(),
        }
    })
}

/// What a call gives, with the error of the thread. That may change as the thread leaves.
fn with_error<T>(call: impl FnOnce() -> T) -> (T, c_int) {
    let result = report::timed(call);
    (result, errno::get())
}

fn run<T>(call: impl FnOnce() -> (T, c_int)) -> T {
    end_left();
    let (result, error) = blocking::run(|| {
        let _call = Call::begin();
        call()
    });
    errno::set(error);
    result
}

/// Calls a function that may block for long: [so](hand_over), if the caller may be parked.
pub(crate) fn in_system<T>(call: impl FnOnce() -> T) -> T {
    if crate::parks() {
        hand_over(call)
    } else {
        call()
    }
}

/// The same [at a point of cancellation](hand_over_at_point).
pub(crate) fn in_system_at_point<T: PartialOrd + From<i8>>(call: impl FnOnce() -> T) -> T {
    if crate::parks() {
        hand_over_at_point(call)
    } else {
        call()
    }
}

/// Defines functions that do nothing else. They are points of cancellation, but for those of which it is said that they are none. Who is cancelled in one
/// of them is interrupted in those of which it is said that they can be.
///
/// # Safety
///
/// Those of these names in the C library have these types.
macro_rules! handed_over {
    (at no point of cancellation: $(fn $name:ident($($argument:tt)*) $(-> $result:ty)?;)*) => {$(
        $crate::hand_over::handed_over!(@ (None::<$crate::thread::Point>, in_system) fn $name($($argument)*) $(-> $result)?);
    )*};
    (can be interrupted: $(fn $name:ident($($argument:tt)*) $(-> $result:ty)?;)*) => {$(
        $crate::hand_over::handed_over!(@ (Some($crate::thread::Point::begin()), in_system_at_point)
            fn $name($($argument)*) $(-> $result)?);
    )*};
    ($(fn $name:ident($($argument:tt)*) $(-> $result:ty)?;)*) => {$(
        $crate::hand_over::handed_over!(@ (Some($crate::thread::Point::begin()), in_system) fn $name($($argument)*) $(-> $result)?);
    )*};
    (@ ($point:expr, $in_system:ident) fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        /// # Safety
        ///
        /// That of the C library's.
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name($($argument: $type),*) $(-> $result)? {
            let _point = $point;
            type Next = unsafe extern "C-unwind" fn($($type),*) $(-> $result)?;
            // SAFETY: the caller's promise.
            let next = || unsafe { $crate::next::next!($name: Next)($($argument),*) };
            $crate::hand_over::$in_system(next)
        }
    };
}

pub(crate) use handed_over;

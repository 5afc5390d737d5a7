//! The functions that whoever asks is in, by the unwinder that std is linked with.

use std::ffi::{c_int, c_void};
use std::ptr;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    fn _Unwind_GetCFA(frame: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// Any code but that for "go on" ends the walk.
const GO_ON: c_int = 0;
const ENOUGH: c_int = 5;

/// Gives the address that each frame goes on at, from the inside to the outside, until `visit` says no. It must
/// not unwind.
#[inline(never)]
pub(crate) fn each(mut visit: impl FnMut(usize) -> bool) {
    each_with_stack_pointer(|address, _| visit(address));
}

/// The same, with the stack pointer of each frame.
#[inline(never)]
pub(crate) fn each_with_stack_pointer<F: FnMut(usize, usize) -> bool>(mut visit: F) {
    extern "C" fn call<F: FnMut(usize, usize) -> bool>(
        frame: *mut c_void,
        visit: *mut c_void,
    ) -> c_int {
        // SAFETY: the frame is for this call, and `visit` what was given below.
        let goes_on = unsafe { (*visit.cast::<F>())(_Unwind_GetIP(frame), _Unwind_GetCFA(frame)) };
        if goes_on { GO_ON } else { ENOUGH }
    }

    // SAFETY: the unwinder calls `call` for each frame with what it is given here.
    unsafe { _Unwind_Backtrace(call::<F>, ptr::from_mut(&mut visit).cast()) };
}

/// The address of the function that a frame is one of; 0 if that is not known.
pub(crate) fn function_of(frame: usize) -> usize {
    // What is returned to may be the next function already if the one that has called does not return.
    enclosing(frame.wrapping_sub(1))
}

/// The function of an address, or of the byte before it: libgcc takes what it is asked for to be returned to, others do
/// not.
pub(super) fn enclosing(address: usize) -> usize {
    // SAFETY: any address will do.
    unsafe { _Unwind_FindEnclosingFunction(ptr::without_provenance_mut(address)) }.addr()
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends_where_it_is_told_to() {
        let mut seen = 0;
        each(|_| {
            seen += 1;
            seen < 2
        });
        assert_eq!(seen, 2);
    }
}

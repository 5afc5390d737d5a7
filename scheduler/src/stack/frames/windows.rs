//! The functions that whoever asks is in, by the system's unwinder.

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::System::Diagnostics::Debug::{
    RtlCaptureStackBackTrace, RtlLookupFunctionEntry,
};

/// It gives no more at a time.
const MOST: usize = 256;

/// Gives the address that each frame goes on at, from the inside to the outside, until `visit` says no. It must
/// not unwind.
#[inline(never)]
pub(crate) fn each(mut visit: impl FnMut(usize) -> bool) {
    let mut frames = [ptr::null_mut::<c_void>(); MOST];
    // SAFETY: there is room for so many.
    let found =
        unsafe { RtlCaptureStackBackTrace(1, MOST as u32, frames.as_mut_ptr(), ptr::null_mut()) };
    frames[..usize::from(found)]
        .iter()
        .all(|frame| visit(frame.addr()));
}

/// The address of the function that a frame is one of; 0 if that is not known.
pub(crate) fn function_of(frame: usize) -> usize {
    let mut image = 0;
    // What is returned to may be the next function already if the one that has called does not return.
    let address = frame.wrapping_sub(1) as u64;
    // SAFETY: any address will do.
    let entry = unsafe { RtlLookupFunctionEntry(address, &mut image, ptr::null_mut()) };
    // SAFETY: null, or an entry of a table that stays as long as its code.
    match unsafe { entry.as_ref() } {
        Some(entry) => image as usize + entry.BeginAddress as usize,
        None => 0,
    }
}

//! What the program says where its memory is.
//!
//! Of what is not there the system tells a caller by `EFAULT`. Who looks there himself is ended by a signal. So where that cannot be
//! left to the system, it is asked before. What is to be written there the system writes: there may be memory that can only be read.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use libc::iovec;

use crate::errno;

/// Whether the system can read so many bytes there, at most as many as a page has.
pub(crate) fn is_there(at: *const c_void, len: usize) -> bool {
    let mut copy = [0_u8; 2];
    let ends = ends(at, len);
    if are_near(ends, copy.as_ptr().cast()) {
        return true;
    }
    let there = ends.map(|at| iovec {
        iov_base: at.cast_mut(),
        iov_len: 1,
    });
    let here = iovec {
        iov_base: copy.as_mut_ptr().cast(),
        iov_len: 2,
    };
    errno::kept(|| {
        // SAFETY: it copies two bytes, which are there or not, to where there is room.
        let copied = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const here, 1, there.as_ptr(), 2, 0)
        };
        // Where that may not be asked, it is taken to be there.
        copied == 2 || copied < 0 && errno::get() != libc::EFAULT
    })
}

/// The length of a string of which the system looks at so many bytes, at most as many as a page has. `None` if nothing is where it has to look.
///
/// # Safety
///
/// Nobody writes there meanwhile.
pub(crate) unsafe fn length_of_string(at: *const c_char, most: usize) -> Option<usize> {
    let length_from = |start: usize, most: usize| {
        let at = at.wrapping_add(start);
        // SAFETY: there are so many bytes, since they are on one page, of which one is there; the caller's promise.
        is_there(at.cast(), 1).then(|| start + unsafe { libc::strnlen(at, most) })
    };
    let on_page = (PAGE - at.addr() % PAGE).min(most);
    let length = length_from(0, on_page)?;
    if length < on_page || length == most {
        Some(length)
    } else {
        length_from(length, most - length)
    }
}

/// Writes a value there, as the system does what it tells.
///
/// # Errors
///
/// `EFAULT`: it cannot be written there.
///
/// # Safety
///
/// What can be written there is room for it.
pub(crate) unsafe fn tell<T: Copy>(at: *mut T, value: T) -> Result<(), c_int> {
    let bytes = size_of::<T>();
    let iovec = |at: *const T| iovec {
        iov_base: at.cast_mut().cast(),
        iov_len: bytes,
    };
    let (here, there) = (iovec(&raw const value), iovec(at));
    if !are_near(ends(at.cast(), bytes), (&raw const value).cast()) {
        let told = errno::kept(|| {
            // SAFETY: it copies what is there to where there is room, or cannot be written.
            let copied = unsafe {
                libc::process_vm_writev(libc::getpid(), &raw const here, 1, &raw const there, 1, 0)
            };
            match usize::try_from(copied) {
                Ok(copied) if copied == bytes => Some(Ok(())),
                Err(_) if errno::get() != libc::EFAULT => None,
                _ => Some(Err(libc::EFAULT)),
            }
        });
        // Where that may not be asked, it is taken to be there.
        if let Some(told) = told {
            return told;
        }
    }
    // SAFETY: the caller's promise.
    unsafe { ptr::write_unaligned(at, value) };
    Ok(())
}

/// The first and the last of so many bytes.
fn ends(at: *const c_void, len: usize) -> [*const c_void; 2] {
    [at, at.wrapping_byte_add(len.saturating_sub(1))]
}

/// No page is smaller.
const PAGE: usize = 4096;

/// Whether they are on the page of this frame: so they are there, as most is that a caller has on its stack.
fn are_near(ends: [*const c_void; 2], frame: *const c_void) -> bool {
    let page = |at: *const c_void| at.addr() / PAGE;
    ends.map(page) == [page(frame); 2]
}

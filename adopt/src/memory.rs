//! What the program says where its memory is.
//!
//! Of what is not there the system tells a caller by `EFAULT`. Who looks there himself is ended by a signal. So where that cannot be
//! left to the system, it is asked before.

use std::ffi::c_void;

use libc::iovec;

use crate::errno;

/// Whether the system can read so many bytes there, at most as many as a page has.
pub(crate) fn is_there(at: *const c_void, len: usize) -> bool {
    let mut copy = [0_u8; 2];
    let ends = [at, at.wrapping_byte_add(len.saturating_sub(1))];
    // What is on the page of this frame is there, as most is that a caller has on its stack. No page is smaller.
    let page = |at: *const c_void| at.addr() >> 12;
    if ends.map(page) == [page(copy.as_ptr().cast()); 2] {
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

//! The buffers of a call, and what is left of them.

use std::mem::MaybeUninit;
use std::slice;

use libc::{iovec, msghdr};

/// The buffers of a call.
///
/// # Safety
///
/// There are as many as that, and they stay for as long as they are used.
pub(super) unsafe fn buffers<'a>(buffers: *const iovec, count: usize) -> &'a [iovec] {
    if buffers.is_null() || count > libc::UIO_MAXIOV as usize {
        // What the system says to them, it says to the call.
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(buffers, count) }
}

pub(super) fn total(buffers: &[iovec]) -> usize {
    let lengths = buffers.iter().map(|buffer| buffer.iov_len);
    lengths.fold(0, usize::saturating_add)
}

/// Does what `f` does with the first of what is left of some buffers after so many bytes: the rest of the one where that ends, or all
/// that come after it.
pub(super) fn with_rest<R>(buffers: &[iovec], mut done: usize, f: impl FnOnce(&[iovec]) -> R) -> R {
    let mut buffers = buffers;
    while let [first, rest @ ..] = buffers
        && done >= first.iov_len
        && done > 0
    {
        done -= first.iov_len;
        buffers = rest;
    }
    match buffers {
        [first, ..] if done > 0 => f(&[iovec {
            iov_base: first.iov_base.wrapping_byte_add(done),
            iov_len: first.iov_len - done,
        }]),
        whole => f(whole),
    }
}

/// A message with other buffers, and nothing else.
pub(super) fn message_of(buffers: &[iovec]) -> msghdr {
    // SAFETY: all zero is a message of nothing.
    let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = buffers.as_ptr().cast_mut();
    message.msg_iovlen = buffers.len() as _;
    message
}

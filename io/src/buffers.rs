//! Lists of buffers: as many as the system takes in one call, and what is left of them after it.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Deref;

/// How many buffers the system takes in one call.
const MOST: usize = 1024;

/// Those that a call takes.
pub(crate) fn taken<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    &bufs[..bufs.len().min(MOST)]
}

/// Those that a call takes, to be filled.
pub(crate) fn taken_mut<'a, 'b>(bufs: &'a mut [IoSliceMut<'b>]) -> &'a mut [IoSliceMut<'b>] {
    let most = bufs.len().min(MOST);
    &mut bufs[..most]
}

/// How many bytes are in all of `bufs`, or have room there.
pub(crate) fn total(bufs: &[impl Deref<Target = [u8]>]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}

/// What is left of `bufs` without the first `bytes`.
pub(crate) fn skip<'a>(bufs: &'a [IoSlice<'_>], mut bytes: usize) -> Vec<IoSlice<'a>> {
    let mut rest = Vec::with_capacity(bufs.len());
    for buf in bufs {
        let skipped = bytes.min(buf.len());
        bytes -= skipped;
        if skipped < buf.len() {
            rest.push(IoSlice::new(&buf[skipped..]));
        }
    }
    rest
}

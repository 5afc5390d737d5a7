//! Standard output and standard error without a buffer.

use std::io::{self, IoSlice, Write};

use super::raw::Stream;

/// Standard output, or standard error.
#[derive(Debug)]
pub(super) struct RawOutput {
    stream: Stream,
    /// The process ends, and there is nobody left to let run.
    is_last: bool,
}

impl RawOutput {
    pub(super) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            is_last: false,
        }
    }

    /// From now on nothing is waited for but the system.
    pub(super) fn set_last(&mut self) {
        self.is_last = true;
    }
}

impl Write for RawOutput {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_last {
            self.stream.write_at_last(bufs)
        } else {
            self.stream.write(bufs)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The standard streams without buffers of ours, on Windows: std's own, which know what a console wants, with the worker's place handed over.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use roving_scheduler::blocking;

/// Which of the two that are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// Writes once. Nothing stays in a buffer.
    fn write(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        fn write_through(mut output: impl Write, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let written = output.write_vectored(bufs)?;
            output.flush()?;
            Ok(written)
        }
        match self {
            Self::Stdout => write_through(io::stdout().lock(), bufs),
            Self::Stderr => write_through(io::stderr().lock(), bufs),
        }
    }
}

/// Standard input.
#[derive(Debug)]
pub(super) struct RawStdin;

impl Read for RawStdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking::run(|| io::stdin().read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        blocking::run(|| io::stdin().read_vectored(bufs))
    }
}

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
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_last {
            self.stream.write(bufs)
        } else {
            blocking::run(|| self.stream.write(bufs))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

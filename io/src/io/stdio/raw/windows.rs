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
    /// Writes once.
    pub(super) fn write(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking::run(|| self.write_at_last(bufs))
    }

    /// The same, and keeps the OS thread for it. Nothing stays in a buffer.
    pub(super) fn write_at_last(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
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

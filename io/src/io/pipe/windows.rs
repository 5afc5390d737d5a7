//! Pipes on Windows: std's, with the worker's place handed over for each call. Nobody can be told when one is ready.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use roving_scheduler::blocking::run as hand_over;

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::handle_conversions;

/// Makes a pipe. Mirrors [`std::io::pipe`].
///
/// # Errors
///
/// Those of the system.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The end of a pipe that is read. Mirrors [`std::io::PipeReader`].
///
/// A read waits in the system, and neither a deadline nor a cancellation ends it.
pub struct PipeReader(io::PipeReader);

/// The end of a pipe that is written. Mirrors [`std::io::PipeWriter`].
///
/// A write waits in the system, and neither a deadline nor a cancellation ends it.
pub struct PipeWriter(io::PipeWriter);

impl PipeReader {
    /// Makes another handle to the same end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl PipeWriter {
    /// Makes another handle to the same end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        hand_over(|| (&self.0).read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        hand_over(|| (&self.0).read_vectored(bufs))
    }
}

impl Write for &PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        hand_over(|| (&self.0).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        hand_over(|| (&self.0).write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

read_by_reference!(PipeReader);
write_by_reference!(PipeWriter);
handle_conversions!(PipeReader, io::PipeReader);
handle_conversions!(PipeWriter, io::PipeWriter);

//! Pipes on Windows: std's, with the worker's place handed over for each call. Nobody can be told when one is ready.

use std::io;

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::handle_conversions;
use crate::handed_over::{reads_handed_over, writes_handed_over};

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

reads_handed_over!(PipeReader);
writes_handed_over!(PipeWriter);
read_by_reference!(PipeReader);
write_by_reference!(PipeWriter);
handle_conversions!(PipeReader, io::PipeReader);
handle_conversions!(PipeWriter, io::PipeWriter);

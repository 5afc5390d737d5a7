//! Open files on Windows: std's, with the worker's place handed over for each call.

use std::io::{self, Seek, SeekFrom};
use std::os::windows::fs::FileExt;
use std::os::windows::io::{FromRawHandle, RawHandle};

use roving_scheduler::blocking::run as hand_over;

use crate::by_reference::{read_by_reference, write_by_reference};
use crate::conversions::handle_conversions;
use crate::handed_over::{reads_handed_over, writes_handed_over};

/// An open file. Mirrors [`std::fs::File`].
///
/// Each call may take as long as the disk or the network behind it takes: the green thread that does it waits in the system, and
/// the others of its worker that have not begun [go on](mod@crate::fs).
///
/// Reading, writing and seeking need only a shared reference: `&File` is `Read`, `Write` and `Seek` too. All who share a file
/// share its cursor; [`FileExt`] reads and writes at places of its own, and moves the cursor there.
///
/// The file is closed when the value is dropped, and errors of that are ignored: see [`sync_all`](Self::sync_all).
pub struct File(std::fs::File);

impl File {
    /// Does with the file of std what may wait in the system.
    pub(super) fn hand_over<T>(&self, f: impl FnOnce(&std::fs::File) -> T) -> T {
        hand_over(|| f(&self.0))
    }

    /// Makes another handle to the same open file. The two share the cursor, and locks.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

reads_handed_over!(File, read_to_end: Vec<u8>, read_to_string: String);
writes_handed_over!(File);

impl Seek for &File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        hand_over(|| (&self.0).seek(pos))
    }
}

read_by_reference!(File);
write_by_reference!(File);

impl FileExt for File {
    fn seek_read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        hand_over(|| self.0.seek_read(buf, offset))
    }

    fn seek_write(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        hand_over(|| self.0.seek_write(buf, offset))
    }
}

impl FromRawHandle for File {
    unsafe fn from_raw_handle(handle: RawHandle) -> Self {
        // SAFETY: the caller owns the handle and gives it away, as this function's contract asks.
        Self(unsafe { std::fs::File::from_raw_handle(handle) })
    }
}

handle_conversions!(File, std::fs::File);

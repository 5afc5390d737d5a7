//! The pipes to a child on Windows: std's, with the worker's place handed over for each call.

use std::io::{self, IoSliceMut, Read};
use std::process;

use roving_scheduler::blocking::run as hand_over;

use crate::by_reference::write_by_reference;
use crate::conversions::handle_conversions;
use crate::handed_over::writes_handed_over;

/// Where to write what a child reads from its standard input: see [`Child::stdin`](super::Child::stdin). Mirrors
/// [`std::process::ChildStdin`].
///
/// The child reads the end when this is dropped.
pub struct ChildStdin(process::ChildStdin);

/// Where to read what a child writes to its standard output: see [`Child::stdout`](super::Child::stdout). Mirrors
/// [`std::process::ChildStdout`].
///
/// It comes to its end when the child, and whoever has inherited the other end from it, has closed that.
pub struct ChildStdout(process::ChildStdout);

/// Where to read what a child writes to its standard error: see [`Child::stderr`](super::Child::stderr). Mirrors
/// [`std::process::ChildStderr`].
///
/// It comes to its end when the child, and whoever has inherited the other end from it, has closed that.
pub struct ChildStderr(process::ChildStderr);

writes_handed_over!(ChildStdin);
write_by_reference!(ChildStdin);

macro_rules! output {
    ($Output:ident) => {
        impl Read for $Output {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                hand_over(|| self.0.read(buf))
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                hand_over(|| self.0.read_vectored(bufs))
            }
        }
    };
}

output!(ChildStdout);
output!(ChildStderr);
handle_conversions!(ChildStdin, process::ChildStdin);
handle_conversions!(ChildStdout, process::ChildStdout);
handle_conversions!(ChildStderr, process::ChildStderr);

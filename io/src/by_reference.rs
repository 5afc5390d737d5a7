//! Reads and writes by value, which are those by reference.

/// Implements `Read` for a type, whose references implement it.
macro_rules! read_by_reference {
    ($Type:ident) => {
        const _: () = {
            use std::io::{IoSliceMut, Read, Result};

            impl Read for $Type {
                #[track_caller]
                fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
                    (&*self).read(buf)
                }

                #[track_caller]
                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
                    (&*self).read_vectored(bufs)
                }

                #[track_caller]
                fn read_to_end(&mut self, buf: &mut Vec<u8>) -> Result<usize> {
                    (&*self).read_to_end(buf)
                }

                #[track_caller]
                fn read_to_string(&mut self, buf: &mut String) -> Result<usize> {
                    (&*self).read_to_string(buf)
                }
            }
        };
    };
}

/// Implements `Write` for a type, whose references implement it.
macro_rules! write_by_reference {
    ($Type:ident) => {
        const _: () = {
            use std::io::{IoSlice, Result, Write};

            impl Write for $Type {
                #[track_caller]
                fn write(&mut self, buf: &[u8]) -> Result<usize> {
                    (&*self).write(buf)
                }

                #[track_caller]
                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
                    (&*self).write_vectored(bufs)
                }

                fn flush(&mut self) -> Result<()> {
                    (&*self).flush()
                }
            }
        };
    };
}

pub(crate) use {read_by_reference, write_by_reference};

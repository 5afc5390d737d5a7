//! Windows: reads and writes of std's types, with the worker's place handed over for each.

/// Implements `Read` for references to a type that wraps one of std's, and what of it is named in one call too.
macro_rules! reads_handed_over {
    ($Type:ident $(, $whole:ident: $Buffer:ty)*) => {
        const _: () = {
            use std::io::{IoSliceMut, Read, Result};

            use roving_scheduler::blocking::run as hand_over;

            impl Read for &$Type {
                fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
                    hand_over(|| (&self.0).read(buf))
                }

                fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
                    hand_over(|| (&self.0).read_vectored(bufs))
                }

                $(
                    fn $whole(&mut self, buf: &mut $Buffer) -> Result<usize> {
                        hand_over(|| (&self.0).$whole(buf))
                    }
                )*
            }
        };
    };
}

/// Implements `Write` for references to a type that wraps one of std's, which has no buffer.
macro_rules! writes_handed_over {
    ($Type:ident) => {
        const _: () = {
            use std::io::{IoSlice, Result, Write};

            use roving_scheduler::blocking::run as hand_over;

            impl Write for &$Type {
                fn write(&mut self, buf: &[u8]) -> Result<usize> {
                    hand_over(|| (&self.0).write(buf))
                }

                fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
                    hand_over(|| (&self.0).write_vectored(bufs))
                }

                fn flush(&mut self) -> Result<()> {
                    Ok(())
                }
            }
        };
    };
}

pub(crate) use {reads_handed_over, writes_handed_over};

//! No thread-locals of one's own: this platform has none that Roving knows how to make.

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Range;

use crate::stack::compact::NoCompactStacks;

/// There is none.
#[derive(Debug)]
pub(crate) struct Own(Infallible);

impl Own {
    pub(crate) fn new(
        _own_pointer: super::OwnPointer,
        _wants_compact: bool,
    ) -> Result<Self, Cow<'static, str>> {
        Err(
            "they need Linux on x86-64 or aarch64, and a program that is dynamically linked to glibc"
                .into(),
        )
    }

    pub(crate) fn block_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn compact(&self) -> Option<&Result<(), NoCompactStacks>> {
        match self.0 {}
    }

    pub(crate) fn is_compact(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn cold_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn unregister_in_child(&self, _thread_pointer: usize) {
        match self.0 {}
    }

    #[cfg(feature = "adopt")]
    pub(crate) fn tid_of_green(&self) -> Option<u32> {
        match self.0 {}
    }

    #[cfg(feature = "adopt")]
    pub(crate) fn set_tid_of_green(&self, _tid: u32) {
        match self.0 {}
    }

    pub(crate) fn lend_allocator(&self, _from: usize, _to: usize) {
        match self.0 {}
    }
}

/// There is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block(Infallible);

impl Block {
    pub(crate) unsafe fn new(own: &'static Own, _end: usize, _stack: Range<usize>) -> Self {
        match own.0 {}
    }

    pub(crate) fn above(own: &'static Own, _base: usize) -> Self {
        match own.0 {}
    }

    pub(crate) fn bottom(self) -> usize {
        match self.0 {}
    }

    pub(crate) fn thread_pointer(self) -> usize {
        match self.0 {}
    }

    pub(crate) unsafe fn renew(self) {
        match self.0 {}
    }

    pub(crate) fn is_forgettable(self) -> bool {
        match self.0 {}
    }
}

/// What has started cannot go on on another OS thread.
pub(crate) struct MovesWithThreadLocals(PhantomData<*const ()>);

pub(crate) unsafe fn forget(blocks: &[Block]) -> bool {
    blocks.is_empty()
}

pub(crate) unsafe fn end_thread() {}

pub(crate) fn thread_pointer() -> usize {
    0
}

pub(crate) unsafe fn load_thread_pointer(_pointer: usize) {}

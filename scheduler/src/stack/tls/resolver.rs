//! The state of the C library's resolver of names, which is part of `struct pthread`.
//!
//! A thread gets it with its first look-up, or when the program changes `_res`. It owns sockets and
//! memory then.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::Ordering;

use super::libc_layout::{Layout, Refusal, contains, symbol};
use super::pattern::word;
use super::pointer;

/// The size of `struct __res_state`, which the C library's ABI fixes.
const SIZE: isize = 568;
/// Its first words are times, options and the number of servers (a C int). Some is set if anything
/// is; and it owns something if there are servers.
const SERVERS: isize = 16;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Resolver {
    state: Range<isize>,
    /// `res_nclose`.
    close: unsafe extern "C" fn(*mut c_void),
}

impl Resolver {
    /// Finds it by asking as a model, for which `as_model` sees to it.
    pub(super) fn find(
        layout: &Layout,
        as_model: impl FnOnce(&mut dyn FnMut()),
    ) -> Result<Self, Refusal> {
        let [state, close] = [c"__res_state", c"__res_nclose"].map(symbol);
        // SAFETY: these are the functions' types.
        let (state, close) = unsafe {
            (
                std::mem::transmute::<*const c_void, extern "C" fn() -> *mut c_void>(state?),
                std::mem::transmute::<*const c_void, unsafe extern "C" fn(*mut c_void)>(close?),
            )
        };
        let (mut model, mut found) = (0, 0);
        as_model(&mut || (model, found) = (pointer::current(), state().addr()));
        let start = found.wrapping_sub(model).cast_signed();
        let state = start..start.wrapping_add(SIZE);
        if contains(&layout.pthread, &state) {
            Ok(Self { state, close })
        } else {
            Err(
                "the C library keeps the state of its resolver elsewhere than in a thread's block"
                    .into(),
            )
        }
    }

    /// Where it begins.
    pub(super) fn start(&self) -> isize {
        self.state.start
    }

    /// Closes what the thread of this thread pointer, which has ended, has opened, and makes the state
    /// that of a new thread.
    pub(super) fn renew(&self, thread_pointer: usize) {
        let start = self.state.start;
        let mut first = (start..=start + SERVERS).step_by(8);
        if first.any(|offset| word(thread_pointer, offset).load(Ordering::Relaxed) != 0) {
            self.close(thread_pointer);
        }
    }

    #[cold]
    fn close(&self, thread_pointer: usize) {
        let start = self.state.start;
        let servers = word(thread_pointer, start + SERVERS).load(Ordering::Relaxed);
        if servers as u32 != 0 {
            let state = thread_pointer.wrapping_add_signed(start);
            // SAFETY: the state of a thread that has ended, which has initialised it. This is what
            // the C library does with it at a thread's end.
            unsafe { (self.close)(ptr::with_exposed_provenance_mut(state)) };
        }
        for offset in self.state.clone().step_by(8) {
            word(thread_pointer, offset).store(0, Ordering::Relaxed);
        }
    }
}

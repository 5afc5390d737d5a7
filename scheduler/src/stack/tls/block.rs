//! One block: the thread-locals of a green thread and the C library's `struct pthread`.
//!
//! A block is made once for its place at the top of a stack, and pooled with the stack. Between two
//! green threads it is *renewed*, by the worker, after the last that the first one did: the
//! destructors of its thread-locals and of its keys' values have run then, and nothing more can be
//! set. So no thread finds anything of another one:
//!
//! | what a thread can change          | at its end                        | when it is renewed       |
//! |-----------------------------------|-----------------------------------|--------------------------|
//! | thread-locals of the program      | destructors, late ones too        | initial values           |
//! | those of libraries loaded later   | the same                          | initial values, or freed |
//! | values of pthread keys            | destructors, in up to four rounds | forgotten                |
//! | `errno`, `h_errno`, the locale    |                                   | initial values           |
//! | what `dlerror` would tell         | freed                             | forgotten                |
//! | `_res`, sockets of the resolver   |                                   | closed, freed            |
//! | cancellation, clean-up handlers   |                                   | initial values           |
//! | the list of robust mutexes        |                                   | emptied                  |
//! | detached or not, policy, ceilings |                                   | initial values           |
//! | the allocator's cache             | its worker's                      | the next one's worker's  |
//! | the state of random numbers       |                                   | left as it is            |
//!
//! A destructor that is registered by the destructor of a key never runs, nor that of a value which
//! the fourth round of destructors leaves: so it is in the C library.

use std::ops::Range;
use std::sync::atomic::{Ordering, fence};
use std::thread::Builder;

use super::keys;
use super::pattern::{Own, UNALLOCATED, half, node, set_half, word};
use super::pointer;
use super::tid;
use crate::protocol::passage::Passage;
use crate::stack::room;

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    own: &'static Own,
    thread_pointer: usize,
}

impl Block {
    /// Makes a block that ends at or just below `end`, for a thread with the stack `stack`.
    ///
    /// # Safety
    ///
    /// The [`block_bytes`](Own::block_bytes) below `end` are mapped, hold zeroes or a block that was
    /// forgotten, and are the block's from now on until [`forget`] has taken it back, for ever else.
    pub(crate) unsafe fn new(own: &'static Own, end: usize, stack: Range<usize>) -> Self {
        let layout = &own.layout;
        let highest = end.wrapping_add_signed(-layout.block.end);
        let thread_pointer = highest & !(layout.align - 1);
        let this = Self {
            own,
            thread_pointer,
        };
        for (offset, &image) in layout.pthread.clone().step_by(8).zip(&own.pthread_image) {
            this.word(offset).store(image, Ordering::Relaxed);
        }
        this.copy_locals(layout.used.clone());
        this.relocate(&own.relative);
        layout.rseq.write_unregistered(thread_pointer);
        this.word(own.stack_bounds)
            .store(stack.start, Ordering::Relaxed);
        this.word(own.stack_bounds + 8)
            .store(stack.len(), Ordering::Relaxed);
        this.word(pointer::DTV)
            .store(new_vector(own, thread_pointer), Ordering::Relaxed);
        own.random.give(thread_pointer);
        set_half(thread_pointer, layout.tid, own.tids.lock().take());
        this.link();
        // What was loaded between the copy and the link has not reached this block.
        this.renew_surplus();
        this
    }

    /// The block whose lowest address is `base` or just above it: less far than what a thread pointer is aligned to.
    pub(crate) fn above(own: &'static Own, base: usize) -> Self {
        let layout = &own.layout;
        let least = base.wrapping_add_signed(-layout.block.start);
        Self {
            own,
            thread_pointer: least.next_multiple_of(layout.align),
        }
    }

    /// The lowest address.
    pub(crate) fn bottom(self) -> usize {
        self.thread_pointer
            .wrapping_add_signed(self.own.layout.block.start)
    }

    pub(crate) fn thread_pointer(self) -> usize {
        self.thread_pointer
    }

    /// Makes the block of a thread that has ended that of a new one.
    ///
    /// # Safety
    ///
    /// No thread uses it.
    pub(crate) unsafe fn renew(self) {
        let own = self.own;
        own.resolver.renew(self.thread_pointer);
        keys::forget_values(own, self.thread_pointer);
        self.copy_locals(own.layout.used.clone());
        for &(offset, image) in &own.changeable {
            self.word(offset).store(image, Ordering::Relaxed);
        }
        self.relocate(&own.changeable_relative);
        let tid = half(self.thread_pointer, own.layout.tid);
        set_half(self.thread_pointer, own.layout.tid, tid::next(tid));
        self.renew_surplus();
        self.free_lazy_locals();
    }

    /// Copies pointers into the first model's block, so that they point into this one.
    fn relocate(self, offsets: &[isize]) {
        let model = self.own.models[0];
        let distance = self.thread_pointer.wrapping_sub(model);
        for &offset in offsets {
            let there = word(model, offset).load(Ordering::Relaxed);
            self.word(offset)
                .store(there.wrapping_add(distance), Ordering::Relaxed);
        }
    }

    /// Gives thread-locals of libraries that were loaded later their initial values.
    fn renew_surplus(self) {
        if self.own.surplus.is_unused() {
            return;
        }
        let surplus = &self.own.layout.surplus;
        // Only a library that is loaded writes there, and a round is repeated only if one was loaded within it.
        loop {
            self.copy_locals(surplus.clone());
            // A library that is being loaded gives its thread-locals their initial values in the
            // first model and then here. If the model has not changed by now, what comes later will
            // not be overwritten here.
            fence(Ordering::SeqCst);
            if self.has_locals_of_model(surplus.clone()) {
                break;
            }
        }
    }

    /// Whether nothing is lost if the block is forgotten: the allocator keeps no memory for its
    /// thread.
    pub(crate) fn is_forgettable(self) -> bool {
        self.own.lends_allocator()
    }

    fn word(self, offset: isize) -> &'static std::sync::atomic::AtomicUsize {
        word(self.thread_pointer, offset)
    }

    /// Copies the first model's, but for what it shares with the kernel.
    fn copy_locals(self, range: Range<isize>) {
        let area = &self.own.layout.rseq.area;
        for part in [
            range.start..range.end.min(area.start),
            range.start.max(area.end)..range.end,
        ] {
            if !part.is_empty() {
                self.copy(part);
            }
        }
    }

    fn copy(self, range: Range<isize>) {
        let [from, to] = [self.own.models[0], self.thread_pointer].map(|pointer| {
            std::ptr::with_exposed_provenance_mut::<libc::c_void>(
                pointer.wrapping_add_signed(range.start),
            )
        });
        // SAFETY: both are parts of blocks. The C library may write initial values to both at the
        // same time; `renew` looks whether it did.
        unsafe { libc::memcpy(to, from, range.len()) };
    }

    fn has_locals_of_model(self, range: Range<isize>) -> bool {
        let [model, here] = [self.own.models[0], self.thread_pointer].map(|pointer| {
            std::ptr::with_exposed_provenance::<libc::c_void>(
                pointer.wrapping_add_signed(range.start),
            )
        });
        // SAFETY: as in `copy_locals`.
        unsafe { libc::memcmp(here, model, range.len()) == 0 }
    }

    /// Frees the thread-locals of libraries that are allocated at their first use.
    fn free_lazy_locals(self) {
        let vector = self.word(pointer::DTV).load(Ordering::Relaxed);
        let length = word(vector, -16).load(Ordering::Relaxed);
        for module in 1..=length.cast_signed() {
            let to_free = word(vector, module * 16 + 8);
            let allocated = to_free.load(Ordering::Relaxed);
            if allocated != 0 {
                word(vector, module * 16).store(UNALLOCATED, Ordering::Relaxed);
                to_free.store(0, Ordering::Relaxed);
                // SAFETY: the C library allocated it with malloc for this block, and frees it in
                // the same way at the end of a thread.
                unsafe { libc::free(std::ptr::with_exposed_provenance_mut(allocated)) };
            }
        }
    }

    /// Puts it into the C library's list, between the models. Whoever walks along the list meanwhile
    /// finds it complete or not at all.
    fn link(self) {
        let layout = &self.own.layout;
        let [first, _] = self.own.models;
        let _exclusive = self.own.tids.lock();
        let next = word(first, layout.list).load(Ordering::Relaxed);
        self.word(layout.list).store(next, Ordering::Relaxed);
        self.word(layout.list + 8)
            .store(node(layout, first), Ordering::Relaxed);
        let this = node(layout, self.thread_pointer);
        word(next, 8).store(this, Ordering::Relaxed);
        word(first, layout.list).store(this, Ordering::Release);
    }

    fn unlink(self) {
        let layout = &self.own.layout;
        let _exclusive = self.own.tids.lock();
        let next = self.word(layout.list).load(Ordering::Relaxed);
        let previous = self.word(layout.list + 8).load(Ordering::Relaxed);
        word(next, 8).store(previous, Ordering::Relaxed);
        word(previous, 0).store(next, Ordering::Release);
    }
}

/// Makes the vector through which a thread finds the thread-locals of the modules. It is a new thread's, which the model's is
/// still: of the same generation, that is, with all modules that there were when the model was made, of which those with
/// static thread-locals have them in the block. The C library adds the rest when it is needed.
fn new_vector(own: &Own, thread_pointer: usize) -> usize {
    let distance = thread_pointer.wrapping_sub(own.models[0]);
    // The C library does not look at the last one when it asks for no memory.
    let length = own.modules + 1;
    let elements = length + 2;
    // SAFETY: a plain allocation. The C library reallocates it when it is too short.
    let memory = unsafe { libc::calloc(elements, 16) };
    assert!(
        !memory.is_null(),
        "no memory for the thread-locals of a green thread {}",
        room::advice()
    );
    let vector = memory.expose_provenance() + 16;
    word(vector, -16).store(length, Ordering::Relaxed);
    let model = word(own.models[0], pointer::DTV).load(Ordering::Relaxed);
    let generation = word(model, 0).load(Ordering::Relaxed);
    word(vector, 0).store(generation, Ordering::Relaxed);
    for module in 1..=own.modules.cast_signed() {
        let mut locals = word(model, module * 16).load(Ordering::Relaxed);
        if locals != UNALLOCATED && locals != 0 {
            locals = locals.wrapping_add(distance);
        }
        word(vector, module * 16).store(locals, Ordering::Relaxed);
    }
    vector
}

/// Takes blocks back, so that their memory can be used otherwise. `false` if that cannot be done
/// now; then they are as they were.
///
/// # Safety
///
/// No thread uses them, and they [are forgettable](Block::is_forgettable).
pub(crate) unsafe fn forget(blocks: &[Block]) -> bool {
    for block in blocks {
        block.unlink();
    }
    // Somebody in the C library may be on the way along the list and stand on one of them. That
    // holds the lock which the creation of a thread takes.
    let small = Builder::new().stack_size(64 << 10);
    let passed = Passage::enter().on_an_os_thread(small, || ()).is_some();
    for block in blocks {
        if passed {
            let vector = block.word(pointer::DTV).load(Ordering::Relaxed);
            // SAFETY: `new_vector` or the C library allocated it with malloc, sixteen bytes before.
            unsafe { libc::free(std::ptr::with_exposed_provenance_mut(vector - 16)) };
            block.own.random.keep(block.thread_pointer);
            let tid = half(block.thread_pointer, block.own.layout.tid);
            block.own.tids.lock().leave(tid);
        } else {
            block.link();
        }
    }
    passed
}
